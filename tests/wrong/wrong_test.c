/*
 * The checker checked: `adamoe check` on kernels with one realistic bug each (tests/wrong/), and on the
 * honest kernel that they are made of. Prints which tier caught which, at which case; fails where one is not
 * caught, where an honest one is, or where tests/wrong/README.md has another table. The kernels are run by the program alone, in processes of their own:
 * some of them crash, and some do not return.
 */
#include "program.h"
#include "registry.h"

#include <jansson.h>

/* Where one tier alone can see a plugin's bugs, the others would cost time and prove nothing. */
static const struct {
    const char *name, *options;
} wrong_plugins[] = {
    {"plan", ""},
    {"product", ""},
    {"rounding", ""},
    {"order", "--tier bitwise"},
    {"memory", ""},
    {"routing", "--tier routing"},
    {"attention", "--case attention/"},
    {"gradient", "--case /gradient/"},
};

#define PLUGINS (sizeof wrong_plugins / sizeof *wrong_plugins)

/* How one run of `adamoe check` on one kernel ended. */
typedef struct finding {
    int code;         /* of the program; -1 where it did not end by itself */
    size_t passed;    /* cases */
    bool caught;      /* a failed case is in the results */
    char tier[16];    /* that found the first failed case */
    char place[256];  /* its name */
    char detail[256]; /* what it says */
} finding;

static void copy_text(char *to, size_t size, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    (void)snprintf(to, size, "%s", text == NULL ? "" : text);
}

static void read_finding(const char *path, finding *out)
{
    json_t *root = json_load_file(path, 0, NULL);
    const json_t *kernel = json_array_get(json_object_get(root, "kernels"), 0);
    const json_t *results = json_object_get(kernel, "results");
    out->passed = (size_t)json_integer_value(json_object_get(kernel, "passed"));
    for (size_t i = 0; i < json_array_size(results) && !out->caught; ++i) {
        const json_t *result = json_array_get(results, i);
        const char *status = json_string_value(json_object_get(result, "status"));
        if (status != NULL && strcmp(status, "failed") == 0) {
            out->caught = true;
            copy_text(out->tier, sizeof out->tier, result, "tier");
            copy_text(out->place, sizeof out->place, result, "case");
            copy_text(out->detail, sizeof out->detail, result, "detail");
        }
    }
    json_decref(root);
}

/* Two threads, whatever machine it is: some of the bugs need a second one. */
static finding check(void **state, const char *plugin, const char *kernel, const char *options)
{
    finding result = {.code = -1};
    char command[2048];
    const folder_path json = in_folder(state, "result.json");
    (void)remove(json.text);
    (void)snprintf(command, sizeof command,
                   "timeout 120 '%s' check --plugin '%s/%s.so' --kernel %s --threads 2 %s --json '%s' "
                   "> /dev/null 2>&1",
                   ADAMOE_PROGRAM, ADAMOE_WRONG_DIR, plugin, kernel, options, json.text);
    const int status = system(command);
    if (WIFEXITED(status) && WEXITSTATUS(status) < 124) { /* above are timeout's own, and signals */
        result.code = WEXITSTATUS(status);
    }
    read_finding(json.text, &result);
    return result;
}

static adamoe_registry *load(const char *plugin)
{
    char path[1024];
    adamoe_registry *registry = NULL;
    (void)snprintf(path, sizeof path, "%s/%s.so", ADAMOE_WRONG_DIR, plugin);
    assert_ok(adamoe_registry_create(&registry));
    assert_ok(adamoe_registry_load(registry, path));
    return registry;
}

/* A plugin's kernels come after the built-in ones. */
static size_t built_in_count(void)
{
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    const size_t count = adamoe_registry_count(registry);
    adamoe_registry_free(registry);
    return count;
}

static void honest_kernels_pass(void **state)
{
    adamoe_registry *registry = load("honest");
    for (size_t i = built_in_count(); i < adamoe_registry_count(registry); ++i) {
        const char *name = adamoe_registry_at(registry, i)->name;
        const finding f = check(state, "honest", name, "");
        print_message("%s: exit code %d, %zu cases passed\n", name, f.code, f.passed);
        if (f.code != 0 || f.caught || f.passed < 100) {
            fail_msg("%s: %s: %s: %s", name, f.tier, f.place, f.detail);
        }
    }
    adamoe_registry_free(registry);
}

#define MOST_KERNELS 1000

/* A kernel that was caught. */
typedef struct capture {
    char tier[16], name[64];
} capture;

typedef struct tally {
    size_t kernels, caught;
    capture capture[MOST_KERNELS]; /* [caught] */
} tally;

static void keep(tally *sum, const char *tier, const char *kernel)
{
    static const char prefix[] = "wrong-";
    const bool prefixed = strncmp(kernel, prefix, sizeof prefix - 1) == 0;
    assert_true(sum->caught < MOST_KERNELS);
    capture *c = &sum->capture[sum->caught++];
    (void)snprintf(c->tier, sizeof c->tier, "%s", tier);
    (void)snprintf(c->name, sizeof c->name, "%s", prefixed ? kernel + sizeof prefix - 1 : kernel);
}

/* The kernels of one plugin. */
static void catch_all(void **state, const char *plugin, const char *tiers, tally *sum)
{
    adamoe_registry *registry = load(plugin);
    for (size_t i = built_in_count(); i < adamoe_registry_count(registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        ++sum->kernels;
        char options[64];
        const bool hangs = strcmp(kernel->name, "wrong-endless-loop") == 0; /* no need to wait a minute */
        (void)snprintf(options, sizeof options, "--fail-fast %s%s", tiers, hangs ? " --timeout 3" : "");
        const finding f = check(state, plugin, kernel->name, options);
        const bool reported = f.caught && f.code == ADAMOE_DIFFERENCE && f.tier[0] != '\0';
        print_message("%-36s| %-10s| %s\n", kernel->name, reported ? f.tier : "NOT CAUGHT",
                      reported ? f.place : kernel->summary);
        if (reported) {
            keep(sum, f.tier, kernel->name);
        }
    }
    adamoe_registry_free(registry);
}

static int compare_captures(const void *a, const void *b)
{
    return strcmp(((const capture *)a)->name, ((const capture *)b)->name);
}

/* The table of tests/wrong/README.md: a row for each tier, the kernels in the order of their names. */
static void write_table(tally *sum, const char *path)
{
    static const char *const tiers[] = {"exact", "bound", "bitwise", "property", "routing", "model"};
    qsort(sum->capture, sum->caught, sizeof *sum->capture, compare_captures);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "| tier | wrong kernels, first caught there |\n|---|---|\n");
    for (size_t t = 0; t < sizeof tiers / sizeof *tiers; ++t) {
        size_t count = 0;
        for (size_t i = 0; i < sum->caught; ++i) {
            count += strcmp(sum->capture[i].tier, tiers[t]) == 0;
        }
        const char *joint = " ";
        if (count > 0) {
            fprintf(file, "| %s (%zu) |", tiers[t], count);
        }
        for (size_t i = 0; i < sum->caught; ++i) {
            if (strcmp(sum->capture[i].tier, tiers[t]) == 0) {
                fprintf(file, "%s%s", joint, sum->capture[i].name);
                joint = ", ";
            }
        }
        fprintf(file, "%s", count > 0 ? " |\n" : "");
    }
    assert_int_equal(fclose(file), 0);
}

/* The README shows what was found today. */
static void expect_in_readme(tally *sum)
{
    size_t size;
    write_table(sum, ADAMOE_WRONG_DIR "/table.md");
    char *table = read_bytes(ADAMOE_WRONG_DIR "/table.md", &size);
    char *readme = read_bytes(SOURCE_PATH("tests/wrong/README.md"), &size);
    if (strstr(readme, table) == NULL) {
        fail_msg("tests/wrong/README.md has another table than %s/table.md:\n%s", ADAMOE_WRONG_DIR, table);
    }
    free(readme);
    free(table);
}

static void wrong_kernels_are_caught(void **state)
{
    static tally sum;
    print_message("%-36s| %-10s| %s\n", "wrong kernel", "tier", "first failing case");
    for (size_t i = 0; i < PLUGINS; ++i) {
        catch_all(state, wrong_plugins[i].name, wrong_plugins[i].options, &sum);
    }
    print_message("%zu of %zu wrong kernels caught\n", sum.caught, sum.kernels);
    assert_true(sum.kernels >= 116);
    assert_int_equal(sum.caught, sum.kernels);
    expect_in_readme(&sum);
}

/* A plugin for another version is refused as a whole, before anything of it runs. */
static void another_version_is_refused(void **state)
{
    const finding f = check(state, "abi", "wrong-abi", "");
    assert_int_equal(f.code, ADAMOE_BAD_INPUT);
    assert_false(f.caught);
    assert_int_equal(f.passed, 0);
}

#define HONEST " --plugin '" ADAMOE_WRONG_DIR "/honest.so'"

/* A kernel of a plugin computes what a built-in one does, in every verb that computes. */
static void a_plugin_serves_every_verb(void **state)
{
    (void)state;
    expect(run(ADAMOE_PROGRAM " layer " LAYER HONEST " --kernel honest-bf16"), 0, "passed output");
    expect(run(ADAMOE_PROGRAM " bench" HONEST
                              " --kernel honest-f32 --preset tiny --tokens 1 --benchmark_min_time=0.001"),
           0, "  honest-f32 ");
    expect(run(ADAMOE_PROGRAM " eval --model " MODEL " --questions " QUESTIONS HONEST
                              " --kernel honest-f32 --limit 2"),
           0, "model FLOPs reduction");
    expect(run(ADAMOE_PROGRAM " layer " LAYER HONEST HONEST), 2, "--plugin: only one can be loaded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(honest_kernels_pass, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(wrong_kernels_are_caught, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(another_version_is_refused, make_folder, remove_folder),
        cmocka_unit_test(a_plugin_serves_every_verb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
