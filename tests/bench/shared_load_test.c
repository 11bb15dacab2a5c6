/*
 * What a run over ranks counts as its own work, and which ranks are on one machine; the ranks are threads of the test, each of
 * which sees the processor time of the whole process for its own.
 */
#include "kernels/mpi/threads_world.h"
#include "machine/team.h"
#include "test.h"
#include "ranks/machines.h"
#include "ranks/shared_load.h"

#define RANKS   3
#define WORK    0.05 /* processor seconds */
#define THREADS 2    /* of a rank */

static double own_seconds(void)
{
    adamoe_load_mark mark;
    adamoe_mark_load(&mark);
    return mark.own;
}

static void work(double seconds)
{
    const double begin = own_seconds();
    while (own_seconds() < begin + seconds) {
    }
}

typedef struct rank_load {
    adamoe_world world;
    adamoe_shared_load load;
    adamoe_load_mark mark;
    adamoe_status status;
    uint32_t here;
    double sharing;
} rank_load;

static void *run_rank(void *context)
{
    rank_load *r = context;
    adamoe_shared_load_begin(&r->load);
    work(WORK);
    r->status = adamoe_shared_load_end(&r->world, &r->load, &r->mark);
    if (r->status.code == ADAMOE_OK) {
        r->status = adamoe_ranks_here(&r->world, &r->here);
    }
    if (r->status.code == ADAMOE_OK) {
        r->status = adamoe_ranks_per_processor(&r->world, THREADS, &r->sharing);
    }
    return NULL;
}

static void run_ranks(rank_load *rank)
{
    threads_world world;
    pthread_t thread[RANKS];
    threads_world_open(&world, RANKS);
    for (uint32_t r = 0; r < RANKS; ++r) {
        rank[r].world = threads_world_rank(&world, r);
        assert_int_equal(pthread_create(&thread[r], NULL, run_rank, &rank[r]), 0);
    }
    for (uint32_t r = 0; r < RANKS; ++r) {
        assert_int_equal(pthread_join(thread[r], NULL), 0);
        assert_ok(rank[r].status);
    }
    assert_int_equal(threads_world_close(&world), 0);
}

static void a_process_alone_has_its_own(void **state)
{
    (void)state;
    adamoe_shared_load load;
    adamoe_load_mark mark;
    uint32_t here = 0;
    adamoe_shared_load_begin(&load);
    assert_ok(adamoe_shared_load_end(&adamoe_alone, &load, &mark));
    assert_true(mark.own == load.mark.own);
    assert_memory_equal(&mark.waiting, &load.mark.waiting, sizeof mark.waiting); /* may be a NaN */
    assert_ok(adamoe_ranks_here(&adamoe_alone, &here));
    assert_int_equal(here, 1);
    double sharing = 0.0;
    assert_ok(adamoe_ranks_per_processor(&adamoe_alone, 1000000, &sharing));
    assert_true(sharing == 1.0); /* a rank's own threads are not ranks */
}

static void other_ranks_work_for_the_run(void **state)
{
    (void)state;
    rank_load rank[RANKS];
    const double processors = adamoe_available_processors();
    const double sharing = fmax(1.0, RANKS * THREADS / processors) / fmax(1.0, THREADS / processors);
    run_ranks(rank);
    for (uint32_t r = 0; r < RANKS; ++r) {
        assert_true(rank[r].mark.own <= rank[r].load.mark.own - (RANKS - 1) * WORK);
        assert_true(isnan(rank[r].mark.waiting));
        assert_true(rank[r].mark.seconds == rank[r].load.mark.seconds);
        assert_int_equal(rank[r].here, RANKS);
        assert_true(rank[r].sharing == sharing);
    }
}

/* For the program that carries messages stands this process, whose time the system counts in hundredths of a second. */
static void who_carries_messages_works_for_the_run(void **state)
{
    (void)state;
    char self[32];
    adamoe_shared_load load, later;
    (void)snprintf(self, sizeof self, "%d", (int)getpid());
    assert_int_equal(setenv("NETWORK_RELAY", self, 1), 0);
    adamoe_shared_load_begin(&load);
    work(4.0 * WORK);
    adamoe_shared_load_begin(&later);
    assert_true(later.carrier - load.carrier >= WORK);
    assert_int_equal(setenv("NETWORK_RELAY", "no process", 1), 0);
    adamoe_shared_load_begin(&load);
    assert_true(load.carrier == 0.0);
    assert_int_equal(unsetenv("NETWORK_RELAY"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_alone_has_its_own),
        cmocka_unit_test(other_ranks_work_for_the_run),
        cmocka_unit_test(who_carries_messages_works_for_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
