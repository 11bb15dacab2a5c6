/*
 * The checker checked: `adamoe check` on kernels with one realistic bug each (tests/wrong/), and on the
 * honest kernels that they are made of. Prints which tier caught which, at which case; fails where one is not
 * caught, where an honest one is, or where the table of tests/wrong/README.md does not name them all. The kernels are run by the
 * program alone, in processes of their own: some of them crash, and some do not return.
 *
 *     wrong_test [PLUGIN ...]
 *
 * Some are written before what shall catch them: not_caught_yet lists them, and the test counts them aloud. It
 * fails too where one of those is caught, so that the list never says more than is true.
 */
#include "program.h"
#include "registry.h"

#include <jansson.h>

/* Where some cases alone can see a plugin's bugs, the others would cost time and prove nothing. Whoever adds the cases
 * that catch a kernel of not_caught_yet sees to it that they are among these. */
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
    {"tiles", "--tier exact --tier bound"},
    {"threads", "--tier bitwise"},
    {"lifetime", "--tier property"},
    {"process", "--case /d:33/ff:17/"},
    {"services", "--tier bitwise --tier property"},
    {"values", "--tier exact --tier bound --tier property"},
    {"backward", "--case /gradient/"},
};

/* Kinds of bugs that pass, with a letter each:
 *   A blocks that are longer than the cases        B tables of fixed length
 *   C threads, teams and nodes                     D order of tasks, and races
 *   E one object over many calls                   F several objects
 *   G what is left in the process                  H services of the host
 *   I silu between the anchors                     J weights of the sum
 *   K what is not finite                           L the sign of a zero
 *   M long sums of int8                            N the backward pass
 *   O router and attention
 * `expected` says where each shall be caught: a tier, or "call" for what is compared around every call. */
static const struct {
    char kind;
    const char *kernel, *expected;
} not_caught_yet[] = {
    {'D', "wrong-published-early", "ThreadSanitizer"},
};

#define NOT_CAUGHT_YET (sizeof not_caught_yet / sizeof *not_caught_yet)

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
static finding check(void **state, const char *folder, const char *plugin, const char *kernel,
                     const char *options)
{
    finding result = {.code = -1};
    char command[2048];
    const folder_path json = in_folder(state, "result.json");
    (void)remove(json.text);
    (void)snprintf(command, sizeof command,
                   "timeout 120 '%s' check --plugin '%s/%s.so' --kernel %s --threads 2 %s --json '%s' "
                   "> /dev/null 2>&1",
                   ADAMOE_PROGRAM, folder, plugin, kernel, options, json.text);
    const int status = system(command);
    if (WIFEXITED(status) && WEXITSTATUS(status) < 124) { /* above are timeout's own, and signals */
        result.code = WEXITSTATUS(status);
    }
    read_finding(json.text, &result);
    return result;
}

static adamoe_registry *load(const char *folder, const char *plugin)
{
    char path[1024];
    adamoe_registry *registry = NULL;
    (void)snprintf(path, sizeof path, "%s/%s.so", folder, plugin);
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

#define MOST_KERNELS 1000

/* A kernel, and the tier that caught it, or "not yet". */
typedef struct capture {
    char tier[16], name[64];
} capture;

typedef struct tally {
    size_t kernels, caught, expected_not, surprises;
    capture capture[MOST_KERNELS]; /* [caught + expected_not] */
} tally;

static void keep(tally *sum, const char *tier, const char *kernel)
{
    static const char prefix[] = "wrong-";
    const bool prefixed = strncmp(kernel, prefix, sizeof prefix - 1) == 0;
    assert_true(sum->caught + sum->expected_not < MOST_KERNELS);
    capture *c = &sum->capture[sum->caught + sum->expected_not];
    (void)snprintf(c->tier, sizeof c->tier, "%s", tier);
    (void)snprintf(c->name, sizeof c->name, "%s", prefixed ? kernel + sizeof prefix - 1 : kernel);
}

/* NULL where the kernel shall be caught, else where it shall be one day. */
static const char *expected_later(const char *kernel, char *kind)
{
    for (size_t i = 0; i < NOT_CAUGHT_YET; ++i) {
        if (strcmp(not_caught_yet[i].kernel, kernel) == 0) {
            *kind = not_caught_yet[i].kind;
            return not_caught_yet[i].expected;
        }
    }
    return NULL;
}

static void judge(const adamoe_kernel *kernel, const finding *f, tally *sum)
{
    char kind = ' ';
    const char *later = expected_later(kernel->name, &kind);
    const bool reported = f->caught && f->code == ADAMOE_DIFFERENCE && f->tier[0] != '\0';
    const bool passed = !f->caught && f->code == ADAMOE_OK && f->passed > 0;
    if (later != NULL && passed) {
        print_message("%-36s| not yet   | %c, by %s: %s\n", kernel->name, kind, later, kernel->summary);
        keep(sum, "not yet", kernel->name);
        ++sum->expected_not;
        return;
    }
    print_message("%-36s| %-10s| %s\n", kernel->name, reported ? f->tier : "NOT CAUGHT",
                  reported ? f->place : kernel->summary);
    if (!reported) {
        print_message("  exit code %d, %zu cases passed%s%s\n", f->code, f->passed,
                      f->caught ? ", one failed: " : "", f->detail);
    }
    if (later != NULL) {
        print_message("%s is caught (exit code %d): take it out of not_caught_yet\n", kernel->name, f->code);
    }
    if (reported) {
        keep(sum, f->tier, kernel->name);
        ++sum->caught;
    }
    sum->surprises += later != NULL || !reported;
}

/* The kernels of one plugin. */
static void catch_all(void **state, const char *plugin, const char *some, tally *sum)
{
    adamoe_registry *registry = load(ADAMOE_WRONG_DIR, plugin);
    for (size_t i = built_in_count(); i < adamoe_registry_count(registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        char options[128];
        const bool hangs = strcmp(kernel->name, "wrong-endless-loop") == 0; /* no need to wait a minute */
        (void)snprintf(options, sizeof options, "--fail-fast %s%s", some, hangs ? " --timeout 3" : "");
        const finding f = check(state, ADAMOE_WRONG_DIR, plugin, kernel->name, options);
        ++sum->kernels;
        judge(kernel, &f, sum);
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
    static const char *const tiers[] = {"exact",   "bound", "bitwise", "property",
                                        "routing", "model", "not yet"};
    const size_t kept = sum->caught + sum->expected_not;
    qsort(sum->capture, kept, sizeof *sum->capture, compare_captures);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "| tier | wrong kernels, first caught there |\n|---|---|\n");
    for (size_t t = 0; t < sizeof tiers / sizeof *tiers; ++t) {
        size_t count = 0;
        for (size_t i = 0; i < kept; ++i) {
            count += strcmp(sum->capture[i].tier, tiers[t]) == 0;
        }
        const char *joint = " ";
        if (count > 0) {
            fprintf(file, "| %s (%zu) |", tiers[t], count);
        }
        for (size_t i = 0; i < kept; ++i) {
            if (strcmp(sum->capture[i].tier, tiers[t]) == 0) {
                fprintf(file, "%s%s", joint, sum->capture[i].name);
                joint = ", ";
            }
        }
        fprintf(file, "%s", count > 0 ? " |\n" : "");
    }
    assert_int_equal(fclose(file), 0);
}

/* How often a table has this name: behind a blank, before a comma or the end of a row. */
static size_t count_in_table(const char *table, const char *name)
{
    const size_t length = strlen(name);
    size_t count = 0;
    for (const char *at = strstr(table, name); at != NULL; at = strstr(at + 1, name)) {
        count += at > table && at[-1] == ' ' && (at[length] == ',' || at[length] == ' ');
    }
    return count;
}

/* The README names every kernel, and none twice, and those that are not caught yet in their row. Two processes look at
 * the cases at once and the first failure ends the run, so which tier it is of may be another one next time. */
static void expect_in_readme(tally *sum)
{
    static const char head[] = "| tier | wrong kernels, first caught there |";
    size_t size, wrong = 0;
    write_table(sum, ADAMOE_WRONG_DIR "/table.md");
    char *readme = read_bytes(SOURCE_PATH("tests/wrong/README.md"), &size);
    char *table = strstr(readme, head);
    assert_non_null(table);
    char *end = strstr(table, "\n\n");
    assert_non_null(end);
    *end = '\0';
    const char *not_yet = strstr(table, "| not yet (");
    for (size_t i = 0; i < sum->caught + sum->expected_not; ++i) {
        const capture *c = &sum->capture[i];
        const bool later = strcmp(c->tier, "not yet") == 0;
        const size_t all = count_in_table(table, c->name);
        const size_t as_not_yet = not_yet == NULL ? 0 : count_in_table(not_yet, c->name);
        if (all != 1 || as_not_yet != (size_t)later) {
            print_message(
                "%s: %zu times in the table of tests/wrong/README.md, %zu times as not caught yet\n", c->name,
                all, as_not_yet);
            ++wrong;
        }
    }
    if (wrong > 0) {
        fail_msg("tests/wrong/README.md needs the table of %s/table.md", ADAMOE_WRONG_DIR);
    }
    free(readme);
}

static int plugins_named;
static char **plugin_names;

static bool is_wanted(const char *plugin)
{
    bool wanted = plugins_named == 0;
    for (int i = 0; i < plugins_named; ++i) {
        wanted = wanted || strcmp(plugin_names[i], plugin) == 0;
    }
    return wanted;
}

static void wrong_kernels_are_caught(void **state)
{
    static tally sum;
    print_message("%-36s| %-10s| %s\n", "wrong kernel", "tier", "first failing case");
    for (size_t i = 0; i < PLUGINS; ++i) {
        if (is_wanted(wrong_plugins[i].name)) {
            catch_all(state, wrong_plugins[i].name, wrong_plugins[i].options, &sum);
        }
    }
    print_message("%zu of %zu wrong kernels caught; %zu are expected not to be caught yet\n", sum.caught,
                  sum.kernels, sum.expected_not);
    assert_true(sum.kernels > 0);
    assert_int_equal(sum.surprises, 0);
    if (plugins_named == 0) {
        assert_int_equal(sum.expected_not, NOT_CAUGHT_YET); /* none of the list is gone unnoticed */
        assert_true(sum.caught >= 116);
        expect_in_readme(&sum);
    }
}

/* The kernels of a plugin of tests/honest/. */
static void pass_all(void **state, const char *plugin, const char *some, size_t least)
{
    adamoe_registry *registry = load(ADAMOE_HONEST_DIR, plugin);
    for (size_t i = built_in_count(); i < adamoe_registry_count(registry); ++i) {
        const char *name = adamoe_registry_at(registry, i)->name;
        const finding f = check(state, ADAMOE_HONEST_DIR, plugin, name, some);
        print_message("%s: exit code %d, %zu cases passed\n", name, f.code, f.passed);
        if (f.code != 0 || f.caught || f.passed < least) {
            fail_msg("%s: %s: %s: %s", name, f.tier, f.place, f.detail);
        }
    }
    adamoe_registry_free(registry);
}

static void honest_kernels_pass(void **state)
{
    pass_all(state, "kernels", "", 100);
    pass_all(state, "twins", "--case /d:33/ff:17/", 10);
}

/* A plugin for another version is refused as a whole, before anything of it runs. */
static void another_version_is_refused(void **state)
{
    const finding f = check(state, ADAMOE_WRONG_DIR, "abi", "wrong-abi", "");
    assert_int_equal(f.code, ADAMOE_BAD_INPUT);
    assert_false(f.caught);
    assert_int_equal(f.passed, 0);
}

#define HONEST " --plugin '" ADAMOE_HONEST_DIR "/kernels.so'"

/* A kernel of a plugin computes what a built-in one does, in every verb that computes. */
static void a_plugin_serves_every_verb(void **state)
{
    (void)state;
    expect(run(ADAMOE " layer " LAYER HONEST " --kernel honest-bf16"), 0, "passed output");
    expect(run(ADAMOE " bench" HONEST
                      " --kernel honest-f32 --preset tiny --tokens 1 --benchmark_min_time=0.001"),
           0, "  honest-f32 ");
    expect(
        run(ADAMOE " eval --model " MODEL " --questions " QUESTIONS HONEST " --kernel honest-f32 --limit 2"),
        0, "model FLOPs reduction");
    expect(run(ADAMOE " layer " LAYER HONEST HONEST), 2, "--plugin: only one can be loaded");
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(honest_kernels_pass, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(wrong_kernels_are_caught, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(another_version_is_refused, make_folder, remove_folder),
        cmocka_unit_test(a_plugin_serves_every_verb),
    };
    const struct CMUnitTest some[] = {
        cmocka_unit_test_setup_teardown(wrong_kernels_are_caught, make_folder, remove_folder),
    };
    plugins_named = count - 1;
    plugin_names = arguments + 1;
    return plugins_named == 0 ? cmocka_run_group_tests(tests, NULL, NULL)
                              : cmocka_run_group_tests(some, NULL, NULL);
}
