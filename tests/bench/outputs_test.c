/*
 * No verb writes over what it reads: neither by the same name nor through a link, and not over a file of a
 * model's folder. What is refused leaves everything as it was.
 */
#include "program.h"

/* A folder with a link of each kind to `original`: by another spelling, symbolic, and a second name. */
static void link_to(void **state, const char *original)
{
    const char *folder = *state;
    (void)unlink(in_folder(state, "symbolic").text);
    (void)unlink(in_folder(state, "hard").text);
    assert_int_equal(symlink(in_folder(state, original).text, in_folder(state, "symbolic").text), 0);
    assert_int_equal(link(in_folder(state, original).text, in_folder(state, "hard").text), 0);
    (void)unlink(in_folder(state, "through").text);
    assert_int_equal(symlink(".", in_folder(state, "through").text), 0);
    assert_true(exists(folder, "hard"));
}

/* `command`, followed by each name of `original` as its output, is refused and changes nothing. */
static void refuses(void **state, const char *original, const char *command)
{
    const char *folder = *state;
    char roundabout[128];
    (void)snprintf(roundabout, sizeof roundabout, "./%s", original);
    const folder_path absolute = in_folder(state, original);
    const char *const names[] = {original, roundabout, absolute.text, "symbolic", "hard", "through/symbolic"};
    size_t size = 0, now = 0;
    char *before = read_bytes(in_folder(state, original).text, &size);
    link_to(state, original);
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        expect(run("cd %s && %s %s", folder, command, names[i]), 2, "it would overwrite an input, ");
    }
    char *after = read_bytes(in_folder(state, original).text, &now);
    assert_int_equal(size, now);
    assert_memory_equal(before, after, size);
    free(before);
    free(after);
}

static void copy(void **state, const char *from, const char *name)
{
    expect(run("cp '%s' %s && chmod u+w %s", from, in_folder(state, name).text, in_folder(state, name).text),
           0, "");
}

static void questions_and_models_are_kept(void **state)
{
    copy(state, QUESTIONS_PATH, "q.jsonl");
    static const char *const options[] = {"--json", "--samples", "--record-routing"};
    for (size_t i = 0; i < sizeof options / sizeof *options; ++i) {
        char command[1024];
        (void)snprintf(command, sizeof command,
                       ADAMOE " eval --limit 1 --model " MODEL " --questions q.jsonl %s", options[i]);
        refuses(state, "q.jsonl", command);
    }
    expect(run("cp -r " MODEL " %s/m && chmod -R u+w %s/m", (const char *)*state, (const char *)*state), 0,
           "");
    refuses(state, "m/config.json", ADAMOE " eval --limit 1 --model m --questions " QUESTIONS " --json");
    refuses(state, "m/model.safetensors",
            ADAMOE " eval --limit 1 --model m --questions " QUESTIONS " --samples");
    copy(state, QUESTIONS_PATH, "m/generation_config.json");
    refuses(state, "m/tokenizer.json",
            ADAMOE " eval --limit 1 --model m --questions " QUESTIONS " --record-routing");
    refuses(state, "m/generation_config.json",
            ADAMOE " eval --limit 1 --model m --questions " QUESTIONS " --json");
    expect(run("rm %s/m/generation_config.json; echo gone", (const char *)*state), 0, "gone");
    /* A result may lie there, also the second time. */
    for (size_t i = 0; i < 2; ++i) {
        expect(run("cd %s && " ADAMOE " eval --limit 1 --model m --questions " QUESTIONS " --json m/r.json",
                   (const char *)*state),
               0, "");
    }
}

/* A router of its own is read with the model; adapters are read with their base. */
static void what_belongs_to_a_model_is_kept(void **state)
{
    const char *folder = *state;
    expect(run("cd %s && " ADAMOE " train --model '" SOURCE_PATH(
                   "datasets/tiny-mixtral") "' --router top_p --set tau=0.5 --questions " QUESTIONS
                                            " --limit 4 --steps 1 -o routed",
               folder),
           0, "step 1/1");
    refuses(state, "routed/router.json",
            ADAMOE " eval --limit 1 --model routed --questions " QUESTIONS " --json");
    expect(
        run("cd %s && cp -r '" SOURCE_PATH("tests/golden/families/mistral") "' base && chmod -R u+w base && cp '" SOURCE_PATH(
                "tests/golden/families/tokenizer.json") "' base && " ADAMOE
                                                        " train --model base --lora-experts 2 --questions " QUESTIONS
                                                        " --limit 4 --steps 1 -o adapted",
            folder),
        0, "step 1/1");
    static const char *const files[] = {"base/config.json", "base/model.safetensors", "base/tokenizer.json",
                                        "adapted/adapter_config.json", "adapted/adapters.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; ++i) {
        refuses(state, files[i],
                ADAMOE " eval --limit 1 --model adapted --questions " QUESTIONS " --samples");
    }
}

/* A plugin is a file that is read, and so is what a command names. */
static void what_brings_kernels_is_kept(void **state)
{
    write_text(in_folder(state, "kernel.sh").text, "echo no kernel\n");
    copy(state, LAYER_PATH, "l.safetensors");
    copy(state, QUESTIONS_PATH, "q.jsonl");
    static const char *const commands[] = {
        ADAMOE " info --command 'sh kernel.sh' --json",
        ADAMOE " check --command 'sh ./kernel.sh' --json",
        ADAMOE " check --command 'true' --command \"sh 'kernel.sh' --fast\" --junit",
        ADAMOE " layer l.safetensors --command 'sh kernel.sh' -o",
        ADAMOE " eval --model " MODEL " --questions q.jsonl --command 'sh kernel.sh' --samples",
        ADAMOE " gate --write-baseline b.json --command 'sh kernel.sh' --markdown",
        ADAMOE " routers --command 'sh kernel.sh' --json",
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; ++i) {
        refuses(state, "kernel.sh", commands[i]);
    } /* A program that runs: `bench` starts it first. */
    copy(state, ADAMOE_CLIENTS "/remote_client", "client");
    refuses(state, "client", ADAMOE " bench --preset tiny --command ./client --json");
    refuses(state, "client", ADAMOE " bench --saved --preset tiny --command ./client --json");
}

static void layers_and_configs_are_kept(void **state)
{
    copy(state, LAYER_PATH, "l.safetensors");
    refuses(state, "l.safetensors", ADAMOE " layer l.safetensors -o");
    refuses(state, "l.safetensors", ADAMOE " layer l.safetensors --json");
    copy(state, SOURCE_PATH("tests/golden/mixtral-8x7b/config.json"), "c.json");
    refuses(state, "c.json", ADAMOE " flops --load 1.5 --config c.json --json");
    refuses(state, "c.json",
            ADAMOE
            " scale --load 1.5 --latency 1 --bandwidth 1 --gflops 1 --gbytes 1 --config c.json --json");
}

static void results_are_kept(void **state)
{
    const char *folder = *state;
    expect(run("cd %s && " ADAMOE " check --kernel reference --case tokens:7/routing:skewed --json r.json "
               "&& cp r.json s.json",
               folder),
           0, "");
    refuses(state, "r.json", ADAMOE " report r.json -o");
    refuses(state, "r.json", ADAMOE " report s.json r.json -o");
    refuses(state, "r.json", ADAMOE " compare r.json s.json --json");
    refuses(state, "r.json", ADAMOE " compare s.json r.json --markdown");
    refuses(state, "r.json", ADAMOE " gate --baseline r.json --write-baseline");
    refuses(state, "r.json", ADAMOE " info --plugin r.json --json");
    refuses(state, "r.json", ADAMOE " check --plugin r.json --tap");
}

static void training_keeps_what_it_reads(void **state)
{
    const char *folder = *state;
    assert_int_equal(mkdir(in_folder(state, "out").text, 0777), 0);
    copy(state, MODEL_PATH "/config.json", "out/config.json");
    expect(run("cd %s && " ADAMOE " train --config out/config.json --corpus " QUESTIONS " --steps 1 -o out",
               folder),
           2, "-o: out/config.json: it would overwrite an input, out/config.json");
    assert_false(exists(folder, "out/log.jsonl"));
}

static void two_names_of_one_report_are_refused(void **state)
{
    expect(run("cd %s && " ADAMOE " bench --json a.json --benchmark_out=b.json", (const char *)*state), 2,
           "--json: a.json: --benchmark_out=b.json says the same; give one of them");
    assert_int_equal(count_files(state), 0);
}

/* A limit on the size of files ends no process by a signal, and leaves nothing half-written. */
static void a_limit_on_files_is_an_error_of_writing(void **state)
{
    const char *folder = *state;
    expect(run("ulimit -f 1; " ADAMOE " layer " LAYER " -o %s/out.safetensors", folder), 4,
           "out.safetensors: ");
    assert_int_equal(count_files(state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(questions_and_models_are_kept, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_belongs_to_a_model_is_kept, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_brings_kernels_is_kept, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(layers_and_configs_are_kept, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(results_are_kept, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(training_keeps_what_it_reads, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(two_names_of_one_report_are_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_limit_on_files_is_an_error_of_writing, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
