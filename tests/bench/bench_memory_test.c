/*
 * `adamoe bench` where there is little memory: it asks before it takes, says what would fit, and where weights
 * cannot be as cold as they should, says that. Each limit is set in a process of its own.
 */
#include "program.h"
#include "sanitized.h"
#include "kernel/kernel.h"
#include "machine/host.h"
#include "machine/memory.h"
#include "machine/team.h"
#include "registry.h"
#include "timing/weights.h"

#include <signal.h>
#include <sys/resource.h>

#define MB ((size_t)1 << 20)

static size_t address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Runs `body` where so many bytes are left; its assertions end the child, and with it the test. */
static void with_memory(size_t bytes, void (*body)(void))
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const rlim_t limit = address_space() + bytes;
        assert_int_equal(setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit}), 0);
        body();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Assertions of cmocka jump, and may not leave the child. */
static void demand(bool holds, const char *what, const char *got)
{
    if (!holds) {
        fprintf(stderr, "%s: %s\n", what, got);
        _exit(1);
    }
}

static void demand_error(adamoe_status status, const char *part)
{
    demand(status.code == ADAMOE_ENVIRONMENT && strstr(status.message, part) != NULL, part, status.message);
}

static const adamoe_preset *preset(const char *name)
{
    for (size_t i = 0; i < ADAMOE_PRESETS; ++i) {
        if (strcmp(adamoe_presets[i].name, name) == 0) {
            return &adamoe_presets[i];
        }
    }
    return NULL;
}

/* Granite's layer takes 101 MB as stored and 201 MB for each kernel of float32. */
static void ask_for_two_kernels(void)
{
    const adamoe_kernel *kernels[] = {&adamoe_reference_kernel, &adamoe_reference_kernel};
    const adamoe_bench_weights weights = {.preset = preset("granite-3.0-1b-a400m"), .seed = 1};
    const adamoe_status one = adamoe_bench_weights_check(&weights, kernels, 1);
    demand(one.code == ADAMOE_OK, "one kernel fits", one.message);
    demand_error(adamoe_bench_weights_check(&weights, kernels, 2),
                 "granite-3.0-1b-a400m: 0.55 GB of memory are needed, ulimit -v leaves 0.4");
    demand_error(adamoe_bench_weights_check(&weights, kernels, 2),
                 "time one kernel at a time (--kernel reference fits), or raise ulimit -v");
}

static void ask_for_a_large_layer(void)
{
    const adamoe_kernel *kernels[] = {&adamoe_reference_kernel};
    const adamoe_bench_weights weights = {.preset = preset("mixtral-8x7b"), .seed = 1};
    demand_error(adamoe_bench_weights_check(&weights, kernels, 1),
                 "time a smaller layer (--preset granite-3.0-1b-a400m fits), or raise ulimit -v");
}

static adamoe_status prepare_in_too_much(const adamoe_host *host, const adamoe_layer *layer,
                                         const adamoe_placement *placement, adamoe_prepared **out)
{
    (void)host;
    (void)layer;
    (void)placement;
    (void)out;
    return adamoe_error(ADAMOE_ENVIRONMENT, "greedy weights: out of memory");
}

/* What a kernel takes besides its weights is not known before: then it says what helps. */
static void a_greedy_kernel_is_named(void **state)
{
    (void)state;
    adamoe_kernel greedy = adamoe_reference_kernel;
    greedy.name = "greedy";
    greedy.prepare = prepare_in_too_much;
    adamoe_bench_weights weights = {.preset = preset("tiny"), .seed = 1};
    adamoe_team *team = NULL;
    adamoe_prepared **prepared = NULL;
    assert_int_equal(adamoe_team_create(1, &team).code, ADAMOE_OK);
    const adamoe_status status =
        adamoe_bench_weights_hold(&weights, &greedy, 1, team, &adamoe_heap_host, NULL, &prepared);
    assert_int_equal(status.code, ADAMOE_ENVIRONMENT);
    assert_string_equal(status.message,
                        "tiny: greedy: greedy weights: out of memory: time one kernel at a time "
                        "(--kernel), or a smaller layer (--preset)");
    adamoe_bench_weights_free(&weights);
    adamoe_team_free(team);
}

static void what_would_fit_is_said(void **state)
{
    (void)state;
    SKIP_UNDER_SANITIZER();
    with_memory(400 * MB, ask_for_two_kernels);
    with_memory(400 * MB, ask_for_a_large_layer);
}

/* A copy of the preset tiny takes 0.6 MB in place, and is prepared into nothing. */
static void plan_too_many(void)
{
    adamoe_copies copies[] = {{.kernel = &adamoe_reference_kernel, .wanted = 1000}};
    adamoe_bench_weights weights = {.preset = preset("tiny"), .seed = 1};
    adamoe_bench_weights_plan(&weights, copies, 1);
    demand(copies[0].count > 1 && copies[0].count < 1000, "capped", "no");
    const size_t most = 100 * MB / ((size_t)8 * 3 * 64 * 96 * 4);
    demand(copies[0].count <= most, "half of what is there", "more");
    copies[0].wanted = 3;
    adamoe_bench_weights_plan(&weights, copies, 1);
    demand(copies[0].count == 3, "a few fit", "no");
}

static void ask_for_blocks(void)
{
    demand(adamoe_has_memory(150 * MB) && !adamoe_has_memory(250 * MB), "asked before it is taken", "no");
    demand_error(adamoe_ask_memory("a block", 250e6, "less of it"),
                 "a block: 0.25 GB of memory are needed, ulimit -v leaves 0.2");
    demand_error(adamoe_ask_memory("a block", 250e6, NULL), "GB: raise ulimit -v");
    demand(adamoe_ask_memory("a block", 15e6, NULL).code == ADAMOE_OK, "small blocks are not asked for",
           "no");
}

static void copies_take_half_of_what_is_there(void **state)
{
    (void)state;
    SKIP_UNDER_SANITIZER();
    with_memory(200 * MB, plan_too_many);
    with_memory(200 * MB, ask_for_blocks);
}

/* As a user sees it. A program of sanitizers has more addresses than such a limit. */
static void the_program_ends_with_4(void **state)
{
    (void)state;
    SKIP_UNDER_SANITIZER();
    expect(
        run("ulimit -v 1000000; " ADAMOE " bench --preset olmoe --kernel onednn-f32 --tokens 1 --threads 1"),
        4, "ulimit -v leaves");
    expect(run("ulimit -v 1000000; " ADAMOE " bench --train --preset mixtral-8x7b --tokens 1 --threads 1"), 4,
           "or a smaller --preset, or raise ulimit -v");
    expect(run("ulimit -v 500000; " ADAMOE
               " bench --preset tiny --kernel onednn-f32 --tokens 1000000 --threads 1"),
           4, "hidden states and routing: ");
    expect(run("ulimit -v 900000; ADAMOE_LAST_LEVEL_CACHE=1G " ADAMOE
               " bench --kernel onednn-f32 --tokens 1 --threads 1 --benchmark_repetitions=2"),
           0, "Capped: it was read from ");
    expect(run("ADAMOE_LAST_LEVEL_CACHE=32X " ADAMOE " bench"), 2,
           "ADAMOE_LAST_LEVEL_CACHE: `32X' is no size");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_would_fit_is_said),
        cmocka_unit_test(a_greedy_kernel_is_named),
        cmocka_unit_test(copies_take_half_of_what_is_there),
        cmocka_unit_test(the_program_ends_with_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
