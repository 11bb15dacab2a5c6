/*
 * What `cmake --install` gives: a plugin is built outside the tree with nothing but that, once through
 * pkg-config and once through find_package; the installed program checks it, from a prefix that was moved,
 * and finds its own data from any folder.
 */
#include "program.h"

#define BUILD ADAMOE_BINARY_DIR

/* The prefix is moved after the installation: nothing may remember where it was. */
static int install(void **state)
{
    if (make_folder(state) != 0) {
        return -1;
    }
    const char *folder = *state;
    const outcome *got = run("cmake --install '" BUILD "' --prefix '%s/before' && mv '%s/before' '%s/prefix'",
                             folder, folder, folder);
    if (got->code != 0) {
        print_message("%s\n", got->text);
    }
    return got->code == 0 ? 0 : -1;
}

#define SKIP_WITHOUT_COMMAND(command)                                                                        \
    do {                                                                                                     \
        if (run("command -v " command)->code != 0) {                                                         \
            print_message("skipped: there is no " command "\n");                                             \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

static void check_plugin(const char *folder, const char *plugin)
{
    const outcome *got = run("cd / && '%s/prefix/bin/adamoe' check --plugin '%s/%s' --kernel example "
                             "--case ff:33/n:8/m:8/k:3",
                             folder, folder, plugin);
    expect(got, 0, " 0 failed");
    expect(got, 0, "example");
}

static void plugin_through_pkg_config(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_COMMAND("cc");
    SKIP_WITHOUT_COMMAND("pkg-config");
    const outcome *got =
        run("cd '%s' && cp prefix/share/doc/adamoe/examples/example.c . && "
            "export PKG_CONFIG_PATH=$(dirname \"$(find \"$PWD/prefix\" -name adamoe.pc)\") && "
            "cc -std=c17 -Wall -Wextra -Wpedantic -Werror -O2 -shared -fPIC $(pkg-config --cflags adamoe) "
            "example.c -o example.so -lm",
            folder);
    expect(got, 0, "");
    check_plugin(folder, "example.so");
}

/* The example plugin, and a program that links the installed reference. */
static const char project_file[] = "cmake_minimum_required(VERSION 3.25)\n"
                                   "project(outside LANGUAGES C)\n"
                                   "find_package(adamoe 0.1 REQUIRED)\n"
                                   "add_library(example MODULE example.c)\n"
                                   "set_target_properties(example PROPERTIES PREFIX \"\")\n"
                                   "target_link_libraries(example PRIVATE adamoe::plugin m)\n"
                                   "add_executable(silu silu.c)\n"
                                   "target_link_libraries(silu PRIVATE adamoe::reference)\n";
static const char silu_file[] = "#include \"layer.h\"\n"
                                "int main(void)\n"
                                "{\n"
                                "    return adamoe_silu(0.0) == 0.0 && adamoe_silu(40.0) > 39.9 ? 0 : 1;\n"
                                "}\n";

static void plugin_through_find_package(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_COMMAND("cc");
    assert_int_equal(run("mkdir '%s/outside'", folder)->code, 0);
    write_text(in_folder(state, "outside/CMakeLists.txt").text, project_file);
    write_text(in_folder(state, "outside/silu.c").text, silu_file);
    const outcome *got = run("cd '%s/outside' && cp ../prefix/share/doc/adamoe/examples/example.c . && "
                             "cmake -S . -B build -DCMAKE_PREFIX_PATH=\"$PWD/../prefix\" && "
                             "cmake --build build --target example",
                             folder);
    expect(got, 0, "");
    check_plugin(folder, "outside/build/example.so");
    if (ADAMOE_SANITIZED) {
        print_message("skipped: the library needs the sanitizers of its build\n");
        return;
    }
    expect(run("cd '%s/outside' && cmake --build build && build/silu", folder), 0, "");
}

static void another_version_is_refused(void **state)
{
    const char *folder = *state;
    assert_int_equal(run("mkdir '%s/newer'", folder)->code, 0);
    write_text(in_folder(state, "newer/CMakeLists.txt").text, "cmake_minimum_required(VERSION 3.25)\n"
                                                              "project(newer LANGUAGES NONE)\n"
                                                              "find_package(adamoe 99 REQUIRED)\n");
    expect(run("cd '%s/newer' && cmake -S . -B build -DCMAKE_PREFIX_PATH=\"$PWD/../prefix\"", folder), 1,
           "99");
}

/* Only what is opened before the work: a result file in a folder that is not there comes after the data. */
static void the_program_finds_its_data(void **state)
{
    const char *folder = *state;
    expect(run("cd / && '%s/prefix/bin/adamoe' reproduce --json /no/such/file", folder), 4, "/no/such/file");
    expect(run("cd / && mv '%s/prefix/share/adamoe' '%s/aside' && '%s/prefix/bin/adamoe' reproduce --json "
               "/no/such/file",
               folder, folder, folder),
           2, "datasets/tiny-adamoe: neither here nor installed with the program");
    assert_int_equal(run("mv '%s/aside' '%s/prefix/share/adamoe'", folder, folder)->code, 0);
}

/* No path of the build is left in what others read. */
static void nothing_names_the_build(void **state)
{
    const char *folder = *state;
    const outcome *got = run("grep -rIlF -e '" BUILD "' -e '" ADAMOE_SOURCE_DIR "/' '%s/prefix'", folder);
    expect(got, 1, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plugin_through_pkg_config),  cmocka_unit_test(plugin_through_find_package),
        cmocka_unit_test(another_version_is_refused), cmocka_unit_test(the_program_finds_its_data),
        cmocka_unit_test(nothing_names_the_build),
    };
    return cmocka_run_group_tests(tests, install, remove_folder);
}
