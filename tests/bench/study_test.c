/*
 * adamoe reproduce --full on a toy: what a run gives is what its commands give by hand; a study that was
 * killed and resumed says what an undisturbed one says; a study grows; and what it refuses.
 */
#include "bench/study.h"

#include <signal.h>

/* The settings, without what was timed. */
static json_t *load_settings(void **state, const char *name)
{
    json_t *document = load(state, name), *settings = json_incref(at(document, "settings"));
    json_decref(document);
    return settings;
}

/* Kills the study as soon as it has said that its first run is finished. */
static void run_and_kill(const char *command)
{
    int end[2];
    char byte = 0;
    assert_int_equal(pipe(end), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(end[1], STDOUT_FILENO);
        (void)close(end[0]);
        (void)close(end[1]);
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    (void)close(end[1]);
    while (byte != '\n' && read(end[0], &byte, 1) == 1) {
    }
    int status = 0;
    (void)kill(child, SIGKILL);
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    (void)close(end[0]);
}

static void killed_and_resumed(void **state)
{
    const char *folder = *state;
    char command[2048];
    expect(run(FULL "-o '%s/whole' --seeds 2 --sweep-seeds 0", folder, folder), 0, "4 of 4  m8-k3, seed 2");
    (void)snprintf(command, sizeof command, "exec " FULL "-o '%s/cut' --seeds 2 --sweep-seeds 0", folder,
                   folder);
    run_and_kill(command);
    assert_true(exists(folder, "cut/top-2/seed-1/result.json"));
    assert_false(exists(folder, "cut/results.json"));
    expect(run(FULL "-o '%s/cut' --seeds 2 --sweep-seeds 0 --resume", folder, folder), 0,
           "1 of 4  top-2, seed 1: was finished");
    json_t *whole = load_settings(state, "whole/results.json"),
           *cut = load_settings(state, "cut/results.json");
    assert_int_equal(json_array_size(whole), 2);
    assert_true(json_equal(whole, cut));
    json_decref(whole);
    json_decref(cut);
}

static void a_run_is_its_commands(void **state)
{
    const char *folder = *state;
    expect(run(TRAIN "--model '%s/start' --questions '%s/few.jsonl' --steps 3 --batch 4 --learning-rate 0.01 "
                     "--null-experts 8 --top-k 3 --seed 2 -o '%s/hand'",
               folder, folder, folder),
           0, "step 3/3");
    expect(run("cmp '%s/hand/model.safetensors' '%s/whole/m8-k3/seed-2/model.safetensors' && echo equal",
               folder, folder),
           0, "equal");
    expect(run(ADAMOE " eval --threads 1 --model '%s/hand' --questions '%s/few.jsonl' --json '%s/hand.json'",
               folder, folder, folder),
           0, "acc");
    json_t *hand = load(state, "hand.json"), *settings = load_settings(state, "whole/results.json");
    const json_t *row = json_array_get(settings, 1), *score = json_array_get(at(row, "seeds"), 1);
    assert_true(json_real_value(at(score, "load")) == json_real_value(at(at(hand, "adamoe"), "load")));
    assert_true(json_real_value(at(score, "acc")) ==
                json_real_value(at(at(at(hand, "results"), "few"), "acc,none")));
    json_decref(hand);
    json_decref(settings);
}

static double accuracy_of(const json_t *row, size_t seed)
{
    return json_real_value(at(json_array_get(at(row, "seeds"), seed), "acc"));
}

/* The same folder with the other settings; those that were there stay. */
static void a_study_grows(void **state)
{
    const char *folder = *state;
    const outcome *got = run(FULL "-o '%s/whole' --seeds 2 --resume", folder, folder);
    expect(got, 0, "4 of 17  m8-k3, seed 2: was finished");
    expect(got, 0, "17 of 17  m8-k3-released, seed 1\n");
    expect(got, 0, "| m32-k4 * | 1 |");
    expect(got, 0, "| m32-k6 | 1 |");
    expect(got, 0, "| 86.10 / 1.56 |");
    json_t *settings = load_settings(state, "whole/results.json");
    assert_int_equal(json_array_size(settings), 15);
    size_t i;
    const json_t *row, *first = json_array_get(settings, 0);
    json_array_foreach(settings, i, row)
    {
        const json_int_t m = json_integer_value(at(row, "null_experts")),
                         k = json_integer_value(at(row, "top_k"));
        const bool keeps = json_is_true(at(row, "keeps_top_k"));
        assert_true(keeps == (m == 0 || (k >= m / 8 + 2 && k <= 2 * (m / 8 + 1))));
        if (json_is_object(at(row, "converted"))) {
            assert_true((json_real_value(at(at(row, "converted"), "load")) == 2.0) == keeps);
        }
        if (i > 0) {
            const double difference = accuracy_of(row, 0) - accuracy_of(first, 0);
            assert_true(i == 1 ||
                        fabs(json_real_value(at(at(row, "acc_difference"), "mean")) - difference) < 1e-12);
            assert_true(json_is_null(at(at(row, "acc_difference"), "p")) == (i != 1));
        }
    }
    /* What the authors' code computes is the vanilla form. */
    assert_true(
        json_equal(at(json_array_get(settings, 13), "seeds"), at(json_array_get(settings, 14), "seeds")));
    assert_false(
        json_equal(at(json_array_get(settings, 13), "seeds"), at(json_array_get(settings, 1), "seeds")));
    json_decref(settings);
}

static void what_is_refused(void **state)
{
    const char *folder = *state;
    expect(run(FULL "-o '%s/whole'", folder, folder), 2, "whole: it holds a study; --resume goes on with it");
    expect(run(FULL "-o '%s/whole' --resume --questions " QUESTIONS, folder, folder), 2,
           "study.json: --resume: \"test\" is not what it was");
    expect(run(FULL "-o '%s/new' --untouched " MODEL, folder, folder), 2,
           "config.json: num_null_experts: the start is to have none");
    expect(run(FULL "-o '%s/new' --untouched '%s/none'", folder, folder, folder), 2,
           "none/config.json: open: ");
    expect(run(FULL "-o '%s/new' --questions '%s/none'", folder, folder, folder), 2, "none: open: ");
    expect(run(ADAMOE " reproduce --full --recipe '%s/none' -o '%s/new'", folder, folder), 2, "none: open: ");
    write_recipe(state, "recipe.json", ", \"top-k\": 4");
    expect(run(FULL "-o '%s/new'", folder, folder), 2,
           "recipe.json: fine_tune.top-k: the study sets it itself");
    write_recipe(state, "recipe.json", ", \"batch-size\": {}");
    expect(run(FULL "-o '%s/new'", folder, folder), 2, "fine_tune.batch-size: a number, a text or a list");
    expect(run(FULL "-o '%s/new' --from-scratch", folder, folder), 2, "recipe.json: ");
    assert_false(exists(folder, "new"));
    write_recipe(state, "recipe.json", ", \"batch-size\": 4");
    expect(run(FULL "-o '%s/new'", folder, folder), 2, "it ended with exit code 2");
    write_recipe(state, "recipe.json", ", \"clip-norm\": 2");
    expect(run(FULL "-o '%s/cut' --seeds 2 --resume", folder, folder), 2,
           "--resume: \"recipe\" is not what it was");
    expect(run(ADAMOE " reproduce --seeds 3"), 2, "go with --full");
    expect(run(ADAMOE " reproduce --full --json x.json"), 2, "do not go with it");
    expect(run(ADAMOE " reproduce --full --rounds 9"), 2, "do not go with it");
}

/* Pretraining from texts, then one seed. */
static void from_scratch(void **state)
{
    const char *folder = *state;
    char text[2048];
    (void)snprintf(
        text, sizeof text,
        "{\"test\": \"%s/few.jsonl\", \"pretrain\": {\"config\": \"%s/start/config.json\", "
        "\"tokenizer\": \"%s/start/tokenizer.json\", \"questions\": \"%s/few.jsonl\", \"steps\": 2}, "
        "\"fine_tune\": {\"questions\": \"%s/few.jsonl\", \"steps\": 1}}\n",
        folder, folder, folder, folder, folder);
    write_text(in_folder(state, "recipe.json").text, text);
    expect(run(FULL "-o '%s/scratch' --from-scratch --seeds 1 --sweep-seeds 0", folder, folder), 0,
           "which one seed cannot tell from zero");
    assert_true(exists(folder, "scratch/pretrained/model.safetensors"));
    assert_true(exists(folder, "scratch/results.md"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_and_resumed), cmocka_unit_test(a_run_is_its_commands),
        cmocka_unit_test(a_study_grows),      cmocka_unit_test(what_is_refused),
        cmocka_unit_test(from_scratch),
    };
    return cmocka_run_group_tests(tests, make_toy, remove_folder);
}
