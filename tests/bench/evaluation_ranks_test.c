/*
 * Opening an evaluation over ranks where one of them fails, at each place where it can: all come back with its error. The
 * ranks are threads of the test.
 */
#include "kernels/mpi/threads_world.h"
#include "eval/evaluate.h"
#include "registry.h"
#include "test.h"

#include <unistd.h>

#define RANKS 3

/* A rank that waits for a message that nobody sends waits for ever; no opening takes as long. */
#define MOST_SECONDS 120

typedef struct opening {
    adamoe_evaluate_options options;
    adamoe_kernel kernel;
    adamoe_world world;
    adamoe_status status;
} opening;

static void *open_rank(void *context)
{
    opening *o = context;
    const adamoe_machine_options wanted = {.threads = 1};
    adamoe_machine machine;
    adamoe_evaluation e;
    assert_ok(adamoe_machine_open(&wanted, &machine));
    o->options.world = &o->world;
    o->status = adamoe_evaluation_open(&o->options, &o->kernel, &machine, &e);
    adamoe_evaluation_free(&e);
    adamoe_machine_close(&machine);
    return NULL;
}

static adamoe_status refuse_to_prepare(const adamoe_host *host, const adamoe_layer *layer,
                                       const adamoe_placement *placement, adamoe_prepared **out)
{
    (void)host;
    (void)layer;
    (void)placement;
    (void)out;
    return adamoe_error(ADAMOE_ENVIRONMENT, "no room on this rank");
}

/* What one rank, and no other, cannot do. */
typedef enum fault { NO_FAULT, UNREADABLE_QUESTIONS, UNPREPARED_WEIGHTS } fault;

/* The kernel that sharing ranks wrap must not be the naive model, which is not prepared. */
static void open_ranks(const adamoe_registry *registry, fault what, uint32_t failing, opening *rank)
{
    threads_world world;
    pthread_t thread[RANKS];
    const adamoe_kernel *kernel = adamoe_registry_default(registry);
    assert_string_not_equal(kernel->name, "reference");
    threads_world_open(&world, RANKS);
    (void)alarm(MOST_SECONDS);
    for (uint32_t r = 0; r < RANKS; ++r) {
        rank[r] = (opening){.options = adamoe_evaluate_defaults, .kernel = *kernel};
        rank[r].options.model = SOURCE_PATH("datasets/tiny-adamoe");
        rank[r].options.questions = what == UNREADABLE_QUESTIONS && r == failing
                                        ? SOURCE_PATH("datasets/wordnet/none.jsonl")
                                        : SOURCE_PATH("datasets/wordnet/test.jsonl");
        rank[r].options.limit = 2;
        rank[r].kernel.prepare =
            what == UNPREPARED_WEIGHTS && r == failing ? refuse_to_prepare : kernel->prepare;
        rank[r].world = threads_world_rank(&world, r);
        assert_int_equal(pthread_create(&thread[r], NULL, open_rank, &rank[r]), 0);
    }
    for (uint32_t r = 0; r < RANKS; ++r) {
        assert_int_equal(pthread_join(thread[r], NULL), 0);
    }
    (void)alarm(0);
    assert_int_equal(threads_world_close(&world), 0);
}

static void one_rank_that_fails_fails_all(void **state)
{
    (void)state;
    static const struct {
        fault what;
        uint32_t rank;
        const char *message;
    } cases[] = {{NO_FAULT, 0, ""},
                 {UNREADABLE_QUESTIONS, 0, "none.jsonl"},
                 {UNREADABLE_QUESTIONS, 1, "rank 1: "},
                 {UNPREPARED_WEIGHTS, 0, "no room on this rank"},
                 {UNPREPARED_WEIGHTS, 2, "rank 2: "}};
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        opening rank[RANKS];
        open_ranks(registry, cases[i].what, cases[i].rank, rank);
        for (uint32_t r = 0; r < RANKS; ++r) {
            assert_int_equal(rank[r].status.code == ADAMOE_OK, cases[i].what == NO_FAULT);
            assert_non_null(strstr(rank[r].status.message, cases[i].message));
        }
    }
    adamoe_registry_free(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rank_that_fails_fails_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
