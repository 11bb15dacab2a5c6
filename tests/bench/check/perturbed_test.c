/*
 * The perturbed team: each task once, in an order that a seed repeats and another seed changes.
 */
#include "check/call/perturbed.h"
#include "machine/team.h"
#include "test.h"

#include <stdatomic.h>

#define TASKS   200
#define THREADS 4

static void places_are_a_permutation(void **state)
{
    (void)state;
    enum { MOST = 300 };
    for (size_t count = 1; count <= MOST; ++count) {
        bool taken[MOST] = {false};
        size_t in_place = 0;
        for (size_t i = 0; i < count; ++i) {
            const size_t place = adamoe_perturbed_place(17 + count, count, i);
            assert_true(place < count);
            assert_false(taken[place]);
            taken[place] = true;
            in_place += place == i;
        }
        assert_true(count < 8 || in_place < count / 2);
    }
}

/* Who did what, in which order: the tasks of each thread. */
typedef struct record {
    size_t task[THREADS][TASKS], count[THREADS];
    atomic_uint times[TASKS];
    atomic_bool busy[THREADS];
    atomic_bool overlapped; /* two tasks in the name of one thread at once */
} record;

static void note(void *context, size_t i, uint32_t thread)
{
    record *r = context;
    if (atomic_exchange(&r->busy[thread], true)) {
        atomic_store(&r->overlapped, true);
    }
    (void)atomic_fetch_add(&r->times[i], 1);
    r->task[thread][r->count[thread]++] = i;
    atomic_store(&r->busy[thread], false);
}

static void run(const adamoe_team *team, uint64_t seed, uint64_t number, size_t tasks, record *out)
{
    memset(out, 0, sizeof *out);
    adamoe_run_perturbed(team, seed, number, tasks, note, out);
    size_t all = 0;
    for (size_t i = 0; i < tasks; ++i) {
        assert_int_equal(atomic_load(&out->times[i]), 1);
    }
    for (size_t t = 0; t < THREADS; ++t) {
        all += out->count[t];
    }
    assert_int_equal(all, tasks);
    assert_false(atomic_load(&out->overlapped));
}

static bool equal(const record *a, const record *b)
{
    return memcmp(a->task, b->task, sizeof a->task) == 0 && memcmp(a->count, b->count, sizeof a->count) == 0;
}

static void a_seed_repeats_itself(void **state)
{
    (void)state;
    static record first, again, another, later;
    adamoe_team *team = NULL;
    assert_ok(adamoe_team_create(THREADS, &team));
    for (size_t tasks = 0; tasks <= TASKS; tasks += 20) {
        run(team, 1, 0, tasks, &first);
        run(team, 1, 0, tasks, &again);
        run(team, 2, 0, tasks, &another);
        run(team, 1, 1, tasks, &later);
        assert_true(equal(&first, &again));
        assert_true(tasks == 0 || (!equal(&first, &another) && !equal(&first, &later)));
    }
    run(team, 1, 0, 1, &first);
    adamoe_team_free(team);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_a_permutation),
        cmocka_unit_test(a_seed_repeats_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
