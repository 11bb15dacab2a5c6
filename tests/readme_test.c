/*
 * The commands of one README, `readme_test FOLDER`. Blocks of shell commands behind <!-- run --> are run, one after
 * the other in one shell, in a folder that looks like the top of the source tree. A block of text behind
 * <!-- prints --> must be part of what the block before it printed, line by line; `...` stands for anything, and
 * behind <!-- prints, with other numbers --> any number for any other. Of the other blocks, which take too long or
 * need what does not ship, the verbs, options, files and programs must exist. What a block writes, it writes below
 * build/, which git ignores.
 */
#include "options.h"

static char readme_path[1024];

typedef struct block {
    const char *begin, *end;
    bool marked;        /* the mark that was asked for stands before it */
    const char *behind; /* what comes after it */
} block;

/* The next block that begins with ```kind at or after `at`; false where there is none. */
static bool next_block(const char *readme, const char *at, const char *kind, const char *mark, block *out)
{
    char fence[16];
    const int length = snprintf(fence, sizeof fence, "```%s\n", kind);
    const char *found = strstr(at, fence);
    if (found == NULL) {
        return false;
    }
    out->begin = found + length;
    out->end = strstr(out->begin, "\n```");
    assert_non_null(out->end);
    out->behind = out->end + 4;
    const size_t before = (size_t)(found - readme), marked = strlen(mark);
    out->marked = before >= marked && strncmp(found - marked, mark, marked) == 0;
    return true;
}

/* ---------------------------------------------------------------------------------------- what only must exist */

typedef struct expectation {
    const char *command, *options; /* the text that has all of its options */
} expectation;

static void expect_known(const char *option, void *context)
{
    const expectation *e = context;
    if (!has_word(e->options, option)) {
        fail_msg("%s: `%s': there is no option %s", readme_path, e->command, option);
    }
}

/* The program's own name in a command, not part of another word; NULL where there is none. */
static const char *find_call(const char *command)
{
    for (const char *at = command; (at = strstr(at, "adamoe ")) != NULL; ++at) {
        const bool begins = at == command || strchr(" /(", at[-1]) != NULL;
        if (begins && islower((unsigned char)at[7])) {
            return at;
        }
    }
    return NULL;
}

static void check_program(const char *command)
{
    char verb[24];
    const char *call = find_call(command);
    if (call == NULL || sscanf(call, "adamoe %23[a-z]", verb) != 1) {
        return;
    }
    char *usage = usage_of(verb); /* fails where there is no such verb */
    expectation e = {command, usage};
    each_option(call, expect_known, &e);
    free(usage);
}

static bool begins_with(const char *text, const char *begin)
{
    return strncmp(text, begin, strlen(begin)) == 0;
}

/* A word that names a file of the tree or of the build. A Python script must know the command's
 * options. */
static void check_word(const char *command, const char *word)
{
    static const char *const folders[] = {"reference/", "kernels/", "datasets/", "bench/", "tests/", "ci/"};
    char path[1024] = "";
    if (strpbrk(word, "*$") != NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; ++i) {
        if (begins_with(word, folders[i])) {
            (void)snprintf(path, sizeof path, "%s/%s", SOURCE_PATH("."), word);
        }
    }
    if (begins_with(word, "build/release/")) {
        (void)snprintf(path, sizeof path, "%s/%s", ADAMOE_BUILD_DIR, word + strlen("build/release/"));
    }
    if (path[0] == '\0') {
        return;
    }
    if (access(path, F_OK) != 0) {
        fail_msg("%s: `%s': there is no %s", readme_path, command, word);
    }
    const size_t length = strlen(path);
    if (length > 3 && strcmp(path + length - 3, ".py") == 0) {
        size_t size;
        char *script = read_bytes(path, &size);
        expectation e = {command, script};
        each_option(strstr(command, word), expect_known, &e);
        free(script);
    }
}

static void check_command(char *command)
{
    char *comment = strstr(command, " # ");
    if (comment != NULL) {
        *comment = '\0';
    }
    check_program(command);
    char *words = strdup(command), *rest = words;
    assert_non_null(words);
    for (char *word = strsep(&rest, " \t'\"();"); word != NULL; word = strsep(&rest, " \t'\"();")) {
        check_word(command, word);
    }
    free(words);
}

static void check_block(const block *b)
{
    char *text = strndup(b->begin, (size_t)(b->end - b->begin)), *rest = text;
    assert_non_null(text);
    for (char *joint = strstr(text, "\\\n"); joint != NULL; joint = strstr(joint, "\\\n")) {
        joint[0] = joint[1] = ' '; /* a command goes on in the next line */
    }
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        check_command(line);
    }
    free(text);
}

static void what_commands_name_exists(void **state)
{
    (void)state;
    size_t size;
    block b;
    char *readme = read_bytes(readme_path, &size);
    for (const char *at = readme; next_block(readme, at, "sh", "<!-- run -->\n", &b); at = b.behind) {
        check_block(&b);
    }
    free(readme);
}

/* ------------------------------------------------------------------------------------------------ what is run */

/* A folder like the top of the source tree. */
static void make_workplace(const char *folder)
{
    const outcome *made =
        run("cd '%s' && for f in '%s'/*; do [ \"${f##*/}\" = build ] || ln -s \"$f\" .; done && "
            "mkdir build && ln -s '%s' build/release",
            folder, SOURCE_PATH("."), ADAMOE_BUILD_DIR);
    if (made->code != 0) {
        fail_msg("no workplace: %s", made->text);
    }
}

/* All blocks that are to be run as one script, so that what one exports is there for the next; what block i
 * prints goes to a file of that number. Returns how many there are. */
static size_t write_script(const char *readme, const char *path)
{
    size_t count = 0;
    block b;
    FILE *script = fopen(path, "w");
    assert_non_null(script);
    fprintf(script, "set -e\nexport BENCHMARK_MIN_TIME=0.01\n");
    for (const char *at = readme; next_block(readme, at, "sh", "<!-- run -->\n", &b); at = b.behind) {
        if (b.marked) {
            fprintf(script, "exec > .printed-%zu 2>&1\n%.*s\n", count++, (int)(b.end - b.begin), b.begin);
        }
    }
    assert_int_equal(fclose(script), 0);
    return count;
}

/* True where the line matches the pattern, in which `...` stands for anything. */
static bool matches(const char *pattern, const char *line)
{
    const char *gap = strstr(pattern, "...");
    if (gap == NULL) {
        return strcmp(pattern, line) == 0;
    }
    const size_t length = (size_t)(gap - pattern);
    if (strncmp(pattern, line, length) != 0) {
        return false;
    }
    for (const char *rest = line + length;; ++rest) {
        if (matches(gap + 3, rest)) {
            return true;
        }
        if (*rest == '\0') {
            return false;
        }
    }
}

/* Numbers become one sign, and runs of blanks, which depend on how wide a number is, one blank. */
static void forget_numbers(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        if (isdigit((unsigned char)*from)) {
            while (isdigit((unsigned char)from[0]) ||
                   ((from[0] == '.' || from[0] == ',') && isdigit((unsigned char)from[1]))) {
                ++from;
            }
            *to++ = '#';
        } else if (*from == ' ') {
            from += strspn(from, " ");
            *to++ = ' ';
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
}

/* Every line that the README shows stands in what was printed, in the same order; others may stand between. */
static void expect_printed(const block *shown, bool any_number, const char *path)
{
    size_t size;
    char *printed = read_bytes(path, &size), *rest = printed;
    char *text = strndup(shown->begin, (size_t)(shown->end - shown->begin)), *lines = text;
    assert_non_null(text);
    if (any_number) {
        forget_numbers(printed);
        forget_numbers(text);
    }
    for (const char *want = strsep(&lines, "\n"); want != NULL; want = strsep(&lines, "\n")) {
        const char *line = strsep(&rest, "\n");
        while (line != NULL && !matches(want, line)) {
            line = strsep(&rest, "\n");
        }
        if (line == NULL) {
            char *whole = read_bytes(path, &size);
            print_error("%s: no such line was printed, or not here:\n%s\nprinted was:\n%s\n", readme_path,
                        want, whole);
            free(whole);
            fail();
        }
    }
    free(text);
    free(printed);
}

/* How many blocks before `end` were run. */
static size_t run_before(const char *readme, const char *end)
{
    size_t count = 0;
    block b;
    for (const char *at = readme; next_block(readme, at, "sh", "<!-- run -->\n", &b) && b.begin < end;
         at = b.behind) {
        count += b.marked;
    }
    return count;
}

/* Each block of text with this mark belongs to the last block that was run before it. */
static void compare_printed(const char *readme, const char *mark, bool any_number, const char *folder)
{
    block shown;
    for (const char *at = readme; next_block(readme, at, "text", mark, &shown); at = shown.behind) {
        if (shown.marked) {
            char path[1024];
            const size_t number = run_before(readme, shown.begin);
            assert_true(number > 0);
            (void)snprintf(path, sizeof path, "%s/.printed-%zu", folder, number - 1);
            expect_printed(&shown, any_number, path);
        }
    }
}

static void commands_work(void **state)
{
    const char *folder = *state;
    size_t size;
    char *readme = read_bytes(readme_path, &size);
    const folder_path script = in_folder(state, ".script");
    make_workplace(folder);
    const size_t blocks = write_script(readme, script.text);
    if (blocks > 0) {
        const outcome *got = run("cd '%s' && sh .script; code=$?; cat $(ls -t .printed-* | head -n 1) | "
                                 "tail -c 3000; exit $code",
                                 folder);
        if (got->code != 0) {
            print_error("%s: a command failed with exit code %d: %s\n", readme_path, got->code, got->text);
            fail();
        }
        const outcome *left =
            run("cd '%s' && find . -mindepth 1 -maxdepth 1 ! -type l ! -name build ! -name '.*'", folder);
        if (left->code != 0 || left->text[0] != '\0') {
            print_error("%s: a command writes beside build/: %s\n", readme_path, left->text);
            fail();
        }
        compare_printed(readme, "<!-- prints -->\n", false, folder);
        compare_printed(readme, "<!-- prints, with other numbers -->\n", true, folder);
    }
    print_message("%zu blocks were run\n", blocks);
    free(readme);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_commands_name_exists),
        cmocka_unit_test_setup_teardown(commands_work, make_folder, remove_folder),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: readme_test FOLDER\n");
        return 2;
    }
    (void)snprintf(readme_path, sizeof readme_path, "%s/%s/README.md", SOURCE_PATH("."), argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
