/*
 * Honest kernels are not accused: those that the wrong ones of tests/wrong/ are made of pass `adamoe check`, and serve
 * every verb that computes. Other data for each seed is false_alarms.c's.
 */
#include "honest/finding.h"

/* The kernels of a plugin of this folder, or one of them. */
static void pass_all(void **state, const char *plugin, const char *kernel, const char *some, size_t least)
{
    adamoe_registry *registry = load(ADAMOE_HONEST_DIR, plugin);
    for (size_t i = built_in_count(); i < adamoe_registry_count(registry); ++i) {
        const char *name = adamoe_registry_at(registry, i)->name;
        if (kernel != NULL && strcmp(kernel, name) != 0) {
            continue;
        }
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
    pass_all(state, "kernels", "honest-f32", "", 1000);
    pass_all(state, "kernels", "honest-bf16", "--tier exact --tier bound --case /experts/", 500);
    pass_all(state, "kernels", "honest-int8", "--tier exact --tier bound --case /experts/", 500);
    pass_all(state, "twins", NULL, "--case /d:33/ff:17/", 10);
    pass_all(state, "twins", "honest-keys-kept", "--case /attention/", 50);
    pass_all(state, "twins", "honest-keys-kept", "--case /route/", 100);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(honest_kernels_pass, make_folder, remove_folder),
        cmocka_unit_test(a_plugin_serves_every_verb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
