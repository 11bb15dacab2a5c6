/*
 * What is written agrees with what is there: sections that comments cite stand in reference/README.md, and links
 * and file names in READMEs lead to something. Left out: the commands of READMEs, which readme_test.c runs.
 */
#include "temporary_folder.h"

#include <ctype.h>

static const char *const top_folders[] = {"reference", "kernels", "datasets", "bench", "tests", "ci"};

#define TOP_FOLDERS (sizeof top_folders / sizeof *top_folders)

/* Where the definition is, as comments cite it. */
#define DEFINITION "reference/README.md"

static size_t failures, seen;

/* ---------------------------------------------------------------------------------------- files of the tree */

static void (*visit_file)(const char *path);

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static int enter(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    (void)facts;
    (void)walk;
    if (kind == FTW_F) {
        visit_file(path);
    }
    return 0;
}

/* Calls `visit` for every file of the folders above, and for README.md. */
static void each_file(void (*visit)(const char *path))
{
    visit_file = visit;
    failures = seen = 0;
    visit(SOURCE_PATH("README.md"));
    for (size_t i = 0; i < TOP_FOLDERS; ++i) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", SOURCE_PATH("."), top_folders[i]);
        assert_int_equal(nftw(path, enter, 16, FTW_PHYS), 0);
    }
}

static const char *in_tree(const char *path)
{
    return path + strlen(SOURCE_PATH(".")) + 1;
}

__attribute__((format(printf, 2, 3))) static void complain(const char *path, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_error("%s: %s\n", strstr(path, "/./") == NULL ? path : in_tree(path), text);
    ++failures;
}

/* ------------------------------------------------------------------------------------------------- sections */

static char *definition;

/* True where the definition has a heading of that number: "## 2. The layer", "### 2.1 Ties". */
static bool has_section(const char *number, size_t length)
{
    for (const char *at = definition; (at = strstr(at, "\n##")) != NULL; ++at) {
        const char *heading = at + strspn(at, "\n# ");
        const size_t digits = strspn(heading, "0123456789.");
        const size_t size = digits > 0 && heading[digits - 1] == '.' ? digits - 1 : digits;
        if (size == length && heading[digits] == ' ' && strncmp(heading, number, length) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_source(const char *path)
{
    static const char *const kinds[] = {".c", ".h", ".cc", ".py", ".sh", "CMakeLists.txt"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
        if (ends_with(path, kinds[i])) {
            return true;
        }
    }
    return false;
}

/* The text with every run of blanks, and of the stars that begin the lines of a comment, as one blank. */
static void join_lines(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        if (!isspace((unsigned char)*from)) {
            *to++ = *from++;
            continue;
        }
        from += strspn(from, " \t\n");
        if (from[0] == '*' && from[1] == ' ') {
            from += 2;
        }
        *to++ = ' ';
    }
    *to = '\0';
}

/* What other documents' sections are called by. */
static bool is_of_another_document(const char *text, const char *at)
{
    static const char *const names[] = {"the paper's ", "Unicode standard, "};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        const size_t length = strlen(names[i]);
        if ((size_t)(at - text) >= length && strncmp(at - length, names[i], length) == 0) {
            return true;
        }
    }
    return false;
}

/* The numbers behind "section" or "sections": "2.1", "2 and 8". */
static void check_numbers(const char *path, const char *numbers, bool plural)
{
    for (;;) {
        size_t length = strspn(numbers, "0123456789.");
        const char *rest = numbers + length;
        length -= length > 0 && numbers[length - 1] == '.'; /* the end of a sentence */
        if (!has_section(numbers, length)) {
            complain(path, "section %.*s is not in " DEFINITION, (int)length, numbers);
        }
        ++seen;
        const size_t joint = strncmp(rest, " and ", 5) == 0 ? 5 : strncmp(rest, ", ", 2) == 0 ? 2 : 0;
        if (!plural || joint == 0 || !isdigit((unsigned char)rest[joint])) {
            return;
        }
        numbers = rest + joint;
    }
}

/* Whether the definition was named before `at` in the same comment, so that a number alone is one of its. */
static bool was_named(const char *text, const char *at)
{
    for (const char *c = at; c > text; --c) {
        if (strncmp(c, DEFINITION, strlen(DEFINITION)) == 0) {
            return true;
        }
        if (strncmp(c, "/*", 2) == 0) {
            return false;
        }
    }
    return false;
}

static void check_sections(const char *path)
{
    if (!is_source(path)) {
        return;
    }
    size_t size;
    char *text = read_bytes(path, &size);
    join_lines(text);
    for (const char *at = text; (at = strstr(at, "section")) != NULL; ++at) {
        const bool plural = at[7] == 's';
        const char *numbers = at + 7 + plural + 1;
        if (at[7 + plural] != ' ' || !isdigit((unsigned char)*numbers) || is_of_another_document(text, at)) {
            continue;
        }
        if (was_named(text, at)) {
            check_numbers(path, numbers, plural);
        } else {
            complain(path, "of which document is \"%.12s\"? cite \"" DEFINITION " section N\"", at);
        }
    }
    free(text);
}

static void cited_sections_exist(void **state)
{
    (void)state;
    size_t size;
    definition = read_bytes(SOURCE_PATH(DEFINITION), &size);
    each_file(check_sections);
    free(definition);
    print_message("%zu sections are cited\n", seen);
    assert_true(seen >= 40);
    assert_int_equal(failures, 0);
}

/* ---------------------------------------------------------------------------------------------------- links */

static bool is_readme(const char *path)
{
    return ends_with(path, "/README.md");
}

/* The name that Markdown gives to a heading: lower case, blanks as dashes, other signs left out. */
static bool has_anchor(const char *text, const char *anchor)
{
    for (const char *at = text; (at = strstr(at, "\n#")) != NULL; ++at) {
        const char *heading = at + strspn(at, "\n# "), *want = anchor;
        for (; *heading != '\n' && *heading != '\0'; ++heading) {
            const char c = *heading == ' ' ? '-' : (char)tolower((unsigned char)*heading);
            if (!isalnum((unsigned char)c) && c != '-' && c != '_') {
                continue;
            }
            if (*want++ != c) {
                break;
            }
        }
        if ((*heading == '\n' || *heading == '\0') && *want == '\0') {
            return true;
        }
    }
    return false;
}

static void check_link(const char *path, const char *text, const char *link)
{
    char target[1024], file[512];
    const char *mark = strchr(link, '#');
    (void)snprintf(file, sizeof file, "%.*s", mark == NULL ? (int)strlen(link) : (int)(mark - link), link);
    (void)snprintf(target, sizeof target, "%.*s/%s", (int)(strrchr(path, '/') - path), path, file);
    ++seen;
    if (file[0] != '\0' && access(target, F_OK) != 0) {
        complain(path, "the link to %s leads nowhere", link);
    } else if (mark != NULL) {
        size_t size;
        char *other = file[0] == '\0' ? NULL : read_bytes(target, &size);
        if (!has_anchor(other == NULL ? text : other, mark + 1)) {
            complain(path, "the link to %s: there is no such heading", link);
        }
        free(other);
    }
}

static void check_links(const char *path)
{
    if (!is_readme(path)) {
        return;
    }
    size_t size;
    char *text = read_bytes(path, &size);
    for (const char *at = text; (at = strstr(at, "](")) != NULL; ++at) {
        char link[512];
        (void)snprintf(link, sizeof link, "%.*s", (int)strcspn(at + 2, ") \n"), at + 2);
        if (strncmp(link, "https://", 8) != 0) {
            check_link(path, text, link);
        }
    }
    free(text);
}

static void links_of_readmes_lead_somewhere(void **state)
{
    (void)state;
    each_file(check_links);
    print_message("%zu links\n", seen);
    assert_true(seen >= 30);
    assert_int_equal(failures, 0);
}

/* ----------------------------------------------------------------------------------------------- file names */

static bool is_in_top_folder(const char *name)
{
    for (size_t i = 0; i < TOP_FOLDERS; ++i) {
        const size_t length = strlen(top_folders[i]);
        if (strncmp(name, top_folders[i], length) == 0 && name[length] == '/') {
            return true;
        }
    }
    return false;
}

static bool names_a_file(const char *name)
{
    static const char *const kinds[] = {".c", ".h", ".cc", ".py", ".sh", ".cmake", ".bash"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
        if (ends_with(name, kinds[i])) {
            return true;
        }
    }
    return false;
}

/* A word in backticks that names a file: from the top of the tree, or from the folder of the README. */
static void check_name(const char *path, const char *name)
{
    const bool from_top = is_in_top_folder(name);
    if (strpbrk(name, " *{}$<>()=,") != NULL || (!from_top && !names_a_file(name))) {
        return;
    }
    char target[1024];
    (void)snprintf(target, sizeof target, "%s/%s", SOURCE_PATH("."), name);
    ++seen;
    if (from_top && access(target, F_OK) == 0) {
        return;
    }
    (void)snprintf(target, sizeof target, "%.*s/%s", (int)(strrchr(path, '/') - path), path, name);
    if (access(target, F_OK) != 0) {
        complain(path, "there is no file `%s'", name);
    }
}

/* Looks at `words like this`, not at blocks. */
static void check_names(const char *path)
{
    if (!is_readme(path)) {
        return;
    }
    size_t size;
    char *text = read_bytes(path, &size), *rest = text;
    bool block = false;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        block = strncmp(line, "```", 3) == 0 ? !block : block;
        char *word = block || line[0] == '`' ? NULL : line;
        for (bool quoted = false; word != NULL; quoted = !quoted) {
            const char *part = strsep(&word, "`");
            if (quoted) {
                check_name(path, part);
            }
        }
    }
    free(text);
}

static void files_named_in_readmes_exist(void **state)
{
    (void)state;
    each_file(check_names);
    print_message("%zu names of files\n", seen);
    assert_true(seen >= 60);
    assert_int_equal(failures, 0);
}

/* ---------------------------------------------------------------------------------------------------- length */

static void the_first_readme_is_short(void **state)
{
    (void)state;
    size_t size, lines = 0;
    char *text = read_bytes(SOURCE_PATH("README.md"), &size);
    for (size_t i = 0; i < size; ++i) {
        lines += text[i] == '\n';
    }
    free(text);
    assert_in_range(lines, 1, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cited_sections_exist),
        cmocka_unit_test(links_of_readmes_lead_somewhere),
        cmocka_unit_test(files_named_in_readmes_exist),
        cmocka_unit_test(the_first_readme_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
