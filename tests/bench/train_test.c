/*
 * adamoe train as a user runs it: it learns; what it makes can be evaluated; the same bits for any number of
 * threads, and after kill -9 and --resume; adapters leave frozen weights alone; errors leave nothing behind.
 */
#include "program.h"
#include "safetensors/safetensors.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>

#define TRAIN ADAMOE " train "
#define TUNE                                                                                                 \
    TRAIN "--model " MODEL " --questions " QUESTIONS " --limit 24 --batch 4 --dtype f32 --log-every 1 "

static const char *path_of(void **state, const char *name)
{
    static char path[4][1024];
    static int next;
    char *out = path[next++ % 4];
    (void)snprintf(out, sizeof path[0], "%s", in_folder(state, name).text);
    return out;
}

static void assert_same_file(void **state, const char *a, const char *b)
{
    expect(run("cmp '%s' '%s' && echo equal", path_of(state, a), path_of(state, b)), 0, "equal");
}

/* A number from the last line of a log. */
static double last_of(void **state, const char *log, const char *key)
{
    const outcome *line = run("tail -n 1 '%s'", path_of(state, log));
    const char *at = strstr(line->text, key);
    assert_non_null(at);
    return strtod(at + strlen(key) + 2, NULL);
}

static void test_it_learns_and_can_be_evaluated(void **state)
{
    expect(run(TUNE "--steps 60 --limit 4 --learning-rate 0.01 -o '%s'", path_of(state, "tuned")), 0,
           "step 60/60  epoch 60");
    assert_true(last_of(state, "tuned/log.jsonl", "\"cross_entropy\"") < 0.5);
    expect(run("head -n 1 '%s'", path_of(state, "tuned/log.jsonl")), 0, "\"step\": 1, \"epoch\": 0");
    expect(run(ADAMOE " eval --model '%s' --questions " QUESTIONS " --limit 4", path_of(state, "tuned")), 0,
           "acc");
    assert_false(exists(path_of(state, "tuned"), "training-state.safetensors"));
}

/* Of a question only the answer's tokens have a target, or all that follow another. */
static void test_objectives(void **state)
{
    expect(run(TUNE "--steps 1 --limit 4 -o '%s'", path_of(state, "answer")), 0, "step 1/1");
    expect(run(TUNE "--steps 1 --limit 4 --objective all -o '%s'", path_of(state, "all")), 0, "step 1/1");
    const double tokens = last_of(state, "all/log.jsonl", "\"tokens\"");
    assert_true(tokens == last_of(state, "answer/log.jsonl", "\"tokens\""));
    assert_true(tokens == last_of(state, "all/log.jsonl", "\"targets\""));
    assert_in_range((long)last_of(state, "answer/log.jsonl", "\"targets\""), 4, (long)tokens / 2);
}

static void test_threads_give_the_same_bits(void **state)
{
    expect(run(TUNE "--steps 8 --threads 1 -o '%s'", path_of(state, "one")), 0, "step 8/8");
    expect(run(TUNE "--steps 8 --threads 3 -o '%s'", path_of(state, "three")), 0, "step 8/8");
    expect(run(TUNE "--steps 8 --seed 2 -o '%s'", path_of(state, "other")), 0, "step 8/8");
    assert_same_file(state, "one/model.safetensors", "three/model.safetensors");
    expect(run("cmp '%s' '%s'", path_of(state, "one/model.safetensors"),
               path_of(state, "other/model.safetensors")),
           1, "differ");
}

/* Starts the program with a pipe for its lines that is full after some 40 of them, reads `lines`, and kills
 * it: with enough steps it is certain to be cut off on its way. */
static void run_and_kill(const char *command, size_t lines)
{
    int end[2];
    char text[4096], byte;
    (void)snprintf(text, sizeof text, "exec %s", command);
    assert_int_equal(pipe(end), 0);
    assert_in_range(fcntl(end[1], F_SETPIPE_SZ, 4096), 1, 4096);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(end[1], STDOUT_FILENO);
        (void)close(end[0]);
        (void)close(end[1]);
        (void)execl("/bin/sh", "sh", "-c", text, (char *)NULL);
        _exit(127);
    }
    (void)close(end[1]);
    while (lines > 0 && read(end[0], &byte, 1) == 1) {
        lines -= byte == '\n';
    }
    int status = 0;
    (void)kill(child, SIGKILL);
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    (void)close(end[0]);
}

static void test_resume_after_kill(void **state)
{
    static const size_t lines[] = {4, 3, 11};
    static const char options[] = "--steps 80 --checkpoint-every 3 --null-experts 0 --top-k 2 -o";
    char command[2048];
    expect(run(TUNE "%s '%s'", options, path_of(state, "whole")), 0, "step 80/80");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; ++i) {
        (void)snprintf(command, sizeof command, TUNE "%s '%s' %s", options, path_of(state, "cut"),
                       i == 0 ? "" : "--resume");
        run_and_kill(command, lines[i]);
        assert_false(exists(path_of(state, "cut"), "model.safetensors"));
    }
    expect(run(TUNE "%s '%s' --seed 9 --resume", options, path_of(state, "cut")), 2,
           "training-state.safetensors: --resume: seed was 1 and is now 9");
    expect(run(TUNE "%s '%s' --threads 1 --resume", options, path_of(state, "cut")), 0, "step 80/80");
    assert_same_file(state, "whole/model.safetensors", "cut/model.safetensors");
    expect(run("for f in whole cut; do sed 's/, \"seconds\".*//' '%s'/$f/log.jsonl > '%s'/$f.steps; done; "
               "wc -l < '%s'/cut.steps; ls '%s'/cut | tr '\\n' ' '",
               path_of(state, "."), path_of(state, "."), path_of(state, "."), path_of(state, ".")),
           0, "80\nconfig.json log.jsonl model.safetensors tokenizer.json ");
    assert_same_file(state, "whole.steps", "cut.steps");
    expect(run(TUNE "%s '%s' --resume", options, path_of(state, "cut")), 0, "the run is finished");
}

/* Whether a tensor has the same values in both files; both hold what bfloat16 can, or
 * the test means nothing. */
static bool same_tensor(const adamoe_safetensors *a, const adamoe_safetensors *b, const adamoe_tensor *of)
{
    adamoe_matrix x, y;
    const size_t columns = of->shape[of->rank - 1], rows = of->elements / columns;
    assert_ok(adamoe_safetensors_matrix(a, of->name, rows, columns, &x));
    assert_ok(adamoe_safetensors_matrix(b, of->name, rows, columns, &y));
    assert_true(x.dtype == ADAMOE_BF16 && y.dtype == ADAMOE_BF16);
    return memcmp(x.data, y.data, 2 * of->elements) == 0;
}

static void test_adapters_leave_frozen_weights_alone(void **state)
{
    adamoe_safetensors *before = NULL, *after = NULL;
    size_t adapted = 0;
    expect(run(TUNE "--steps 6 --limit 120 --batch 20 --lora 4 --learning-rate 0.05 --dtype bf16 "
                    "--checkpoint-every 2 -o '%s'",
               path_of(state, "lora")),
           0, "step 6/6");
    assert_ok(adamoe_safetensors_open(MODEL_PATH "/model.safetensors", &before));
    assert_ok(adamoe_safetensors_open(path_of(state, "lora/model.safetensors"), &after));
    assert_int_equal(adamoe_safetensors_count(before), adamoe_safetensors_count(after));
    for (size_t i = 0; i < adamoe_safetensors_count(before); ++i) {
        const adamoe_tensor *tensor = adamoe_safetensors_at(before, i);
        const bool expected = strstr(tensor->name, "block_sparse_moe") != NULL;
        adapted += expected;
        if (same_tensor(before, after, tensor) == expected) {
            fail_msg("%s has %schanged", tensor->name, expected ? "not " : "");
        }
    }
    assert_int_equal(adapted, 4 * (2 + 3 * 8));
    adamoe_safetensors_close(before);
    adamoe_safetensors_close(after);
}

static const char config[] =
    "{\"architectures\":[\"MixtralForCausalLM\"],\"vocab_size\":300,\"hidden_size\":24,"
    "\"intermediate_size\":20,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"head_dim\":6,\"num_local_experts\":4,\"num_experts_per_tok\":2,"
    "\"max_position_embeddings\":64,\"rms_norm_eps\":1e-5,\"bos_token_id\":1,\"eos_token_id\":2,"
    "\"initializer_range\":0.05}";

static const char corpus[] = "a cat is an animal .\n\na dog is an animal .\nan oak is a tree .\n";

/* From a config and a text alone to a model with null experts that can be read back. */
static void test_from_scratch(void **state)
{
    write_text(path_of(state, "config.json"), config);
    write_text(path_of(state, "corpus.txt"), corpus);
    expect(run(TRAIN "--config '%s' --corpus '%s' --null-experts 4 --top-k 3 --epochs 30 --batch 2 "
                     "--learning-rate 0.02 --balance-alpha 0.02,0.0001 -o '%s'",
               path_of(state, "config.json"), path_of(state, "corpus.txt"), path_of(state, "scratch")),
           0, "step 60/60  epoch 30");
    assert_true(last_of(state, "scratch/log.jsonl", "\"cross_entropy\"") < 1.0);
    /* gate2 begins as copies of gate: 3 of 8 with every tie to the lower index is two true experts. */
    expect(run("head -n 1 '%s'", path_of(state, "scratch/log.jsonl")), 0, "\"load\": 2,");
    expect(run(ADAMOE " generate --model '%s' --prompt 'a cat' --tokens 4", path_of(state, "scratch")), 0,
           "a cat");
}

static const char dense_config[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":420,\"hidden_size\":"
    "24,"
    "\"intermediate_size\":20,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"head_dim\":6,\"max_position_embeddings\":128,\"rms_norm_eps\":1e-5,"
    "\"bos_token_id\":1,\"eos_token_id\":2,\"initializer_range\":0.05,\"tie_word_embeddings\":true}";

#define MAPS                                                                                                 \
    TRAIN "--model '%s' --questions " QUESTIONS " --limit 24 --batch 4 --log-every 1 --lora-experts 3 "      \
          "--null-experts 3 --top-k 3 --lora 2 "

/* A small dense model to put adapters on. */
static void make_dense(void **state, char *base, size_t size)
{
    write_text(path_of(state, "dense.json"), dense_config);
    (void)snprintf(base, size, "%s", path_of(state, "base"));
    expect(run(TRAIN "--config '%s' --questions " QUESTIONS " --limit 24 --steps 3 --dtype f32 -o '%s'",
               path_of(state, "dense.json"), base),
           0, "step 3/3");
}

/* The two files hold `count` questions, and each log-probability of one is that of the other but for the
 * rounding of two float32 layers (lora_network_test has the bound): 18 sums of at most 24 terms. */
static void compare_samples(const char *left, const char *right, size_t count)
{
    FILE *files[] = {fopen(left, "r"), fopen(right, "r")};
    size_t lines = 0, compared = 0;
    assert_true(files[0] != NULL && files[1] != NULL);
    for (;; ++lines) {
        json_t *line[2];
        for (size_t i = 0; i < 2; ++i) {
            line[i] = json_loadf(files[i], JSON_DISABLE_EOF_CHECK, NULL);
        }
        assert_true((line[0] == NULL) == (line[1] == NULL));
        if (line[0] == NULL) {
            break;
        }
        const json_t *a = json_object_get(line[0], "logprob"), *b = json_object_get(line[1], "logprob");
        for (size_t c = 0; c < json_array_size(a); ++c, ++compared) {
            const double x = json_number_value(json_array_get(a, c));
            const double y = json_number_value(json_array_get(b, c));
            assert_true(x < 0.0 && fabs(x - y) < 18.0 * 24.0 * 0x1p-24 * fabs(y));
        }
        json_decref(line[0]);
        json_decref(line[1]);
    }
    assert_true(lines == count && compared >= 3 * count);
    (void)fclose(files[0]);
    (void)fclose(files[1]);
}

/* An evaluation by the network, and naively. */
static void compare_kernels(void **state, const char *model)
{
    static const char *const kernel[] = {"", "--kernel reference"}, *const name[] = {"fast", "naive"};
    for (size_t i = 0; i < 2; ++i) {
        expect(run(ADAMOE " eval --model '%s' --questions " QUESTIONS " --limit 24 %s --samples '%s'", model,
                   kernel[i], path_of(state, name[i])),
               0, "model FLOPs reduction");
    }
    compare_samples(path_of(state, "fast"), path_of(state, "naive"), 24);
}

/* What comes out refers to its base and holds adapters alone. */
static void test_lora_experts_of_a_dense_model(void **state)
{
    char base[1024], out[1024];
    make_dense(state, base, sizeof base);
    (void)snprintf(out, sizeof out, "%s", path_of(state, "experts"));
    expect(run(MAPS "--steps 60 --limit 4 --learning-rate 0.02 -o '%s'", base, out), 0, "step 60/60");
    expect(run("head -n 1 '%s' > '%s'", path_of(state, "experts/log.jsonl"), path_of(state, "first")), 0, "");
    const double first = last_of(state, "first", "\"cross_entropy\""),
                 last = last_of(state, "experts/log.jsonl", "\"cross_entropy\"");
    assert_true(last < 0.9 * first);
    const double load = last_of(state, "experts/log.jsonl", "\"load\"");
    assert_true(load > 0.5 && load < 2.5);
    assert_false(exists(path_of(state, "experts"), "model.safetensors"));
    assert_true(exists(path_of(state, "experts"), "adapters.safetensors"));
    expect(run(ADAMOE " eval --model '%s' --questions " QUESTIONS " --limit 24", out), 0,
           "true experts per token and map");
    compare_kernels(state, out);
    expect(run(ADAMOE " eval --model '%s' --questions " QUESTIONS " --top-k 2", out), 2,
           "--top-k, --null-experts, --norm, --null-kind: adapters are run as they were trained");
    expect(run(ADAMOE " generate --model '%s' --prompt a", out), 2, "config.json");
    expect(run(MAPS "--steps 1 -o '%s'", base, out), 2, "-o: it holds a model already");
}

static void test_plain_adapters_of_a_dense_model(void **state)
{
    char base[1024], out[1024];
    make_dense(state, base, sizeof base);
    (void)snprintf(out, sizeof out, "%s", path_of(state, "plain"));
    expect(run(TRAIN "--model '%s' --questions " QUESTIONS
                     " --limit 4 --batch 4 --lora 4 --steps 60 --learning-rate 0.02 -o '%s'",
               base, out),
           0, "load 1.000");
    compare_kernels(state, out);
    expect(run(TRAIN "--model '%s' --questions " QUESTIONS " --lora 4 --top-k 2 -o '%s.2'", base, out), 2,
           "they go with --lora-experts");
    expect(run(TRAIN "--model " MODEL " --questions " QUESTIONS " --lora-experts 2 -o '%s.2'", out), 2,
           "the base is not a dense model");
    expect(run(MAPS "--top-k 9 -o '%s.2'", base, out), 2, "top-k: 9, but there are 6");
}

static void test_lora_experts_resume_after_kill(void **state)
{
    static const size_t lines[] = {4, 9};
    char base[1024], command[4096];
    make_dense(state, base, sizeof base);
    expect(run(MAPS "--steps 60 --checkpoint-every 3 -o '%s'", base, path_of(state, "whole")), 0,
           "step 60/60");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; ++i) {
        (void)snprintf(command, sizeof command, MAPS "--steps 60 --checkpoint-every 3 -o '%s' %s", base,
                       path_of(state, "cut"), i == 0 ? "" : "--resume");
        run_and_kill(command, lines[i]);
        assert_false(exists(path_of(state, "cut"), "adapters.safetensors"));
    }
    expect(run(MAPS "--steps 60 -o '%s' --null-experts 6 --resume", base, path_of(state, "cut")), 2,
           "null_experts was 3 and is now 6");
    expect(
        run(MAPS "--steps 60 --checkpoint-every 3 -o '%s' --threads 1 --resume", base, path_of(state, "cut")),
        0, "step 60/60");
    assert_same_file(state, "whole/adapters.safetensors", "cut/adapters.safetensors");
}

static void test_errors_leave_nothing(void **state)
{
    write_text(path_of(state, "config.json"), config);
    write_text(path_of(state, "corpus.txt"), corpus);
    write_text(path_of(state, "wrong.txt"), "fine\n\xff\n");
    char out[1024];
    (void)snprintf(out, sizeof out, "%s", path_of(state, "out"));
    expect(run(TRAIN "--model " MODEL " -o '%s'", out), 2, "--corpus or --questions is required");
    expect(run(TRAIN "--model " MODEL " --corpus x"), 2, "-o is required");
    expect(run(TUNE "--numa split -o '%s'", out), 2, "training places no weights");
    expect(run(TUNE "--plugin x.so -o '%s'", out), 2,
           "--plugin and --command: training computes by code of its own");
    expect(run(TUNE "--command true -o '%s'", out), 2,
           "--plugin and --command: training computes by code of its own");
    expect(run(TUNE "--top-k 99 -o '%s'", out), 2, "--top-k: 99, but there are 16");
    expect(run(TUNE "--null-experts 3 -o '%s'", out), 2, "--null-experts: 3 is no multiple");
    expect(run(TUNE "--balance-alpha 1,x -o '%s'", out), 2, "--balance-alpha: `x' is not a number");
    expect(run(TUNE "--resume -o '%s'", out), 2, "--resume: there is no saved state");
    expect(run(TRAIN "--model " MODEL " --corpus '%s' -o '%s'", path_of(state, "absent"), out), 2,
           "absent: open");
    expect(run(TRAIN "--model " MODEL " --corpus '%s' -o '%s'", path_of(state, "wrong.txt"), out), 2,
           "wrong.txt: line 2:");
    expect(run(TRAIN "--config '%s' --corpus '%s' --null-experts 4 --top-k 9 -o '%s'",
               path_of(state, "config.json"), path_of(state, "corpus.txt"), out),
           2, "--top-k: 9");
    expect(run(TUNE "--steps 20 --learning-rate 1000 --weight-decay 1000 -o '%s' && echo no", out), 2,
           "step ");
    assert_false(exists(path_of(state, "."), "out"));
    expect(run("mkdir '%s' && touch '%s/model.safetensors'", out, out), 0, "");
    expect(run(TUNE "--steps 1 -o '%s'", out), 2, "-o: it holds a model already");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_it_learns_and_can_be_evaluated, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_objectives, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_threads_give_the_same_bits, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_resume_after_kill, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_adapters_leave_frozen_weights_alone, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_from_scratch, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_lora_experts_of_a_dense_model, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_plain_adapters_of_a_dense_model, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_lora_experts_resume_after_kill, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_errors_leave_nothing, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
