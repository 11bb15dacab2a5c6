/*
 * What teaches a user: help texts, man page and completion agree with the program, and the examples of the help
 * texts work. Verbs and options are collected from the program, so that a new one cannot be forgotten. Left out:
 * READMEs, which readme_test.c runs.
 */
#include "options.h"

#define MOST_VERBS 32

/* Every verb, from `adamoe --help`. */
typedef struct verbs {
    char name[MOST_VERBS][24];
    size_t count;
} verbs;

static verbs find_verbs(void)
{
    verbs found = {.count = 0};
    const outcome *help =
        run(ADAMOE " --help | sed -n '/^Examples/q; s/^  \\([a-z][a-z]*\\)  *[^ ].*/\\1/p'");
    const char *line = help->text;
    for (size_t length; (length = strcspn(line, "\n")) > 0; line += length + 1) {
        assert_in_range(length, 1, sizeof *found.name - 1);
        assert_true(found.count < MOST_VERBS);
        (void)snprintf(found.name[found.count++], sizeof *found.name, "%.*s", (int)length, line);
    }
    assert_true(found.count >= 10);
    return found;
}

/* ----------------------------------------------------------------------------------------------- man page */

typedef struct expectation {
    const char *where, *text; /* the text that must have every option, and its name */
    const char *verb;
    size_t seen;
} expectation;

static void expect_in_manual(const char *option, void *context)
{
    expectation *e = context;
    char escaped[128];
    size_t length = 0;
    for (const char *c = option; *c != '\0'; ++c) {
        length +=
            (size_t)snprintf(escaped + length, sizeof escaped - length, "%s%c", *c == '-' ? "\\" : "", *c);
    }
    ++e->seen;
    if (!has_word(e->text, escaped)) {
        fail_msg("%s does not tell of `%s %s'", e->where, e->verb, option);
    }
}

/* The part of the man page about a verb; to be freed. */
static char *chapter_of(const char *manual, const char *verb)
{
    char head[64] = ".SH \"ADAMOE ";
    size_t length = strlen(head);
    for (const char *c = verb; *c != '\0'; ++c) {
        head[length++] = (char)toupper((unsigned char)*c);
    }
    (void)snprintf(head + length, sizeof head - length, "\"\n");
    const char *begin = strstr(manual, head);
    if (begin == NULL) {
        fail_msg("the man page has no chapter on %s", verb);
        return NULL;
    }
    const char *end = strstr(begin + 1, "\n.SH ");
    return end == NULL ? strdup(begin) : strndup(begin, (size_t)(end - begin));
}

static void the_manual_tells_every_option(void **state)
{
    (void)state;
    size_t size;
    const verbs all = find_verbs();
    char *manual = read_bytes(ADAMOE_MANUAL, &size);
    for (size_t i = 0; i < all.count; ++i) {
        char *usage = usage_of(all.name[i]), *chapter = chapter_of(manual, all.name[i]);
        expectation e = {"the man page", chapter, all.name[i], 0};
        each_option(usage, expect_in_manual, &e);
        assert_true(e.seen >= 2); /* --help and --usage at the least */
        assert_non_null(strstr(chapter, ".EX\n"));
        free(chapter);
        free(usage);
    }
    free(manual);
}

static void the_manual_is_good_troff(void **state)
{
    (void)state;
    if (run("command -v groff")->code != 0) {
        print_message("skipped: no groff\n");
        skip();
    }
    const outcome *got = run("groff -man -ww -Tutf8 '%s' 2>&1 > /dev/null", ADAMOE_MANUAL);
    assert_int_equal(got->code, 0);
    assert_string_equal(got->text, "");
}

/* --------------------------------------------------------------------------------------------- completion */

/* What the shell offers for a line whose last word is `word`: a line for each. */
static const outcome *complete(const char *words, const char *word)
{
    return run(
        "bash -c 'source \"%s\"; COMP_WORDS=(\"%s\" %s \"%s\"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _adamoe; "
        "printf \"%%s\\n\" \"${COMPREPLY[@]}\"'",
        SOURCE_PATH("bench/completion/adamoe.bash"), ADAMOE_PROGRAM, words, word);
}

static void expect_offered(const char *option, void *context)
{
    expectation *e = context;
    ++e->seen;
    if (!has_word(e->text, option)) {
        fail_msg("completion does not offer `%s %s': %s", e->verb, option, e->text);
    }
}

static void need_bash(void)
{
    if (run("command -v bash")->code != 0) {
        print_message("skipped: no bash\n");
        skip();
    }
}

static void every_option_is_completed(void **state)
{
    (void)state;
    need_bash();
    const verbs all = find_verbs();
    for (size_t i = 0; i < all.count; ++i) {
        char *usage = usage_of(all.name[i]);
        expectation e = {"completion", complete(all.name[i], "--")->text, all.name[i], 0};
        each_option(usage, expect_offered, &e);
        assert_true(e.seen >= 2);
        free(usage);
    }
}

static void verbs_and_values_are_completed(void **state)
{
    (void)state;
    need_bash();
    const verbs all = find_verbs();
    char *offered = strdup(complete("", "")->text);
    for (size_t i = 0; i < all.count; ++i) {
        assert_true(has_word(offered, all.name[i]));
    }
    free(offered);
    assert_string_equal(complete("", "fl")->text, "flops\n");
    assert_string_equal(complete("layer --norm", "")->text, "true\nall\nnone\nevery\n");
    assert_string_equal(complete("layer --norm =", "n")->text, "none\n");
    assert_string_equal(complete("layer --null-kind", "=")->text, "zero\nidentity\n");
    assert_string_equal(complete("bench --preset", "mix")->text, "mixtral-8x7b\n");
    assert_string_equal(complete("bench --kernel", "ref")->text, "reference\n");
    assert_string_equal(complete("check --tier", "ro")->text, "routing\n");
    assert_string_equal(complete("bench --routing", "s")->text, "skewed\n");
    assert_string_equal(complete("gate --preset", "ga")->text, "gate\n");
    assert_string_equal(complete("routers --routers", "remo")->text, "remoe\n");
    assert_string_equal(complete("eval --task", "pi")->text, "piqa\n");
    assert_string_equal(complete("eval --rank-experts", "t")->text, "turn\ntogether\n");
    assert_string_equal(complete("train --dtype", "f")->text, "f32\n");
    assert_string_equal(complete("bench --json", "x")->text, "\n"); /* a file: the shell's own business */
}

/* ----------------------------------------------------------------------------------------------- examples */

/* The indented lines below "Example" in a help text. */
static void example_of(const char *help, char *script, size_t size)
{
    const char *line = strstr(help, "\nExample");
    size_t used = 0;
    script[0] = '\0';
    for (line = line == NULL ? "" : strchr(line + 1, '\n') + 1; line[0] == ' ' && line[1] == ' ';
         line = strchr(line, '\n') + 1) {
        const size_t length = strcspn(line, "\n");
        assert_in_range(length, 3, 100);
        assert_in_range(used + length + 2, 0, size);
        used += (size_t)snprintf(script + used, size - used, "%.*s\n", (int)length, line);
    }
}

/* Verbs whose examples are not run here, and why. */
static const struct {
    const char *verb, *reason;
} not_run[] = {
    {"check", "takes longer than a test may; check_test and program_test run it"},
    {"bench", "takes longer than a test may; bench_layer_test and results_test run it"},
    {"gate", "needs another build to be compared with"},
    {"reproduce", "takes longer than a test may; reproduce_test runs it"},
};

static const char *reason_not_to_run(const char *verb)
{
    for (size_t i = 0; i < sizeof not_run / sizeof *not_run; ++i) {
        if (strcmp(not_run[i].verb, verb) == 0) {
            return not_run[i].reason;
        }
    }
    return NULL;
}

/* A folder like the top of the source tree, with the program on the path. */
static void make_workplace(const char *folder)
{
    const outcome *made = run("cd '%s' && for f in datasets tests reference; do ln -s '%s'/$f; done && "
                              "mkdir -p build/release/bin && ln -s '%s' build/release/bin/adamoe && "
                              "ln -s '%s' adamoe",
                              folder, SOURCE_PATH("."), ADAMOE_PROGRAM, ADAMOE_PROGRAM);
    assert_int_equal(made->code, 0);
}

static void examples_of_help_work(void **state)
{
    const char *folder = *state;
    const verbs all = find_verbs();
    make_workplace(folder);
    for (size_t i = 0; i < all.count; ++i) {
        char arguments[64], script[2048];
        (void)snprintf(arguments, sizeof arguments, "%s --help", all.name[i]);
        char *help = text_of(arguments);
        example_of(help, script, sizeof script);
        free(help);
        if (script[0] == '\0') {
            fail_msg("`adamoe %s --help' has no example", all.name[i]);
        }
        if (reason_not_to_run(all.name[i]) != NULL) {
            print_message("not run: the example of %s %s\n", all.name[i], reason_not_to_run(all.name[i]));
            continue;
        }
        const outcome *got = run("cd '%s' && export PATH=\"$PWD:$PATH\" BENCHMARK_MIN_TIME=0.01 && "
                                 "( set -e\n%s) > out.txt 2>&1; code=$?; tail -c 2000 out.txt; exit $code",
                                 folder, script);
        if (got->code != 0) {
            fail_msg("the example of %s: exit code %d: %s", all.name[i], got->code, got->text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_manual_tells_every_option),
        cmocka_unit_test(the_manual_is_good_troff),
        cmocka_unit_test(every_option_is_completed),
        cmocka_unit_test(verbs_and_values_are_completed),
        cmocka_unit_test_setup_teardown(examples_of_help_work, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
