/*
 * Kernels in processes of their own, by the two clients in C of this folder: one that computes, and one that
 * misbehaves in every way that has a name. What the program makes of them is tests/bench/command_test.c.
 */
#include "test.h"
#include "router.h"
#include "plan.h"
#include "kernel/kernel.h"
#include "machine/host.h"
#include "machine/team.h"
#include "registry.h"
#include "remote/region.h"
#include "remote/remote.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define CLIENT          "'" ADAMOE_CLIENTS "/remote_client'"
#define BROKEN(misdeed) "'" ADAMOE_CLIENTS "/remote_broken' " misdeed

enum { D = 6, FF = 5, N = 3, M = 1, T = 4 };

/* A small layer, a batch and a plan with a token that selected null experts alone. */
typedef struct subject {
    float weights[N * 3 * D * FF], x[T * D];
    adamoe_expert experts[N];
    adamoe_layer layer;
    adamoe_routing *routing;
    adamoe_plan *plan;
    adamoe_team *team;
    adamoe_placement placement;
} subject;

static void make(subject *s)
{
    float logits[T * (N + M)];
    for (size_t i = 0; i < sizeof s->weights / sizeof *s->weights; ++i) {
        s->weights[i] = sinf((float)i * 0.7f);
    }
    for (size_t i = 0; i < T * D; ++i) {
        s->x[i] = cosf((float)i * 1.3f);
    }
    for (size_t i = 0; i < T * (N + M); ++i) {
        logits[i] = sinf((float)i * 2.1f);
    }
    for (size_t e = 0; e < N; ++e) {
        const float *w = s->weights + e * 3 * D * FF;
        s->experts[e] = (adamoe_expert){.w1 = {w, ADAMOE_F32, FF, D},
                                        .w3 = {w + D * FF, ADAMOE_F32, FF, D},
                                        .w2 = {w + 2 * D * FF, ADAMOE_F32, D, FF}};
    }
    s->layer = (adamoe_layer){
        .hidden_size = D, .intermediate_size = FF, .experts = N, .null_experts = M, .expert = s->experts};
    s->placement = adamoe_one_node(2);
    assert_ok(adamoe_routing_create(
        logits, T, N, M, (adamoe_rule){.top_k = 2, .null_kind = ADAMOE_NULL_IDENTITY}, &s->routing));
    assert_ok(adamoe_plan_create(s->routing, &s->plan));
    assert_ok(adamoe_team_create(2, &s->team));
}

static void unmake(subject *s)
{
    adamoe_team_free(s->team);
    adamoe_plan_free(s->plan);
    adamoe_routing_free(s->routing);
}

static adamoe_status compute(const adamoe_kernel *kernel, const subject *s, adamoe_prepared *prepared,
                             float *y)
{
    const size_t bytes = kernel->work_bytes(prepared, s->plan->rows, s->plan->tokens);
    void *work = adamoe_heap_host.allocate(NULL, bytes + 1, 64);
    const adamoe_run run = {.team = s->team, .work = work, .work_bytes = bytes};
    const adamoe_status status = kernel->experts(prepared, &run, s->x, s->plan, y);
    adamoe_heap_host.release(NULL, work);
    return status;
}

static adamoe_status prepare(const adamoe_kernel *kernel, const subject *s, adamoe_prepared **out)
{
    return kernel->prepare(&adamoe_heap_host, &s->layer, &s->placement, out);
}

static const adamoe_kernel *open_one(const char *command, adamoe_remote **remote)
{
    assert_ok(adamoe_remote_open(command, 10, remote));
    assert_int_equal(adamoe_remote_count(*remote), 1);
    return adamoe_remote_at(*remote, 0);
}

/* ---------------------------------------------------------------------------------------------- computing */

static void the_c_client_computes_what_the_reference_does(void **state)
{
    (void)state;
    subject s;
    float expected[T * D], y[T * D];
    adamoe_prepared *prepared = NULL, *other = NULL;
    adamoe_remote *remote = NULL;
    adamoe_remote_clock clock;
    make(&s);
    assert_ok(prepare(&adamoe_reference_kernel, &s, &prepared));
    assert_ok(compute(&adamoe_reference_kernel, &s, prepared, expected));
    assert_false(adamoe_remote_clock_of(&adamoe_reference_kernel, &clock));
    adamoe_reference_kernel.release(prepared);
    const adamoe_kernel *kernel = open_one(CLIENT, &remote);
    assert_string_equal(kernel->name, "c-client");
    assert_ok(prepare(kernel, &s, &prepared));
    assert_ok(prepare(kernel, &s, &other));
    kernel->release(other);
    for (int again = 0; again < 3; ++again) {
        memset(y, 0, sizeof y);
        assert_ok(compute(kernel, &s, prepared, y));
        for (size_t i = 0; i < T * D; ++i) {
            assert_true(fabsf(y[i] - expected[i]) <= 1e-5f);
        }
    }
    assert_true(adamoe_remote_clock_of(kernel, &clock));
    assert_int_equal(clock.calls, 3);
    assert_true(clock.there > 0.0 && clock.there < clock.here);
    kernel->release(prepared);
    kernel->release(NULL);
    adamoe_remote_close(remote);
    unmake(&s);
}

static void weights_that_it_does_not_take(void **state)
{
    (void)state;
    subject s;
    adamoe_remote *remote = NULL;
    adamoe_prepared *prepared = NULL;
    make(&s);
    const adamoe_kernel *kernel = open_one(CLIENT, &remote);
    s.experts[1].w3.dtype = ADAMOE_BF16;
    assert_error(prepare(kernel, &s, &prepared), ADAMOE_NOT_SUPPORTED, "expert 1: weights of several types");
    for (size_t e = 0; e < N; ++e) {
        s.experts[e].w1.dtype = s.experts[e].w2.dtype = s.experts[e].w3.dtype = ADAMOE_BF16;
    }
    assert_error(prepare(kernel, &s, &prepared), ADAMOE_NOT_SUPPORTED, "it takes no weights in bfloat16");
    adamoe_remote_close(remote);
    unmake(&s);
}

/* -------------------------------------------------------------------------------------------- announcements */

static void announcements_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *command, *message;
    } cases[] = {
        {"no-such-program-anywhere", "exit code 127: the shell found no such program"},
        {BROKEN("start"), "announcement: it ended with exit code 7"},
        {BROKEN("mute"), "announcement: no answer in 1 s"},
        {BROKEN("no-json"), "announcement: no JSON: `hello'"},
        {BROKEN("version"), "version 2 of the protocol; this program speaks 1"},
        {BROKEN("no-kernels"), "it brings none"},
        {BROKEN("arithmetic"), "kernel broken: `x': expected float32,"},
        {BROKEN("promise"), "kernel broken: `guarantees': expected a list"},
        {"echo early", "announcement: it ended with exit code 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        adamoe_remote *remote = NULL;
        assert_error(adamoe_remote_open(cases[i].command, 1, &remote), ADAMOE_BAD_INPUT, cases[i].message);
    }
}

static void declarations_that_the_registry_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *command, *message;
    } cases[] = {{BROKEN("name"), "a name is in lower case"},
                 {BROKEN("sums"), "sums in int32"},
                 {BROKEN("result"), "up, down, y of type 0, 0, 2: float32 or bfloat16"},
                 {BROKEN("silu"), "an error of silu of -1"}};
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    const size_t built_in = adamoe_registry_count(registry);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        assert_error(adamoe_registry_run(registry, cases[i].command, 10), ADAMOE_BAD_INPUT, cases[i].message);
        assert_int_equal(adamoe_registry_count(registry), built_in);
    }
    assert_ok(adamoe_registry_run(registry, BROKEN("cannot"), 10));
    assert_error(adamoe_registry_run(registry, BROKEN("zeros"), 10), ADAMOE_BAD_INPUT, "the name is taken");
    const char *why_not = NULL;
    assert_false(adamoe_registry_find(registry, "broken")->supported(&why_not));
    assert_string_equal(why_not, "no such device");
    adamoe_registry_free(registry);
}

/* ----------------------------------------------------------------------------------------------- misdeeds */

/* What the second call comes to; and that the one after it, with what is prepared anew, comes to its end. */
static void expect_misdeed(const char *misdeed, adamoe_code code, const char *message, bool survives)
{
    subject s;
    char command[512];
    float y[T * D];
    adamoe_remote *remote = NULL;
    adamoe_prepared *prepared = NULL;
    (void)snprintf(command, sizeof command, BROKEN("%s 1"), misdeed);
    make(&s);
    const adamoe_kernel *kernel = open_one(command, &remote);
    assert_ok(prepare(kernel, &s, &prepared));
    assert_ok(compute(kernel, &s, prepared, y));
    assert_true(y[0] == 0.0f);
    assert_error(compute(kernel, &s, prepared, y), code, message);
    if (!survives) {
        assert_error(compute(kernel, &s, prepared, y), ADAMOE_BAD_INPUT, "its process has ended");
    }
    kernel->release(prepared);
    assert_ok(prepare(kernel, &s, &prepared));
    if (!survives) {
        assert_ok(compute(kernel, &s, prepared, y));
    }
    kernel->release(prepared);
    adamoe_remote_close(remote);
    unmake(&s);
}

static void calls_that_go_wrong(void **state)
{
    (void)state;
    expect_misdeed("exit", ADAMOE_BAD_INPUT, "experts: it ended with exit code 3", false);
    expect_misdeed("crash", ADAMOE_BAD_INPUT, "experts: it was ended by signal 11", false);
    expect_misdeed("killed", ADAMOE_ENVIRONMENT, "experts: it was ended by signal 9", false);
    expect_misdeed("print", ADAMOE_BAD_INPUT,
                   "it wrote to its standard output, which is not for it: `loss: 0.1", false);
    expect_misdeed("garbage", ADAMOE_BAD_INPUT, "no answer but `Segmentation fault'", false);
    expect_misdeed("no-seconds", ADAMOE_BAD_INPUT, "the answer has no `seconds'", false);
    expect_misdeed("long", ADAMOE_BAD_INPUT, "a message of 70000 bytes", false);
    expect_misdeed("behind", ADAMOE_BAD_INPUT, "it wrote outside of its output", true);
    expect_misdeed("before", ADAMOE_BAD_INPUT, "it wrote outside of its output", true);
    expect_misdeed("error", ADAMOE_BAD_INPUT, "no more tiles", true);
    expect_misdeed("skip", ADAMOE_NOT_SUPPORTED, "no such size", true);
    expect_misdeed("write-x", ADAMOE_BAD_INPUT, "inputs are read-only", true);
}

/* What is left as it was is NaN, not the answer of the call before. */
static void output_that_is_not_written(void **state)
{
    (void)state;
    subject s;
    float y[T * D];
    adamoe_remote *remote = NULL;
    adamoe_prepared *prepared = NULL;
    make(&s);
    const adamoe_kernel *kernel = open_one(BROKEN("lazy 1"), &remote);
    assert_ok(prepare(kernel, &s, &prepared));
    assert_ok(compute(kernel, &s, prepared, y));
    assert_true(y[0] == 0.0f);
    assert_ok(compute(kernel, &s, prepared, y));
    assert_true(isnan(y[0]) && isnan(y[T * D - 1]));
    kernel->release(prepared);
    adamoe_remote_close(remote);
    unmake(&s);
}

/* A death that no call sees is told once, by the next prepare, and then there is a new process. */
static void a_death_between_calls(void **state)
{
    (void)state;
    static const char *const commands[] = {BROKEN("between 1"), BROKEN("release 1")};
    static const char *const messages[] = {"it ended with exit code 4", "release: it ended with exit code 5"};
    for (size_t i = 0; i < 2; ++i) {
        subject s;
        float y[T * D];
        adamoe_remote *remote = NULL;
        adamoe_prepared *prepared = NULL;
        make(&s);
        const adamoe_kernel *kernel = open_one(commands[i], &remote);
        assert_ok(prepare(kernel, &s, &prepared));
        assert_ok(compute(kernel, &s, prepared, y));
        if (i == 0) {
            assert_ok(compute(kernel, &s, prepared, y)); /* its last words */
            assert_error(compute(kernel, &s, prepared, y), ADAMOE_BAD_INPUT, messages[i]);
            kernel->release(prepared);
        } else {
            kernel->release(prepared);
            assert_error(prepare(kernel, &s, &prepared), ADAMOE_BAD_INPUT, messages[i]);
        }
        assert_ok(prepare(kernel, &s, &prepared));
        assert_ok(compute(kernel, &s, prepared, y));
        adamoe_remote_close(remote);
        adamoe_heap_host.release(NULL, prepared);
        unmake(&s);
    }
}

/* ------------------------------------------------------------------------------------------------ leftovers */

static size_t descriptors(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder != NULL && readdir(folder) != NULL) {
        ++count;
    }
    (void)closedir(folder);
    return count;
}

/* Neither descriptors nor children, not even of one that does not end by itself. */
static void nothing_is_left(void **state)
{
    (void)state;
    const size_t before = descriptors();
    for (int round = 0; round < 3; ++round) {
        subject s;
        adamoe_remote *remote = NULL;
        adamoe_prepared *prepared = NULL;
        float y[T * D];
        make(&s);
        const adamoe_kernel *kernel = open_one(round == 0 ? BROKEN("stay") : CLIENT, &remote);
        assert_ok(prepare(kernel, &s, &prepared));
        assert_ok(compute(kernel, &s, prepared, y));
        kernel->release(prepared);
        adamoe_remote_close(remote);
        unmake(&s);
        assert_int_equal(descriptors(), before);
        assert_true(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
    }
}

/* One whose parent is killed does not stay, though it never looks at its socket. */
static void a_child_does_not_outlive_its_parent(void **state)
{
    (void)state;
    int line[2];
    char pid[32] = "";
    assert_int_equal(pipe(line), 0);
    const pid_t parent = fork();
    if (parent == 0) {
        adamoe_remote *remote = NULL;
        (void)dup2(line[1], STDERR_FILENO);
        (void)adamoe_remote_open("sh -c 'echo $$ >&2; exec sleep 100'", 100, &remote);
        _exit(0);
    }
    assert_true(read(line[0], pid, sizeof pid - 1) > 0);
    assert_int_equal(kill((pid_t)atoi(pid), 0), 0);
    assert_int_equal(kill(parent, SIGKILL), 0);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    /* The end of the pipe comes when nobody holds it any more. */
    (void)close(line[1]);
    assert_int_equal(read(line[0], pid, sizeof pid), 0);
    (void)close(line[0]);
}

static void guards_know_what_was_changed(void **state)
{
    (void)state;
    unsigned char data[300];
    adamoe_remote_guard(data, 0, sizeof data);
    assert_true(adamoe_remote_is_intact(data, 0, sizeof data));
    for (size_t i = 0; i < sizeof data; ++i) {
        data[i] = 0;
        assert_false(adamoe_remote_is_intact(data, 0, sizeof data));
        assert_int_equal(adamoe_remote_is_intact(data, 10, 20), i < 10 || i >= 20);
        data[i] = ADAMOE_REMOTE_PATTERN;
    }
    assert_true(adamoe_remote_is_intact(data, 7, 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_c_client_computes_what_the_reference_does),
        cmocka_unit_test(weights_that_it_does_not_take),
        cmocka_unit_test(announcements_that_are_refused),
        cmocka_unit_test(declarations_that_the_registry_refuses),
        cmocka_unit_test(calls_that_go_wrong),
        cmocka_unit_test(output_that_is_not_written),
        cmocka_unit_test(a_death_between_calls),
        cmocka_unit_test(nothing_is_left),
        cmocka_unit_test(a_child_does_not_outlive_its_parent),
        cmocka_unit_test(guards_know_what_was_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
