/*
 * Honest kernels of other types, and honest twins of wrong kernels, are not accused where they differ from the kernel that
 * honest_test.c checks as a whole.
 */
#include "honest/pass_all.h"

static void honest_kernels_pass(void **state)
{
    pass_all(state, "kernels", "honest-bf16", "--tier exact --tier bound --case /experts/", 500);
    pass_all(state, "kernels", "honest-int8", "--tier exact --tier bound --case /experts/", 500);
    pass_all(state, "results", "honest-results", "--tier exact --tier bound --case /experts/", 300);
    pass_all(state, "results", NULL, "--tier exact --tier bound --tier property --case /d:33/", 20);
    pass_all(state, "twins", NULL, "--case /d:33/ff:17/", 10);
    pass_all(state, "twins", "honest-keys-kept", "--case /attention/", 50);
    pass_all(state, "twins", "honest-keys-kept", "--case /route/", 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(honest_kernels_pass, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
