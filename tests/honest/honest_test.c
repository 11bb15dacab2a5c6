/*
 * An honest kernel is not accused: the one that most wrong ones of tests/wrong/ are made of passes all of `adamoe check`, and
 * serves every verb that computes. The others are honest_twins_test.c's, other data for each seed false_alarms.c's.
 */
#include "honest/pass_all.h"

/* Of the kernel that has all products, every case. */
static void a_whole_kernel_passes(void **state)
{
    pass_all(state, "kernels", "honest-f32", "", 1000);
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
        cmocka_unit_test_setup_teardown(a_whole_kernel_passes, make_folder, remove_folder),
        cmocka_unit_test(a_plugin_serves_every_verb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
