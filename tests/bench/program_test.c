/*
 * The program as a user meets it: exit codes, messages, files that are there whole or not at all.
 */
#include "program.h"
#include "safetensors/safetensors.h"

#include <jansson.h>

static void help_and_usage(void **state)
{
    (void)state;
    expect(run(ADAMOE " --help"), 0, "Usage: adamoe VERB");
    expect(run(ADAMOE), 2, "Usage: adamoe VERB");
    expect(run(ADAMOE " frobnicate"), 2, "adamoe: frobnicate: no such verb");
    expect(run(ADAMOE " --version"), 0, "adamoe 0.");
    static const char *const verbs[] = {"info",     "layer",    "check", "bench",     "flops",
                                        "tokenize", "generate", "eval",  "reproduce", "report"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; ++i) {
        const outcome *help = run(ADAMOE " %s --help", verbs[i]);
        expect(help, 0, "\nExample");
        expect(help, 0, "Usage: adamoe ");
        expect(run(ADAMOE " %s --no-such-option", verbs[i]), 2, "unrecognized option");
    }
    expect(run(ADAMOE " eval --model x"), 2, "--model and --questions are required");
    expect(run(ADAMOE " layer"), 2, "FILE.safetensors is required");
    expect(run(ADAMOE " flops --config x --load many"), 2, "--load: `many' is not a number");
    expect(run(ADAMOE " layer x --top-k 0"), 2, "--top-k: `0' is not a whole number from 1");
    expect(run(ADAMOE " layer x --top-k ' 3'"), 2, "--top-k: ` 3' is not a whole number");
    expect(run(ADAMOE " layer x --top-k +3"), 2, "--top-k: `+3' is not a whole number");
    expect(run(ADAMOE " layer x --norm some"), 2, "--norm: `some' is not one of: true, all, none");
    expect(run(ADAMOE " layer %s --numa spilt", LAYER), 2, "--numa: `spilt' is not one of: local");
    expect(run(ADAMOE " layer %s --numa local", LAYER), 0, "passed output of the kernel");
}

/* The lines of a verb's help below "Example", as a script. Help that was wrapped would not begin with blanks,
 * or would be too long for a terminal. */
static void example_of(const char *verb, char *script, size_t size)
{
    const outcome *help = run(ADAMOE " %s --help", verb);
    const char *line = strstr(help->text, "\nExample");
    assert_non_null(line);
    size_t used = 0;
    for (line = strchr(line + 1, '\n') + 1; line[0] == ' ' && line[1] == ' ' && line[2] != '-';
         line = strchr(line, '\n') + 1) {
        const size_t length = strcspn(line, "\n");
        assert_in_range(length, 3, 77);
        assert_in_range(used + length + 2, 0, size);
        used += (size_t)snprintf(script + used, size - used, "%.*s\n", (int)length, line);
    }
    assert_true(used > 0);
}

/* In a folder that looks like the project's, with the program on the path. */
static void examples_run_as_they_stand(void **state)
{
    const char *folder = *state;
    static const struct {
        const char *verb, *prints;
    } examples[] = {
        {"info", "\"default_kernel\""},
        {"layer", "passed output of the kernel"},
        {"flops", "model FLOPs reduction    14.55 %"},
        {"tokenize", "\n"},
        {"generate", "a penthouse is a kind of "},
        {"eval", " of 952 questions"},
    };
    assert_int_equal(run("ln -s '%s' '%s' '%s'", SOURCE_PATH("datasets"), SOURCE_PATH("tests"), folder)->code,
                     0);
    assert_int_equal(run("ln -s %s '%s/adamoe'", ADAMOE, folder)->code, 0);
    char script[1024];
    for (size_t i = 0; i < sizeof examples / sizeof *examples; ++i) {
        example_of(examples[i].verb, script, sizeof script);
        expect(run("cd '%s' && PATH=\"$PWD:$PATH\" && set -e\n%s", folder, script), 0, examples[i].prints);
    }
    assert_true(exists(folder, "out.safetensors"));
    static const char *const slow[] = {"check", "bench", "reproduce"};
    for (size_t i = 0; i < sizeof slow / sizeof *slow; ++i) {
        example_of(slow[i], script, sizeof script);
    }
}

static void info_as_json(void **state)
{
    (void)state;
    json_error_t error;
    const outcome *got = run(ADAMOE " info --json -");
    json_t *info = json_loads(got->text, 0, &error);
    assert_int_equal(got->code, 0);
    assert_non_null(info);
    const json_t *kernel = json_array_get(json_object_get(info, "kernels"), 0);
    assert_string_equal(json_string_value(json_object_get(kernel, "name")), "reference");
    assert_true(json_is_true(json_object_get(kernel, "supported")));
    assert_true(json_is_array(json_object_get(json_object_get(info, "onednn"), "faults")));
    static const char *const libraries[] = {"jansson", "onednn", "libnuma", "pcre2", "google_benchmark"};
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; ++i) {
        const char *version =
            json_string_value(json_object_get(json_object_get(info, "libraries"), libraries[i]));
        if (version == NULL || strspn(version, ".0123456789") < 3) {
            fail_msg("%s has no version: %s", libraries[i], got->text);
        }
    }
    json_decref(info);
}

static void bad_input_writes_nothing(void **state)
{
    const char *folder = *state;
    /* truncated; a NaN among the weights */
    assert_int_equal(run("head -c 20000 %s > %s/cut.safetensors", LAYER, folder)->code, 0);
    expect(run(ADAMOE " layer %s/cut.safetensors -o %s/out", folder, folder), 2, "cut.safetensors: ");
    assert_int_equal(
        run("head -c 29000 %s > %s/nan.safetensors && printf '\\000\\000\\300\\177' >> %s/nan.safetensors && "
            "tail -c +29005 %s >> %s/nan.safetensors",
            LAYER, folder, folder, LAYER, folder)
            ->code,
        0);
    expect(run(ADAMOE " layer %s/nan.safetensors -o %s/out", folder, folder), 2, "NaN");
    /* a question without an answer; JSON results of a failed run */
    assert_int_equal(run("head -1 %s | sed 's/\"answerKey\": *\"[A-D]\"/\"answerKey\":\"E\"/' > %s/q.jsonl",
                         QUESTIONS, folder)
                         ->code,
                     0);
    expect(run(ADAMOE " eval --model %s --questions %s/q.jsonl --json %s/r.json --samples %s/s.jsonl", MODEL,
               folder, folder, folder),
           2, "q.jsonl: line 1: ");
    assert_false(exists(folder, "out"));
    assert_false(exists(folder, "r.json"));
    assert_false(exists(folder, "s.jsonl"));
    assert_int_equal(count_files(state), 3);
}

static void results_that_cannot_be_written(void **state)
{
    const char *folder = *state;
    expect(
        run(ADAMOE " flops --config %s/config.json --load 1.5 --json %s/no/such/folder.json", MODEL, folder),
        4, "folder.json: create: No such file or directory");
    const folder_path full = full_device(state);
    expect(run(ADAMOE " flops --config %s/config.json --load 1.5 --json %s", MODEL, full.text), 4,
           "full: write: ");
    struct stat facts;
    assert_int_equal(stat(full.text, &facts), 0);
    assert_true(S_ISCHR(facts.st_mode)); /* a device must not be replaced by a file */
    assert_true(geteuid() != 0 || unlink(full.text) == 0);
    /* a limit on the size of files, as a full disk would do it: what was there before stays */
    assert_int_equal(run("echo before > %s/out", folder)->code, 0);
    expect(run("trap '' XFSZ; ulimit -f 1; " ADAMOE " layer %s -o %s/out", LAYER, folder), 4, "out: write: ");
    expect(run("cat %s/out", folder), 0, "before");
    assert_int_equal(count_files(state), 1);
}

/* Whatever was printed, a run whose words are lost has failed. */
static void lost_output_is_an_error(void **state)
{
    const folder_path full = full_device(state);
    static const char *const commands[] = {
        "--help",
        "--version",
        "info",
        "info --json -",
        "layer " LAYER,
        "flops --config " MODEL "/config.json --load 1.5",
        "tokenize --model " MODEL " < " MODEL "/config.json",
        "generate --model " MODEL " --prompt x --tokens 1",
        "check --list",
        "layer --help",
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; ++i) {
        expect(run(ADAMOE " %s > %s", commands[i], full.text), 4, "standard output: write: ");
    }
    assert_true(geteuid() != 0 || unlink(full.text) == 0);
}

/* What a program wrote to standard output alone, as JSON. */
static json_t *read_json(const char *command, int code)
{
    json_error_t error;
    const outcome *got = run(ADAMOE " %s 2> /dev/null", command);
    assert_int_equal(got->code, code);
    json_t *document = json_loads(got->text, 0, &error);
    if (document == NULL) {
        fail_msg("%s: line %d: %s", command, error.line, error.text);
    }
    return document;
}

static void check_runs_what_is_asked_for(void **state)
{
    (void)state;
    static const char name[] = "bound/experts/d:21/ff:35/n:8/m:8/k:3/tokens:7/routing:skewed/weights:bf16";
    expect(run(ADAMOE " check --list --tier exact --case weights:f16"), 0, "/weights:f16\n");
    assert_null(strstr(run(ADAMOE " check --list --tier exact --case weights:f16")->text, "weights:f32"));
    expect(run(ADAMOE " check --list --case no/such"), 2, "--case: no/such: not a part");
    expect(run(ADAMOE " check --kernel nothing"), 2, "--kernel: nothing: no such kernel");
    expect(run(ADAMOE " check --kernel reference --case %s", name), 0, "1 cases: 1 passed, 0 failed");
    expect(run(ADAMOE " check --kernel reference --case tokens:0/ --json /no/such/file"), 4,
           "/no/such/file: create: ");
    char command[512];
    (void)snprintf(command, sizeof command, "check --kernel reference --seed 7 --case %s --json -", name);
    json_t *document = read_json(command, 0);
    const json_t *kernel = json_array_get(json_object_get(document, "kernels"), 0);
    const json_t *result = json_array_get(json_object_get(kernel, "results"), 0);
    assert_int_equal(json_integer_value(json_object_get(document, "seed")), 7);
    assert_string_equal(json_string_value(json_object_get(kernel, "kernel")), "reference");
    assert_string_equal(json_string_value(json_object_get(kernel, "status")), "passed");
    assert_int_equal(json_integer_value(json_object_get(kernel, "passed")), 1);
    assert_string_equal(json_string_value(json_object_get(result, "case")), name);
    const double ratio = json_real_value(json_object_get(result, "largest_ratio"));
    assert_true(ratio > 0.0 && ratio < 1.0);
    assert_true(ratio == json_real_value(json_object_get(kernel, "median_ratio")));
    json_decref(document);
}

static void bench_is_google_benchmark(void **state)
{
    const char *folder = *state;
    static const char name[] = "layer/tiny/reference/tokens:3/routing:skewed/threads:1";
    const char *base = ADAMOE " bench --kernel reference --tokens 3 --routing skewed --threads 1 "
                              "--benchmark_min_time=0.001 --benchmark_repetitions=2";
    expect(run("%s --benchmark_list_tests", base), 0, name);
    expect(run("%s --hot --json %s/r.json", base, folder), 0,
           "layer/tiny/tokens:3/routing:skewed/threads:1/hot");
    assert_true(exists(folder, "r.json"));
    expect(run("%s --benchmark_out=%s/no/r.json", base, folder), 4, "no/r.json: create: ");
    expect(run("%s --kernel nothing", base), 2, "--kernel: nothing: no such kernel");
    expect(run("%s --benchmark_nonsense", base), 2, "--benchmark_nonsense: no such option");
    expect(run("%s --preset huge", base), 2, "--preset: `huge' is not one of: tiny, ");
    expect(run("%s --tokens 1,,2", base), 2, "--tokens: `' is not a whole number");
    expect(run("%s --tokens 2,2", base), 2, "--tokens: 2 is given twice");
    expect(run("%s --threads 1,0", base), 2, "--threads: `0' is not a whole number");
    expect(run("%s --routing odd", base), 2, "--routing: `odd' is not one of: balanced, ");
    expect(run("%s --routing recorded:%s/none", base, folder), 2, "/none: open: ");
    expect(run("%s --benchmark_repetitions=0", base), 2,
           "--benchmark_repetitions: `0' is not a whole number");
    expect(run("%s --benchmark_min_time=x", base), 2, "--benchmark_min_time: `x' is not a number of seconds");
    expect(run("%s --threads 1,2 --benchmark_list_tests", base), 0, "routing:skewed/threads:2\n");
    expect(run("%s --numa split --hot --benchmark_list_tests", base), 0, "threads:1/numa:split/hot\n");
    expect(run("%s --numa experts --numa-topology 0:0", base), 0, "placement experts, 1 thread");
    json_t *document = read_json("bench --kernel reference --tokens 3 --routing skewed --threads 1 "
                                 "--benchmark_min_time=0.001 --benchmark_repetitions=2 --json -",
                                 0);
    const json_t *entry = json_array_get(json_object_get(document, "benchmarks"), 0);
    assert_string_equal(json_string_value(json_object_get(entry, "name")), name);
    /* load 1.67: 2 + 1 + 2 true experts, each 6 * 64 * 96 FLOPs */
    assert_true(json_real_value(json_object_get(entry, "executed_flops")) == 5.0 * 6.0 * 64.0 * 96.0);
    assert_true(fabs(json_real_value(json_object_get(entry, "load")) - 5.0 / 3.0) < 1e-9);
    assert_true(json_real_value(json_object_get(entry, "gflops")) > 0.0);
    const double experts =
        json_real_value(json_object_get(entry, "touched_bytes")) / (3.0 * 64.0 * 96.0 * 4.0);
    assert_true(experts == floor(experts) && experts >= 2.0 && experts <= 5.0);
    json_decref(document);
}

static void bench_tells_what_is_saved(void **state)
{
    const char *folder = *state;
    const char *base = ADAMOE " bench --saved --kernel reference --threads 1 --benchmark_min_time=0 "
                              "--benchmark_repetitions=2";
    expect(run("%s --preset olmoe", base), 2, "--saved: the preset olmoe has no null experts");
    expect(run("%s --hot", base), 2, "--saved goes without --hot");
    expect(run("%s --benchmark_repetitions=201", base), 2,
           "--benchmark_repetitions: 201: with --saved at most 200");
    expect(run("%s --benchmark_filter=x", base), 2, "--saved: --benchmark_filter=x: not without the library");
    expect(run("%s --json %s/no/s.json", base, folder), 4, "no/s.json: create: ");
    expect(run("%s --tokens 1", base), 0,
           "saved/tiny/reference/routing:random/threads:1: top-3 of 8 true and 8");
    json_t *document = read_json(
        "bench --saved --kernel reference --threads 1 --benchmark_min_time=0 --benchmark_repetitions=2 "
        "--tokens 48 --json -",
        0);
    assert_int_equal(json_array_size(json_object_get(document, "benchmarks")), 1);
    assert_non_null(json_object_get(json_object_get(document, "context"), "environment"));
    const json_t *point = json_array_get(json_object_get(document, "benchmarks"), 0);
    assert_string_equal(json_string_value(json_object_get(point, "name")),
                        "saved/tiny/reference/tokens:48/routing:random/threads:1");
    assert_true(json_real_value(json_object_get(point, "trace_calls")) == 2.0);
    /* 96 tokens at 1.67 are 160 rows against 192 */
    const double flops = json_real_value(json_object_get(point, "expert_flops_reduction"));
    assert_true(fabs(flops - 1.0 / 6.0) < 1e-12);
    const double median = json_real_value(json_object_get(point, "time_reduction"));
    /* Two pairs bound no interval: their ratio may be any number above 0, and JSON has no infinity. */
    assert_true(json_is_null(json_object_get(point, "time_reduction_low")));
    assert_true(json_real_value(json_object_get(point, "time_reduction_high")) == 1.0 && median < 1.0);
    json_decref(document);
}

static void bench_times_training(void **state)
{
    const char *folder = *state;
    const char *base = ADAMOE " bench --train --threads 1 --benchmark_min_time=0 --benchmark_repetitions=2";
    expect(run("%s --kernel reference", base), 2, "--train goes without --saved");
    expect(run("%s --numa split", base), 2, "--train goes without --saved");
    expect(run("%s --benchmark_filter=x", base), 2, "--train: --benchmark_filter=x: not without the library");
    expect(run("%s --json %s/no/t.json", base, folder), 4, "no/t.json: create: ");
    expect(run("%s --tokens 3", base), 0, "train/tiny/tokens:3/routing:balanced/threads:1: 5 rows of ");
    json_t *document = read_json("bench --train --threads 1 --benchmark_min_time=0 --benchmark_repetitions=2 "
                                 "--tokens 3 --routing skewed --json -",
                                 0);
    const json_t *entries = json_object_get(document, "benchmarks");
    static const char *const names[] = {"train/tiny/forward/tokens:3/routing:skewed/threads:1",
                                        "train/tiny/backward/tokens:3/routing:skewed/threads:1",
                                        "train/tiny/both/tokens:3/routing:skewed/threads:1"};
    assert_int_equal(json_array_size(entries), 3);
    for (size_t i = 0; i < 3; ++i) {
        const json_t *entry = json_array_get(entries, i);
        assert_string_equal(json_string_value(json_object_get(entry, "name")), names[i]);
        /* load 1.67: 5 rows, each 6 * 64 * 96 FLOPs forward, and as many to inputs and to weights */
        assert_true(json_real_value(json_object_get(entry, "executed_flops")) ==
                    (double)(i + 1) * 5.0 * 6.0 * 64.0 * 96.0);
        assert_true(json_real_value(json_object_get(entry, "gflops")) > 0.0);
    }
    json_decref(document);
}

static json_t *flops_json(const char *options)
{
    json_error_t error;
    const outcome *got = run(ADAMOE " flops --config %s/config.json %s --json -", MODEL, options);
    assert_int_equal(got->code, 0);
    json_t *document = json_loads(got->text, 0, &error);
    assert_non_null(document);
    return document;
}

static void flops_as_json(void **state)
{
    (void)state;
    json_t *document = flops_json("--load 1.5");
    assert_true(json_real_value(json_object_get(document, "expert_flops_reduction")) == 0.25);
    const double all = json_real_value(json_object_get(document, "model_flops_reduction"));
    json_decref(document);
    document = flops_json("--load 1.5 --head last");
    assert_true(json_real_value(json_object_get(document, "model_flops_reduction")) > all);
    json_decref(document);
}

static void flops_refuses_what_cannot_be(void **state)
{
    const char *folder = *state;
    const char *base = ADAMOE " flops --config " MODEL "/config.json";
    expect(run("%s --load 1.5 --baseline-k 9", base), 2, "--baseline-k: 9: ");
    expect(run("%s --load 8.5", base), 2, "--load: 8.5: ");
    expect(run("%s --load 1.5 --visible-keys 1e16", base), 2, "--visible-keys: `1e16' is above 2^53");
    /* one expert: there is no top-2 to compare with */
    assert_int_equal(run("sed 's/\"num_local_experts\": *8/\"num_local_experts\": 1/' %s/config.json > "
                         "%s/config.json",
                         MODEL, folder)
                         ->code,
                     0);
    expect(run(ADAMOE " flops --config %s/config.json --load 0.5", folder), 0,
           "50.00 %   1 - load 0.5 / top-1");
}

static void tokens_there_and_back(void **state)
{
    (void)state;
    expect(run("printf 'What is ice?\\n\\n' | " ADAMOE " tokenize --model %s --no-special | " ADAMOE
               " tokenize --model %s --decode",
               MODEL, MODEL),
           0, "What is ice?\n\n");
    expect(run("printf 'ok\\nbad \\377\\n' | " ADAMOE " tokenize --model %s", MODEL), 2,
           "standard input: line 2: ");
    expect(run("echo 1 x | " ADAMOE " tokenize --decode --model %s", MODEL), 2,
           "line 1: `x' is not a token id");
    expect(run("printf '1\\0002\\n' | " ADAMOE " tokenize --decode --model %s", MODEL), 2,
           "line 1: a zero byte is not part of a token id");
    expect(run("echo +1 | " ADAMOE " tokenize --decode --model %s", MODEL), 2,
           "line 1: `+1' is not a token id");
    expect(run("printf 'ice\\n' | " ADAMOE " tokenize --model %s --no-special | sed 's/$/\\r/' | " ADAMOE
               " tokenize --model %s --decode",
               MODEL, MODEL),
           0, "ice\n");
    expect(run("echo 99999 | " ADAMOE " tokenize --decode --model %s", MODEL), 2, "99999");
}

static void generate_is_greedy_and_repeatable(void **state)
{
    (void)state;
    const outcome *got = run(ADAMOE " generate --model %s --prompt 'Question: What' --tokens 5", MODEL);
    expect(got, 0, "Question: What");
    char first[256];
    (void)snprintf(first, sizeof first, "%.255s", got->text);
    expect(run(ADAMOE " generate --model %s --prompt 'Question: What' --tokens 5", MODEL), 0, first);
    expect(run(ADAMOE " generate --model %s --prompt \"$(printf 'a\\377')\"", MODEL), 2,
           "adamoe generate: --prompt: ");
}

static void stories_tell_their_story(void **state)
{
    (void)state;
    SKIP_WITHOUT(SHARED_PATH("stories260K/model.safetensors"));
    static const char *const how[] = {"", "--threads 1", "--kernel reference"};
    for (size_t i = 0; i < sizeof how / sizeof *how; ++i) {
        expect(run(ADAMOE " generate --model '%s' --tokens 80 %s", SHARED_PATH("stories260K"), how[i]), 0,
               "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
               "One day, she saw a big, r");
    }
    expect(run(ADAMOE " generate --model '%s' --kernel no-such", SHARED_PATH("stories260K")), 2,
           "adamoe generate: --kernel: no-such: no such kernel");
}

/* The numbers of the report against those of its own samples. */
static void eval_adds_up(void **state)
{
    const char *folder = *state;
    json_error_t error;
    expect(run(ADAMOE
               " eval --model %s --questions %s --limit 20 --kernel reference --json %s/r.json --samples "
               "%s/s.jsonl",
               MODEL, QUESTIONS, folder, folder),
           0, "20 of 200 questions");
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/r.json", folder);
    json_t *result = json_load_file(path, 0, &error);
    assert_non_null(result);
    const json_t *scores = json_object_get(json_object_get(result, "results"), "questions");
    const json_t *cost = json_object_get(result, "adamoe");
    (void)snprintf(path, sizeof path, "%s/s.jsonl", folder);
    FILE *samples = fopen(path, "r");
    assert_non_null(samples);
    size_t count = 0, right = 0;
    for (json_t *line; (line = json_loadf(samples, JSON_DISABLE_EOF_CHECK, &error)) != NULL;
         json_decref(line)) {
        const json_t *logprob = json_object_get(line, "logprob");
        size_t best = 0;
        for (size_t c = 0; c < json_array_size(logprob); ++c) {
            const double value = json_real_value(json_array_get(logprob, c));
            assert_true(value < 0.0);
            best = value > json_real_value(json_array_get(logprob, best)) ? c : best;
        }
        assert_int_equal(best, json_integer_value(json_object_get(line, "prediction")));
        right += json_integer_value(json_object_get(line, "gold")) == (json_int_t)best;
        ++count;
    }
    fclose(samples);
    assert_int_equal(count, 20);
    const double p = (double)right / 20.0;
    assert_true(json_real_value(json_object_get(scores, "acc,none")) == p);
    assert_true(fabs(json_real_value(json_object_get(scores, "acc_stderr,none")) - sqrt(p * (1 - p) / 19.0)) <
                1e-12);
    double histogram = 0.0;
    for (size_t i = 0; i <= 3; ++i) {
        histogram +=
            (double)i * json_real_value(json_array_get(json_object_get(cost, "true_expert_histogram"), i));
    }
    const double load = json_real_value(json_object_get(cost, "load"));
    assert_true(fabs(histogram - load) < 1e-12);
    assert_true(fabs(1.0 - load / 2.0 - json_real_value(json_object_get(cost, "expert_flops_reduction"))) <
                1e-12);
    const json_t *executed = json_object_get(cost, "executed_flops");
    const json_t *baseline = json_object_get(cost, "baseline_flops");
    const double share = (double)json_integer_value(json_object_get(executed, "experts")) /
                         (double)json_integer_value(json_object_get(baseline, "experts"));
    assert_true(fabs(share - load / 2.0) < 1e-12);
    json_decref(result);
}

/* Copies a safetensors file without its gate2 tensors. */
static void drop_gate2(const char *from, const char *to)
{
    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_open(from, &file));
    const size_t count = adamoe_safetensors_count(file);
    adamoe_tensor *kept = calloc(count, sizeof *kept);
    size_t kept_count = 0;
    assert_non_null(kept);
    for (size_t i = 0; i < count; ++i) {
        const adamoe_tensor *tensor = adamoe_safetensors_at(file, i);
        if (strstr(tensor->name, "gate2") == NULL) {
            kept[kept_count++] = *tensor;
        }
    }
    assert_true(kept_count < count);
    assert_ok(adamoe_safetensors_write(to, kept, kept_count, NULL, 0));
    free(kept);
    adamoe_safetensors_close(file);
}

/* Null experts that copy the gate: with k = 3 the vanilla answers bit for bit and a load of exactly 2; with k
 * = 5 the load is 3 (reference/README.md section 2.1). The vanilla checkpoint is the shipped one without its
 * gate2. */
static void a_converted_model_keeps_its_answers(void **state)
{
    const char *folder = *state;
    assert_int_equal(
        run("cp %s/* %s/ && sed 's/\"num_null_experts\": *8/\"num_null_experts\": 0/' %s/config.json > "
            "%s/config.json ",
            MODEL, folder, MODEL, folder)
            ->code,
        0);
    drop_gate2(MODEL_PATH "/model.safetensors", in_folder(state, "model.safetensors").text);
    const char *base = ADAMOE " eval --kernel reference --questions " QUESTIONS " --limit 10 --model";
    expect(run("%s %s --top-k 2 --samples %s/vanilla", base, folder, folder), 0, "load  2.0000 ");
    expect(run("%s %s --null-experts 8 --top-k 3 --samples %s/three", base, folder, folder), 0,
           "load  2.0000 ");
    expect(run("%s %s --null-experts 8 --top-k 4 --samples %s/four", base, folder, folder), 0,
           "load  2.0000 ");
    expect(
        run("cmp %s/vanilla %s/three && cmp %s/vanilla %s/four && echo same", folder, folder, folder, folder),
        0, "same");
    expect(run("%s %s --null-experts 8 --top-k 5", base, folder), 0, "load  3.0000 ");
    expect(run("%s %s --null-experts 12 --top-k 3", base, folder), 2, "12");
    expect(run("%s " MODEL " --null-experts 8 --top-k 3", base), 2,
           "num_null_experts: the checkpoint has 8 already");
    /* and the other way: the shipped model's null experts dropped */
    expect(run("%s " MODEL " --null-experts 0 --top-k 2 --samples %s/dropped", base, folder), 0,
           "load  2.0000 ");
    expect(run("cmp %s/vanilla %s/dropped && echo same", folder, folder), 0, "same");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_and_usage),
        cmocka_unit_test_setup_teardown(examples_run_as_they_stand, make_folder, remove_folder),
        cmocka_unit_test(info_as_json),
        cmocka_unit_test_setup_teardown(bad_input_writes_nothing, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(results_that_cannot_be_written, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(lost_output_is_an_error, make_folder, remove_folder),
        cmocka_unit_test(check_runs_what_is_asked_for),
        cmocka_unit_test_setup_teardown(bench_is_google_benchmark, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(bench_tells_what_is_saved, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(bench_times_training, make_folder, remove_folder),
        cmocka_unit_test(flops_as_json),
        cmocka_unit_test_setup_teardown(flops_refuses_what_cannot_be, make_folder, remove_folder),
        cmocka_unit_test(tokens_there_and_back),
        cmocka_unit_test(generate_is_greedy_and_repeatable),
        cmocka_unit_test(stories_tell_their_story),
        cmocka_unit_test_setup_teardown(eval_adds_up, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_converted_model_keeps_its_answers, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
