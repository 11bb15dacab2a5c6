/*
 * Models with a router of the table, as a user trains and evaluates them: train --router and eval --router.
 */
#include "program.h"

#define TINY    SHELL_WORD(SOURCE_PATH("datasets/tiny-mixtral-top2"))
#define WORDNET SHELL_WORD(SOURCE_PATH("datasets/wordnet/dev.jsonl"))
#define TRAIN   ADAMOE " train --model " TINY " --questions " WORDNET " --batch 4 --dtype f32 --log-every 1 "
#define EVAL    ADAMOE " eval --questions " WORDNET " --limit 12 "

static const char *path_of(void **state, const char *name)
{
    static char path[4][1024];
    static int next;
    char *out = path[next++ % 4];
    (void)snprintf(out, sizeof path[0], "%s", in_folder(state, name).text);
    return out;
}

/* The row of the table that is the program's own rule gives its scores and its load. */
static void rules_score_the_same(void **state)
{
    (void)state;
    expect(run("lines() { grep -E '^(acc|load|  experts)'; }; "
               "a=$(" EVAL "--model " TINY " | lines); b=$(" EVAL "--model " TINY " --router top_k | lines); "
               "echo \"$a\"; [ \"$a\" = \"$b\" ] && echo equal"),
           0, "equal");
}

static void a_trained_router_is_evaluated(void **state)
{
    static const char *const routers[] = {"top_p --set tau=0.5", "softmax_expert_choice", "null_copies",
                                          "moe_plus_plus", "locmoe"};
    for (size_t i = 0; i < sizeof routers / sizeof *routers; ++i) {
        char folder[64];
        (void)snprintf(folder, sizeof folder, "trained-%zu", i);
        expect(run(TRAIN "--limit 8 --steps 2 --router %s -o '%s'", routers[i], path_of(state, folder)), 0,
               "step 2/2");
        const bool causal = i != 1 && i != 4;
        expect(run(EVAL "--model '%s'", path_of(state, folder)), 0, causal ? "router " : "It is not causal");
        expect(run(EVAL "--causal --kernel reference --limit 2 --model '%s'", path_of(state, folder)),
               causal ? 0 : 2, causal ? "acc" : "--causal: router ");
    }
    const char *folder = path_of(state, "trained-0");
    expect(run(EVAL "--model '%s' --json -", folder), 0, "\"router\": \"top_p\"");
    expect(run(EVAL "--model '%s' --router top_k", folder), 2, "it has a router, top_p");
    expect(run(EVAL "--model '%s' --top-k 1", folder), 2, "it has a router, top_p");
    expect(run(ADAMOE " generate --model '%s' --prompt x", folder), 2, "router.json: a model with a router");
    expect(run(ADAMOE " train --model '%s' --questions " WORDNET " --limit 8 --steps 1 -o '%s'", folder,
               path_of(state, "further")),
           0, "step 1/1");
    expect(run("cmp '%s/router.json' '%s/router.json' && echo same", folder, path_of(state, "further")), 0,
           "same");
}

/* A bias is part of the saved state: a run that ends and is resumed goes on with it. */
static void the_state_is_resumed(void **state)
{
    static const char options[] =
        "--limit 24 --router longcat --set rate=0.01 --checkpoint-every 3 --steps 8 -o";
    expect(run(TRAIN "%s '%s'", options, path_of(state, "whole")), 0, "step 8/8");
    expect(run(TRAIN "%s '%s' > '%s' & until grep -q '^step 5' '%s'; do sleep 0.02; done; kill -9 $!; wait",
               options, path_of(state, "cut"), path_of(state, "lines"), path_of(state, "lines")),
           0, "");
    expect(run(TRAIN "%s '%s' --resume", options, path_of(state, "cut")), 0, "");
    expect(
        run("cd '%s' && cmp whole/router.json cut/router.json && cmp whole/model.safetensors cut/model.safetensors "
            "&& grep -c e cut/router.json && echo same",
            path_of(state, ".")),
        0, "same");
}

static void wrong_wishes_are_refused(void **state)
{
    const char *out = path_of(state, "refused");
    static const char *const wishes[][2] = {
        {"--router nobody", "--router: no router is called `nobody'"},
        {"--set tau=1", "--set goes with --router"},
        {"--router top_p --set tau", "--set: `tau' is not PARAMETER=VALUE"},
        {"--router top_p --set tau=2", "--set: tau: 2 is not a number within (0, 1]"},
        {"--router top_p --set taus=1", "--set: taus: router top_p has no such parameter"},
        {"--router top_p --top-k 2", "--router: --top-k, --norm and --null-kind are parameters"},
        {"--router soft_moe", "router soft_moe: a model has not what it needs: its slots are weights"},
        {"--router top_p --lora 2", "--router: adapters do not go with it"},
    };
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; ++i) {
        expect(run(TRAIN "--limit 8 --steps 1 %s -o '%s'", wishes[i][0], out), 2, wishes[i][1]);
        assert_false(exists(out, "model.safetensors"));
    }
    expect(run(EVAL "--model " TINY " --router longcat"), 2,
           "longcat wants 8 rows of gate2, the model has 0");
    expect(run(EVAL "--model " TINY " --router top_k --record-routing x.safetensors"), 2, "--record-routing");
}

/* router.json is read as strictly as config.json. */
static void a_damaged_file_is_refused(void **state)
{
    static const char *const files[][2] = {
        {"{\"router\": \"nobody\"}", "router.json: router: no router is called nobody"},
        {"{\"router\": \"top_p\", \"parameters\": {\"taus\": 1}}",
         "router.json: taus: router top_p has no such"},
        {"{\"router\": \"top_p\", \"parameters\": {\"tau\": 0}}",
         "router.json: tau: 0 is not a number within (0, 1]"},
        {"{\"router\": \"top_p\", \"state\": [[1]]}", "router.json: state: router top_p has none"},
        {"{\"router\": \"loss_free\", \"state\": [[1]]}", "router.json: state: not 4 lists of 8 numbers"},
    };
    expect(run("mkdir '%s' && cp " TINY "/*.json " TINY "/*.safetensors '%s'", path_of(state, "damaged"),
               path_of(state, "damaged")),
           0, "");
    for (size_t i = 0; i < sizeof files / sizeof *files; ++i) {
        FILE *file = fopen(path_of(state, "damaged/router.json"), "w");
        assert_non_null(file);
        (void)fputs(files[i][0], file);
        (void)fclose(file);
        expect(run(EVAL "--model '%s'", path_of(state, "damaged")), 2, files[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rules_score_the_same, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_trained_router_is_evaluated, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(the_state_is_resumed, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(wrong_wishes_are_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_refused, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
