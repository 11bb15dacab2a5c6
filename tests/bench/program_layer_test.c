/*
 * The verb `layer` as a user meets it, and plugins, right and wrong ones, in `layer`, `check` and `bench`.
 */
#include "program.h"
#include "safetensors/safetensors.h"

#include <jansson.h>

/* Copies a layer without what it expects; the tensor called `zeroed` with zeros. */
static void copy_layer(const char *from, const char *to, const char *zeroed)
{
    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_open(from, &file));
    const size_t count = adamoe_safetensors_count(file);
    adamoe_tensor *kept = calloc(count, sizeof *kept);
    float *zeros = NULL;
    size_t kept_count = 0;
    assert_non_null(kept);
    for (size_t i = 0; i < count; ++i) {
        const adamoe_tensor *tensor = adamoe_safetensors_at(file, i);
        if (strstr(tensor->name, "expected.") != NULL) {
            continue;
        }
        kept[kept_count] = *tensor;
        if (strcmp(tensor->name, zeroed) == 0) {
            zeros = calloc(tensor->elements, sizeof *zeros);
            assert_non_null(zeros);
            kept[kept_count].data = zeros;
        }
        ++kept_count;
    }
    assert_true(kept_count < count);
    assert_ok(adamoe_safetensors_write(to, kept, kept_count, NULL, 0));
    free(zeros);
    free(kept);
    adamoe_safetensors_close(file);
}

static void layer_writes_and_compares(void **state)
{
    const char *folder = *state;
    expect(run(ADAMOE " layer %s -o %s/out.safetensors", LAYER, folder), 0,
           "passed expected.output_f64_rounded");
    assert_true(exists(folder, "out.safetensors"));
    /* another rule than the file's is a difference; the results are written all the same */
    expect(run(ADAMOE " layer %s --norm none", LAYER), 1, "FAILED expected.routing_weights");
    expect(run(ADAMOE " layer %s --top-k 2 -o %s/two.safetensors", LAYER, folder), 1,
           "FAILED top-k: the file expects k = 3, the run has k = 2");
    assert_true(exists(folder, "two.safetensors"));
    expect(run(ADAMOE " layer %s --top-k 10", LAYER), 2, "top-k: 10 is not between 1 and 9");
    expect(run(ADAMOE " layer %s --kernel nothing", LAYER), 2, "--kernel: nothing: no such kernel");
    expect(run(ADAMOE " layer %s/absent", folder), 2, "absent: open: No such file or directory");
}

/* Zeros in, zeros out: nothing is proved. The name of the file is no UTF-8, which JSON cannot hold. */
static void what_proves_nothing_is_vacuous(void **state)
{
    json_error_t error;
    const folder_path path = in_folder(state, "zero\377.safetensors");
    copy_layer(LAYER_PATH, path.text, "hidden_states");
    expect(run(ADAMOE " layer '%s' --top-k 3 --kernel reference", path.text), 0,
           "\nvacuous output of the kernel: ");
    assert_null(strstr(run(ADAMOE " layer '%s' --top-k 3", path.text)->text, "passed"));
    const outcome *got = run(ADAMOE " layer '%s' --top-k 3 --kernel reference --json -", path.text);
    json_t *document = json_loads(got->text, 0, &error);
    assert_non_null(document);
    const char *name = json_string_value(json_object_get(document, "file"));
    assert_non_null(name);
    assert_non_null(strstr(name, "/zero\xef\xbf\xbd.safetensors"));
    const json_t *comparisons = json_object_get(document, "comparisons");
    assert_int_equal(json_array_size(comparisons), 2); /* logits and output of the kernel */
    for (size_t i = 0; i < 2; ++i) {
        const json_t *status = json_object_get(json_array_get(comparisons, i), "status");
        assert_string_equal(json_string_value(status), "vacuous");
    }
    json_decref(document);
}

/* Builds a plugin of tests/plugin/ as plugin.so after a change by sed, or none; skips where there is no
 * compiler. A change that changes nothing is a mistake of the test. */
static void build_plugin(const char *folder, const char *source, const char *change, const char *options)
{
    if (system("cc --version > /dev/null 2>&1") != 0) {
        print_message("skipped: there is no cc to build a plugin with\n");
        skip();
    }
    expect(run("sed '%s' '%s/%s' > %s/plugin.c && cmp -s '%s/%s' %s/plugin.c; echo $?", change,
               SOURCE_PATH("tests/plugin"), source, folder, SOURCE_PATH("tests/plugin"), source, folder),
           0, change[0] == '\0' ? "0\n" : "1\n");
    expect(run("cc -std=c17 -O1 -shared -fPIC %s -I '%s' %s/plugin.c -o %s/plugin.so -lm", options,
               SOURCE_PATH("reference"), folder, folder),
           0, "");
}

/* A plugin whose silu is a ten-thousandth too large, as a coarse approximation would be. */
static void a_wrong_plugin_is_caught(void **state)
{
    const char *folder = *state;
    build_plugin(folder, "example.c", "s/= silu(gate)/= 1.0001f * silu(gate)/", "");
    const outcome *got = run(ADAMOE " check --plugin '%s/plugin.so' --kernel example --seed 3 --threads "
                                    "1 --case ff:64/n:8/m:8/k:3",
                             folder);
    expect(got, 1, "bound: an element beyond its bound\n  index [");
    expect(got, 1, ", seed 3\n");
    /* the command line that it gives repeats the failure */
    char repeat[2048];
    const char *line = strstr(got->text, "  repeat: adamoe ");
    assert_non_null(line);
    (void)snprintf(repeat, sizeof repeat, ADAMOE " %.*s", (int)strcspn(line + 17, "\n"), line + 17);
    assert_non_null(strstr(repeat, " --seed 3 --threads 1"));
    expect(run("%s", repeat), 1, "1 cases: 0 passed, 1 failed");
    expect(run(ADAMOE " bench --plugin %s/plugin.so --kernel example --tokens 16", folder), 1,
           "wrong result at token ");
}

static void layers_pass(const char *files, const char *folder)
{
    expect(run("for file in %s; do " ADAMOE " layer \"$file\" --plugin %s/plugin.so --kernel bfloat16 || "
               "exit; done",
               files, folder),
           0, "passed output of the kernel");
}

/* A kernel that rounds its operands rounds those of the experts; ids, weights and losses are still the
 * file's. */
static void a_kernel_that_rounds_does_not_round_the_router(void **state)
{
    const char *folder = *state;
    build_plugin(folder, "bfloat16.c", "", "");
    layers_pass(SHELL_WORD(SOURCE_PATH("tests/golden/layer/")) "*.safetensors", folder);
    SKIP_WITHOUT(SHARED_PATH("oracle"));
    layers_pass(SHELL_WORD(SHARED_PATH("oracle/")) "*.safetensors " SHELL_WORD(
                    SHARED_PATH("oracle/rules/")) "*.safetensors",
                folder);
}

/* A hundredth too large: a file that expects nothing does not hide it. */
static void a_wrong_router_product_is_caught(void **state)
{
    const char *folder = *state;
    const folder_path path = in_folder(state, "layer.safetensors");
    copy_layer(LAYER_PATH, path.text, "");
    build_plugin(folder, "bfloat16.c", "", "-DOPERANDS=ADAMOE_FLOAT32");
    expect(run(ADAMOE " layer %s --top-k 3 --plugin %s/plugin.so --kernel bfloat16", path.text, folder), 0,
           "passed router_logits of the kernel");
    build_plugin(folder, "bfloat16.c", "s/= dot(matrix, row/= 1.01f * dot(matrix, row/",
                 "-DOPERANDS=ADAMOE_FLOAT32");
    expect(run(ADAMOE " layer %s --top-k 3 --plugin %s/plugin.so --kernel bfloat16", path.text, folder), 1,
           "FAILED router_logits of the kernel: ");
}

#define FOLDER_TEST(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(layer_writes_and_compares),
        FOLDER_TEST(what_proves_nothing_is_vacuous),
        FOLDER_TEST(a_wrong_plugin_is_caught),
        FOLDER_TEST(a_kernel_that_rounds_does_not_round_the_router),
        FOLDER_TEST(a_wrong_router_product_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
