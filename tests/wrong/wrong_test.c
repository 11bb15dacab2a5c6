/*
 * The checker checked: `adamoe check` on kernels with one realistic bug each (tests/wrong/). Prints which tier caught
 * which, at which case; fails where one is not caught, or where the table of tests/wrong/README.md is not of these. The
 * kernels are run by the program alone, in processes of their own: some of them crash, and some do not return. The honest
 * side is tests/honest/honest_test.c.
 *
 *     wrong_test [--whole] [PLUGIN ...]
 *
 * caught.txt names for each kernel a case that catches it. That case is tried first, out of the list that `check` makes
 * for the kernel: one that is no longer in it fails the test. The whole check follows where it passes (races need not
 * show) or where there is none. `--whole` asks the whole check of every kernel at once: it takes minutes, finds
 * the first case that fails, and its caught.txt replaces the old one when cases have changed.
 *
 * Some are written before what shall catch them: not_caught_yet lists them, and the test counts them aloud. It
 * fails too where one of those is caught, so that the list never says more than is true.
 */
#include "honest/finding.h"

/* Where some cases alone can see a plugin's bugs, the others would cost time and prove nothing. Whoever adds the cases
 * that catch a kernel of not_caught_yet sees to it that they are among these. */
static const struct {
    const char *name, *options;
} wrong_plugins[] = {
    {"plan", ""},
    {"product", ""},
    {"rounding", ""},
    {"results", "--tier exact --tier bound"},
    {"order", "--tier bitwise"},
    {"memory", ""},
    {"routing", "--case /route/"},
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

#define MOST_KERNELS 1000

/* caught.txt: a kernel, a tier and a case on each line, with blanks between them. The tier is that of the fault, which
 * may be another than the case's: bits that differ within one product, in a case of bound. */
typedef struct known_case {
    char kernel[64], tier[16], place[256];
} known_case;

static known_case known_cases[MOST_KERNELS];
static size_t known_count;

static void read_known_cases(void)
{
    FILE *file = fopen(SOURCE_PATH("tests/wrong/caught.txt"), "r");
    assert_non_null(file);
    known_case line;
    while (fscanf(file, "%63s %15s %255s", line.kernel, line.tier, line.place) == 3) {
        assert_true(known_count < MOST_KERNELS);
        known_cases[known_count++] = line;
    }
    assert_int_equal(fclose(file), 0);
}

static const known_case *known(const char *kernel)
{
    for (size_t i = 0; i < known_count; ++i) {
        if (strcmp(known_cases[i].kernel, kernel) == 0) {
            return &known_cases[i];
        }
    }
    return NULL;
}

/* A kernel, the tier that caught it, or "not yet", and the case. */
typedef struct capture {
    char tier[16], name[64], place[256];
} capture;

typedef struct tally {
    size_t kernels, caught, elsewhere, expected_not, surprises;
    capture capture[MOST_KERNELS]; /* [caught + expected_not] */
} tally;

static void keep(tally *sum, const char *tier, const char *kernel, const char *place)
{
    static const char prefix[] = "wrong-";
    const bool prefixed = strncmp(kernel, prefix, sizeof prefix - 1) == 0;
    assert_true(sum->caught + sum->expected_not < MOST_KERNELS);
    capture *c = &sum->capture[sum->caught + sum->expected_not];
    (void)snprintf(c->tier, sizeof c->tier, "%s", tier);
    (void)snprintf(c->name, sizeof c->name, "%s", prefixed ? kernel + sizeof prefix - 1 : kernel);
    (void)snprintf(c->place, sizeof c->place, "%s", place);
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
        keep(sum, "not yet", kernel->name, "");
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
        keep(sum, f->tier, kernel->name, f->place);
        ++sum->caught;
    }
    sum->surprises += later != NULL || !reported;
}

static bool whole;

/* The known case first. Its name goes without its first letter: a whole name need not be in the list, a part must be. */
static finding catch_one(void **state, const char *plugin, const char *kernel, const char *some, tally *sum)
{
    char options[512];
    finding f = {.caught = false};
    const known_case *first = whole ? NULL : known(kernel);
    const char *patience = strcmp(kernel, "wrong-endless-loop") == 0 ? " --timeout 3" : ""; /* not a minute */
    if (first != NULL) {
        (void)snprintf(options, sizeof options, "--fail-fast --case '%s'%s", first->place + 1, patience);
        f = check(state, ADAMOE_WRONG_DIR, plugin, kernel, options);
        if (f.code == ADAMOE_BAD_INPUT) {
            print_message("%s: `check' has no case %s: caught.txt is to be renewed\n", kernel, first->place);
            ++sum->surprises;
        }
    }
    if (!f.caught) {
        (void)snprintf(options, sizeof options, "--fail-fast %s%s", some, patience);
        f = check(state, ADAMOE_WRONG_DIR, plugin, kernel, options);
        sum->elsewhere += f.caught;
        if (f.caught && first != NULL) {
            print_message("%s: not caught by %s\n", kernel, first->place);
        }
    }
    return f;
}

/* The kernels of one plugin. */
static void catch_all(void **state, const char *plugin, const char *some, tally *sum)
{
    adamoe_registry *registry = load(ADAMOE_WRONG_DIR, plugin);
    for (size_t i = built_in_count(); i < adamoe_registry_count(registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        const finding f = catch_one(state, plugin, kernel->name, some, sum);
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
    fprintf(file, "| tier | wrong kernels, caught there |\n|---|---|\n");
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

/* The captures as read_known_cases reads them. */
static void write_known_cases(const tally *sum, const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < sum->caught + sum->expected_not; ++i) {
        if (sum->capture[i].place[0] != '\0') {
            fprintf(file, "wrong-%s %s %s\n", sum->capture[i].name, sum->capture[i].tier,
                    sum->capture[i].place);
        }
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

/* The tier that caught.txt says, or "not yet": what the README's table has to say too. A kernel whose bug is a race may
 * have been caught elsewhere this time. */
static const char *known_tier(const capture *c)
{
    char kernel[80];
    (void)snprintf(kernel, sizeof kernel, "wrong-%.63s", c->name);
    const known_case *first = known(kernel);
    return first == NULL ? c->tier : first->tier;
}

/* The README names every kernel, in the row of its tier, and none twice. */
static void expect_in_readme(const tally *sum)
{
    static const char head[] = "| tier | wrong kernels, caught there |";
    size_t size, wrong = 0;
    char *readme = read_bytes(SOURCE_PATH("tests/wrong/README.md"), &size);
    char *table = strstr(readme, head);
    assert_non_null(table);
    char *end = strstr(table, "\n\n");
    assert_non_null(end);
    *end = '\0';
    for (size_t i = 0; i < sum->caught + sum->expected_not; ++i) {
        const capture *c = &sum->capture[i];
        char row_begins[32], row[16384] = "";
        (void)snprintf(row_begins, sizeof row_begins, "\n| %s (", known_tier(c));
        const char *at = strstr(table, row_begins);
        if (at != NULL) {
            (void)snprintf(row, sizeof row, "%.*s", (int)strcspn(at + 1, "\n"), at + 1);
        }
        if (count_in_table(table, c->name) != 1 || count_in_table(row, c->name) != 1) {
            print_message("%s: not once, in the row %s, of the table of tests/wrong/README.md\n", c->name,
                          known_tier(c));
            ++wrong;
        }
    }
    free(readme);
    if (wrong > 0) {
        fail_msg("tests/wrong/README.md needs the table of %s/table.md", ADAMOE_WRONG_DIR);
    }
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
    print_message(
        "%zu of %zu wrong kernels caught, %zu of them not by the case of caught.txt; %zu are expected not to "
        "be caught yet\n",
        sum.caught, sum.kernels, sum.elsewhere, sum.expected_not);
    assert_true(sum.kernels > 0);
    assert_int_equal(sum.surprises, 0);
    if (plugins_named == 0) {
        assert_int_equal(sum.expected_not, NOT_CAUGHT_YET); /* none of the list is gone unnoticed */
        assert_true(sum.caught >= 116);
        write_table(&sum, ADAMOE_WRONG_DIR "/table.md");
        write_known_cases(&sum, ADAMOE_WRONG_DIR "/caught.txt");
        expect_in_readme(&sum);
    }
}

/* A plugin for another version is refused as a whole, before anything of it runs. */
static void another_version_is_refused(void **state)
{
    const finding f = check(state, ADAMOE_WRONG_DIR, "abi", "wrong-abi", "");
    assert_int_equal(f.code, ADAMOE_BAD_INPUT);
    assert_false(f.caught);
    assert_int_equal(f.passed, 0);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(wrong_kernels_are_caught, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(another_version_is_refused, make_folder, remove_folder),
    };
    const struct CMUnitTest some[] = {
        cmocka_unit_test_setup_teardown(wrong_kernels_are_caught, make_folder, remove_folder),
    };
    whole = count > 1 && strcmp(arguments[1], "--whole") == 0;
    plugins_named = count - 1 - whole;
    plugin_names = arguments + 1 + whole;
    read_known_cases();
    return plugins_named == 0 && !whole ? cmocka_run_group_tests(tests, NULL, NULL)
                                        : cmocka_run_group_tests(some, NULL, NULL);
}
