/*
 * The house stands as it is planned (tests/layers.h): every include names its folder, resolves to one file and
 * follows an arrow of the plan; no units go round in a circle, by includes or by calls; no folder grows too large.
 *
 * A unit is a .c with its header; a header without a .c belongs to none. Calls are what `nm` tells of the objects of
 * this build: who leaves a name undefined needs the unit that defines it, functions and data alike. Left out: calls
 * through pointers, and objects whose source is gone, which a build folder keeps. A test may name a file beside it
 * without its folder: some of them are built against the public header alone.
 */
#include "test.h"
#include "circles.h"
#include "layers.h"

#include <ftw.h>

#define MOST_FILES    2048
#define MOST_FOLDERS  128
#define MOST_INCLUDES 8192
#define MOST_SYMBOLS  8192
/* Source files of one folder, headers among them. */
#define MOST_IN_FOLDER 30

static const char *const tops[] = {"reference", "kernels", "datasets", "bench", "tests"};

#define TOPS (sizeof tops / sizeof *tops)

/* Made by the build (bench/program/CMakeLists.txt), not part of the tree. */
static const char *const generated[] = {"program/commit.h"};

/* Paths are relative to the source tree: "kernels/machine/team.c". */
static path_name files[MOST_FILES], folders[MOST_FOLDERS];
static size_t file_count, folder_count;

/* ------------------------------------------------------------------------------------- files of the tree */

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static path_name folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return path_of("%.*s", slash == NULL ? 0 : (int)(slash - path), path);
}

static bool is_file(const char *path)
{
    return find(files, file_count, path) < file_count;
}

static int keep_source(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    (void)facts;
    (void)walk;
    if (kind == FTW_F && (ends_with(path, ".c") || ends_with(path, ".h") || ends_with(path, ".cc"))) {
        assert_true(file_count < MOST_FILES && folder_count < MOST_FOLDERS);
        files[file_count] = path_of("%s", path + strlen(ADAMOE_SOURCE_DIR) + 1);
        const path_name folder = folder_of(files[file_count++].text);
        if (find(folders, folder_count, folder.text) == folder_count) {
            folders[folder_count++] = folder;
        }
    }
    return 0;
}

static int list_sources(void **state)
{
    (void)state;
    for (size_t i = 0; i < TOPS; ++i) {
        const path_name top = path_of("%s/%s", ADAMOE_SOURCE_DIR, tops[i]);
        if (nftw(top.text, keep_source, 16, FTW_PHYS) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Of the tests, which mirror the house and are not part of it. */
static bool is_test(const char *path)
{
    return strncmp(path, "tests", 5) == 0;
}

/* ---------------------------------------------------------------------------------------------- the plan */

static size_t layer_of(const char *folder)
{
    size_t i = 0;
    while (i < LAYERS && strcmp(house[i].folder, folder) != 0) {
        ++i;
    }
    return i;
}

/* The next folder of a list as in layer.uses; false at its end. */
static bool next_use(const char **uses, path_name *out)
{
    *uses += strspn(*uses, " ");
    const size_t length = strcspn(*uses, " ");
    *out = path_of("%.*s", (int)length, *uses);
    *uses += length;
    return length > 0;
}

/* "kernels/" names kernels and all within. */
static bool names(const char *use, const char *folder)
{
    const size_t length = strlen(use);
    if (length > 0 && use[length - 1] == '/') {
        return strncmp(use, folder, length) == 0 ||
               (strlen(folder) == length - 1 && strncmp(use, folder, length - 1) == 0);
    }
    return strcmp(use, folder) == 0;
}

static bool may_use(const char *folder, const char *used)
{
    const size_t at = layer_of(folder);
    path_name use;
    if (at == LAYERS) {
        return false;
    }
    for (const char *uses = house[at].uses; next_use(&uses, &use);) {
        if (names(use.text, used)) {
            return true;
        }
    }
    return false;
}

/* What a row may use comes before it: then no arrow points upward and none goes round. */
static void the_plan_points_down(void **state)
{
    (void)state;
    failures = 0;
    for (size_t i = 0; i < LAYERS; ++i) {
        path_name use;
        if (find(folders, folder_count, house[i].folder) == folder_count) {
            complain("tests/layers.h: %s: no such folder", house[i].folder);
        }
        if (layer_of(house[i].folder) != i) {
            complain("tests/layers.h: %s stands there twice", house[i].folder);
        }
        for (const char *uses = house[i].uses; next_use(&uses, &use);) {
            size_t known = 0;
            for (size_t j = 0; j < LAYERS; ++j) {
                const bool named = j != i && names(use.text, house[j].folder);
                known += named;
                if (named && j > i) {
                    complain("tests/layers.h: %s -> %s points upward", house[i].folder, house[j].folder);
                }
            }
            if (known == 0) {
                complain("tests/layers.h: %s -> %s: no such folder", house[i].folder, use.text);
            }
        }
    }
    for (size_t i = 0; i < folder_count; ++i) {
        if (layer_of(folders[i].text) == LAYERS) {
            complain("%s: the plan in tests/layers.h does not have this folder", folders[i].text);
        }
    }
    assert_int_equal(failures, 0);
}

/* -------------------------------------------------------------------------------------------- the graph */

/* The unit of a file; false where it is a header without a .c. */
static bool unit_of(const char *path, path_name *out)
{
    const char *dot = strrchr(path, '.');
    *out = path_of("%.*s", (int)(dot - path), path);
    return is_file(path_of("%s.c", out->text).text) || is_file(path_of("%s.cc", out->text).text);
}

static void a_made_up_circle_is_found(void **state)
{
    (void)state;
    const path_name a = {"a"}, b = {"b"}, c = {"c"}, d = {"d"};
    clear_graph();
    add_arrow(&a, &b, "");
    add_arrow(&b, &c, "");
    add_arrow(&a, &c, "");
    add_arrow(&d, &a, "");
    add_arrow(&d, &d, "");
    assert_int_equal(count_circles("nothing"), 0);
    add_arrow(&c, &a, "");
    print_message("the next circle is one of the test's own\n");
    assert_int_equal(count_circles("the test"), 1);
}

/* -------------------------------------------------------------------------------------------- includes */

static size_t include_count, upward, arrow_count;
static path_name places[MOST_INCLUDES]; /* "kernels/machine/team.c:7" */
/* Arrows of the plan that includes follow: house[i] uses folders[j]. */
static bool followed[LAYERS][MOST_FOLDERS];

/* The file that an include means, or false with a complaint. The compiler looks beside the including file first,
 * then below the top folders in an order that is the target's: only one of these may hold such a file. */
static bool resolve(const char *file, size_t line, const char *named, path_name *out)
{
    const path_name own = folder_of(file), beside = path_of("%s/%s", own.text, named);
    path_name found = {""};
    size_t hits = 0;
    for (size_t i = 0; i < sizeof generated / sizeof *generated; ++i) {
        if (strcmp(named, generated[i]) == 0) {
            return false;
        }
    }
    for (size_t i = 0; i < TOPS; ++i) {
        const path_name path = path_of("%s/%s", tops[i], named);
        if (is_file(path.text)) {
            found = path;
            ++hits;
        }
    }
    if (is_file(beside.text) && strcmp(beside.text, found.text) != 0) {
        if (hits == 0 && !is_test(file)) {
            complain("%s:%zu: \"%s\" does not name its folder", file, line, named);
            return false;
        }
        found = beside;
        ++hits;
    }
    if (hits == 0) {
        complain("%s:%zu: \"%s\" is no file of the tree", file, line, named);
    } else if (hits > 1) {
        complain("%s:%zu: \"%s\" may mean several files, %s among them", file, line, named, found.text);
    }
    *out = found;
    return hits == 1;
}

static void take_include(const char *file, size_t line, const char *named)
{
    path_name target, from, to;
    if (!resolve(file, line, named, &target)) {
        return;
    }
    ++include_count;
    const path_name own = folder_of(file), used = folder_of(target.text);
    if (strcmp(own.text, used.text) != 0) {
        const size_t at = layer_of(own.text);
        if (!may_use(own.text, used.text)) {
            const bool up = at < layer_of(used.text);
            upward += up;
            complain("%s:%zu: \"%s\": %s may not use %s%s", file, line, named, own.text, used.text,
                     up ? ": it points upward" : "");
        } else {
            bool *arrow = &followed[at][find(folders, folder_count, used.text)];
            arrow_count += !*arrow;
            *arrow = true;
        }
    }
    if (!is_test(file) && unit_of(file, &from) && unit_of(target.text, &to)) {
        assert_true(include_count <= MOST_INCLUDES);
        places[include_count - 1] = path_of("%s:%zu", file, line);
        add_arrow(&from, &to, places[include_count - 1].text);
    }
}

static void read_includes(const char *file)
{
    char line[1024], named[256], quote;
    FILE *stream = fopen(path_of("%s/%s", ADAMOE_SOURCE_DIR, file).text, "r");
    assert_non_null(stream);
    for (size_t number = 1; fgets(line, sizeof line, stream) != NULL; ++number) {
        if (sscanf(line, " # include %c%255[^\">]", &quote, named) == 2 && quote == '"') {
            take_include(file, number, named);
        }
    }
    (void)fclose(stream);
}

/* An arrow without an include says what is not so. Names with / stand for many, and are left. */
static void check_unused_arrows(void)
{
    for (size_t i = 0; i < LAYERS; ++i) {
        path_name use;
        for (const char *uses = house[i].uses; next_use(&uses, &use);) {
            const size_t at = find(folders, folder_count, use.text);
            if (at < folder_count && !is_test(house[i].folder) && !followed[i][at]) {
                complain("tests/layers.h: %s -> %s: no include needs it", house[i].folder, use.text);
            }
        }
    }
}

static void includes_follow_the_plan(void **state)
{
    (void)state;
    failures = include_count = upward = arrow_count = 0;
    clear_graph();
    for (size_t i = 0; i < file_count; ++i) {
        read_includes(files[i].text);
    }
    check_unused_arrows();
    const size_t circles = count_circles("includes");
    print_message(
        "%zu circles, %zu includes that point upward; %zu files, %zu folders, %zu includes, %zu arrows "
        "between folders\n",
        circles, upward, file_count, folder_count, include_count, arrow_count);
    assert_true(include_count > 0);
    assert_int_equal(failures, 0);
}

/* ------------------------------------------------------------------------------------------------ calls */

typedef struct symbol {
    char name[128];
    size_t unit;
} symbol;

static symbol defined[MOST_SYMBOLS], wanted[MOST_SYMBOLS * 4];
static size_t defined_count, wanted_count;

/* "BUILD/bench/report/CMakeFiles/adamoe_report.dir/page.c.o" is of the unit bench/report/page. */
static bool unit_of_object(const char *object, path_name *out)
{
    const char *begin = object + strlen(ADAMOE_BUILD_DIR) + 1;
    const char *middle = strstr(begin, "/CMakeFiles/"),
               *name = middle == NULL ? NULL : strstr(middle, ".dir/");
    if (name == NULL || !ends_with(object, ".o")) {
        return false;
    }
    name += strlen(".dir/");
    const path_name source =
        path_of("%.*s/%.*s", (int)(middle - begin), begin, (int)(strlen(name) - 2), name);
    return is_file(source.text) && unit_of(source.text, out);
}

static void take_symbol(const char *line)
{
    char object[512], name[128], type;
    path_name unit;
    if (sscanf(line, "%511[^:]: %127s %c", object, name, &type) != 3 || !unit_of_object(object, &unit)) {
        return;
    }
    const size_t at = add_unit(unit.text);
    if (type == 'U') {
        assert_true(wanted_count < sizeof wanted / sizeof *wanted);
        symbol *s = &wanted[wanted_count++];
        (void)snprintf(s->name, sizeof s->name, "%s", name);
        s->unit = at;
    } else if (strchr("TDBRC", type) != NULL) {
        assert_true(defined_count < MOST_SYMBOLS);
        symbol *s = &defined[defined_count++];
        (void)snprintf(s->name, sizeof s->name, "%s", name);
        s->unit = at;
    }
}

static int by_name(const void *left, const void *right)
{
    const symbol *a = left, *b = right;
    return strcmp(a->name, b->name);
}

static void read_objects(void)
{
    char line[1024];
    FILE *nm =
        popen("cd '" ADAMOE_BUILD_DIR "' && find \"$PWD/reference\" \"$PWD/kernels\" \"$PWD/datasets\" "
              "\"$PWD/bench\" -name '*.o' -print0 | xargs -0 nm -A -P -g",
              "r");
    assert_non_null(nm);
    defined_count = wanted_count = 0;
    while (fgets(line, sizeof line, nm) != NULL) {
        take_symbol(line);
    }
    assert_int_equal(pclose(nm), 0);
    qsort(defined, defined_count, sizeof *defined, by_name);
}

static void calls_go_round_nowhere(void **state)
{
    (void)state;
    size_t calls = 0;
    if (system("command -v nm >/dev/null 2>&1") != 0) {
        print_message("skipped: nm (binutils) is absent\n");
        skip();
    }
    failures = 0;
    clear_graph();
    read_objects();
    for (size_t i = 0; i < wanted_count; ++i) {
        const symbol *s = bsearch(&wanted[i], defined, defined_count, sizeof *defined, by_name);
        if (s != NULL) {
            add_arrow(&units[wanted[i].unit], &units[s->unit], s->name);
            ++calls;
        }
    }
    const size_t circles = count_circles("calls");
    print_message("%zu circles by calls; %zu units, %zu names that one unit takes from another\n", circles,
                  unit_count, calls);
    assert_true(unit_count > 100 && calls > unit_count);
    assert_int_equal(failures, 0);
}

/* ---------------------------------------------------------------------------------------------- folders */

static void no_folder_is_too_large(void **state)
{
    (void)state;
    failures = 0;
    for (size_t i = 0; i < folder_count; ++i) {
        size_t count = 0;
        for (size_t j = 0; j < file_count; ++j) {
            count += strcmp(folder_of(files[j].text).text, folders[i].text) == 0;
        }
        if (!is_test(folders[i].text) && count > MOST_IN_FOLDER) {
            complain("%s: %zu source files; at most %d", folders[i].text, count, MOST_IN_FOLDER);
        }
    }
    assert_int_equal(failures, 0);
}

/* Tests of bench/timing stand in tests/bench/timing. */
static void the_tests_mirror_the_house(void **state)
{
    (void)state;
    failures = 0;
    for (size_t i = 0; i < folder_count; ++i) {
        for (size_t j = 0; j < TOPS; ++j) {
            const path_name mirrored = path_of("tests/%s", tops[j]);
            const size_t length = strlen(mirrored.text);
            if (strncmp(folders[i].text, mirrored.text, length) == 0 &&
                (folders[i].text[length] == '\0' || folders[i].text[length] == '/') &&
                find(folders, folder_count, folders[i].text + strlen("tests/")) == folder_count) {
                complain("%s: there is no folder %s", folders[i].text, folders[i].text + strlen("tests/"));
            }
        }
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_points_down),     cmocka_unit_test(a_made_up_circle_is_found),
        cmocka_unit_test(includes_follow_the_plan), cmocka_unit_test(calls_go_round_nowhere),
        cmocka_unit_test(no_folder_is_too_large),   cmocka_unit_test(the_tests_mirror_the_house),
    };
    return cmocka_run_group_tests(tests, list_sources, NULL);
}
