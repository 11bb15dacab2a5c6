/*
 * adamoe reproduce --full --routers on a toy: every router with its sweeps from the same start, what a setting gives,
 * resumed, and what is refused.
 */
#include "bench/study.h"

/* Every router from the same start, with its sweeps: what a setting gives is what `eval' says of its folder. */
static void routers_from_the_same_start(void **state)
{
    const char *folder = *state;
    expect(run(FULL "-o '%s/routers' --routers --starts 1", folder, folder), 0, "## Wanted load, 1 start");
    json_t *results = load(state, "routers/routers.json");
    const json_t *settings = at(results, "settings");
    assert_int_equal(json_array_size(settings), 30);
    for (size_t i = 0; i < 30; i += 13) {
        const json_t *setting = json_array_get(settings, i);
        char part[64];
        (void)snprintf(part, sizeof part, "acc       %6.2f", 100.0 * json_real_value(at(setting, "acc")));
        expect(run(ADAMOE " eval --threads 1 --model '%s/routers/start-1/%s' --questions '%s/few.jsonl'",
                   folder, json_string_value(at(setting, "setting")), folder),
               0, part);
        assert_true(json_real_value(at(setting, "executed_flops_per_token")) > 0.0);
    }
    json_decref(results);
    expect(
        run("grep -o '<title>[a-z_0-9.-]*: [0-9.]* %% at' '%s/routers/routers.html' | grep -c title", folder),
        0, "25");
    expect(run("cp '%s/routers/routers.md' '%s/before.md' && " FULL
               "-o '%s/routers' --routers --starts 1 --resume > '%s/lines' && cmp '%s/routers/routers.md' "
               "'%s/before.md' && echo same",
               folder, folder, folder, folder, folder, folder, folder),
           0, "same");
    expect(run(FULL "-o '%s/routers' --routers --starts 2 --resume", folder, folder), 2,
           "pretrain: an object of options");
    expect(run(ADAMOE " reproduce --routers"), 2, "go with --full");
    expect(run(ADAMOE " reproduce --full --starts 2"), 2, "--starts goes with --routers");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routers_from_the_same_start),
    };
    return cmocka_run_group_tests(tests, make_toy, remove_folder);
}
