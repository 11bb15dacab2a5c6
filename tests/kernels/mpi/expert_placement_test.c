/*
 * Experts on ranks: counts by hand, each order where its answer is known, and what holds for all of them.
 */
#include "test.h"
#include "mpi/partition.h"
#include "mpi/placement.h"
#include "splitmix64.h"

#include <link.h>

#define MOST 64

static int count_metis(struct dl_phdr_info *object, size_t size, void *count)
{
    (void)size;
    *(size_t *)count += strstr(object->dlpi_name, "metis") != NULL;
    return 0;
}

static size_t loaded(void)
{
    size_t count = 0;
    (void)dl_iterate_phdr(count_metis, &count);
    return count;
}

/* Its data would be in every thread. */
static void metis_is_there_while_it_is_needed(void **state)
{
    (void)state;
    assert_int_equal(loaded(), 0);
    assert_true(adamoe_has_partitioner() == ADAMOE_HAS_METIS);
    assert_int_equal(loaded(), 0);
}

static void counts_are_those_of_the_tokens(void **state)
{
    (void)state;
    /* experts 0 to 3; 4 and 5 are null experts */
    static const uint32_t id[] = {0, 1, 4, 2, 4, 5, 1, 0, 3, 4, 5, 1};
    adamoe_expert_use use;
    assert_ok(adamoe_expert_use_create(4, &use));
    adamoe_expert_use_add(&use, id, 2, 3);
    adamoe_expert_use_add(&use, id + 6, 2, 3);
    static const uint64_t rows[] = {2, 3, 1, 1};
    static const uint64_t together[] = {0, 2, 0, 1, 2, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0};
    assert_int_equal(use.tokens, 4);
    assert_memory_equal(use.rows, rows, sizeof rows);
    assert_memory_equal(use.together, together, sizeof together);
    adamoe_expert_use_free(&use);
}

static void block_and_turn(void **state)
{
    (void)state;
    uint32_t rank[8];
    const adamoe_expert_use use = {.experts = 8};
    static const uint32_t block3[] = {0, 0, 0, 1, 1, 1, 2, 2}, turn3[] = {0, 1, 2, 0, 1, 2, 0, 1};
    assert_ok(adamoe_place_experts(ADAMOE_EXPERTS_BLOCK, &use, 3, rank));
    assert_memory_equal(rank, block3, sizeof rank);
    assert_ok(adamoe_place_experts(ADAMOE_EXPERTS_TURN, &use, 3, rank));
    assert_memory_equal(rank, turn3, sizeof rank);
}

/* 9 to rank 0, 7 to rank 1, 6 to rank 1's side of 7 against 9, and so on; the last ones go where there is room. */
static void the_heaviest_goes_first(void **state)
{
    (void)state;
    static uint64_t rows[] = {3, 9, 6, 7, 1, 1};
    uint32_t rank[6];
    const adamoe_expert_use use = {.experts = 6, .tokens = 27, .rows = rows};
    /* 9 | 7, 9 | 7 6, 9 3 | 7 6, 9 3 1 | 7 6, and 1 to the lighter side that has room: 13 = 13, the full one is 0 */
    static const uint32_t expected[] = {0, 0, 1, 1, 0, 1};
    assert_ok(adamoe_place_experts(ADAMOE_EXPERTS_LOAD, &use, 2, rank));
    assert_memory_equal(rank, expected, sizeof rank);
    /* one heavy expert: the others have to fill both ranks' room all the same */
    static uint64_t heavy[] = {100, 1, 1, 1, 1, 1};
    const adamoe_expert_use skewed = {.experts = 6, .tokens = 105, .rows = heavy};
    static const uint32_t filled[] = {0, 1, 1, 1, 0, 0};
    assert_ok(adamoe_place_experts(ADAMOE_EXPERTS_LOAD, &skewed, 2, rank));
    assert_memory_equal(rank, filled, sizeof rank);
}

/* Tokens whose experts come from `clusters` clusters, expert e in cluster of[e]. */
static void use_clusters(const uint32_t *of, size_t experts, adamoe_splitmix64 *random,
                         adamoe_expert_use *use)
{
    for (size_t t = 0; t < 4000; ++t) {
        const uint32_t first = (uint32_t)adamoe_splitmix64_below(random, experts);
        uint32_t second;
        do { /* in 9 of 10 tokens from the same cluster */
            second = (uint32_t)adamoe_splitmix64_below(random, experts);
        } while (second == first || (of[second] != of[first] && adamoe_splitmix64_below(random, 40) != 0));
        const uint32_t id[] = {first, second};
        adamoe_expert_use_add(use, id, 1, 2);
    }
}

/* Of a process alone, whether METIS is there or not. */
static void one_rank_has_all(void **state)
{
    (void)state;
    uint32_t rank[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    adamoe_expert_use use;
    assert_ok(adamoe_expert_use_create(8, &use));
    assert_ok(adamoe_place_experts(ADAMOE_EXPERTS_TOGETHER, &use, 1, rank));
    for (size_t e = 0; e < 8; ++e) {
        assert_int_equal(rank[e], 0);
    }
    adamoe_expert_use_free(&use);
}

/* Experts that go together are found, however they are numbered. */
static void clusters_are_found(void **state)
{
    (void)state;
    if (!adamoe_has_partitioner()) {
        uint32_t rank[8];
        const adamoe_expert_use none = {.experts = 8};
        assert_error(adamoe_place_experts(ADAMOE_EXPERTS_TOGETHER, &none, 2, rank), ADAMOE_NOT_SUPPORTED,
                     "no METIS (package libmetis-dev)");
        return;
    }
    adamoe_splitmix64 random = {7};
    static const size_t sizes[][2] = {{8, 2}, {8, 4}, {16, 4}, {60, 6}, {64, 8}, {64, 16}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; ++s) {
        const size_t experts = sizes[s][0], clusters = sizes[s][1];
        uint32_t of[MOST], rank[MOST];
        adamoe_expert_use use;
        for (size_t e = 0; e < experts; ++e) { /* shuffled */
            const size_t other = adamoe_splitmix64_below(&random, e + 1);
            of[e] = of[other];
            of[other] = (uint32_t)(e % clusters);
        }
        assert_ok(adamoe_expert_use_create(experts, &use));
        use_clusters(of, experts, &random, &use);
        assert_ok(adamoe_place_experts(ADAMOE_EXPERTS_TOGETHER, &use, clusters, rank));
        for (size_t e = 0; e < experts; ++e) {
            for (size_t other = 0; other < e; ++other) {
                if ((of[e] == of[other]) != (rank[e] == rank[other])) {
                    fail_msg("%zu experts in %zu clusters: %zu and %zu", experts, clusters, e, other);
                }
            }
        }
        adamoe_expert_use_free(&use);
    }
}

/* Uneven and without structure; as many ranks as experts and more; the same answer twice. */
static void every_order_keeps_to_the_room(void **state)
{
    (void)state;
    adamoe_splitmix64 random = {3};
    static const size_t counts[] = {1, 5, 8, 60};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; ++c) {
        const size_t experts = counts[c];
        adamoe_expert_use use;
        assert_ok(adamoe_expert_use_create(experts, &use));
        for (size_t t = 0; t < 500 && experts > 1; ++t) {
            const size_t a = adamoe_splitmix64_below(&random, experts),
                         b = adamoe_splitmix64_below(&random, experts);
            const uint32_t id[] = {(uint32_t)(a * b / experts),
                                   (uint32_t)((a * b / experts + 1 + b) % (experts + 1))};
            if (id[0] != id[1]) {
                adamoe_expert_use_add(&use, id, 1, 2);
            }
        }
        for (size_t ranks = 1; ranks <= experts + 2; ranks += 1 + ranks / 3) {
            for (int order = 0; order < ADAMOE_EXPERT_ORDERS; ++order) {
                uint32_t rank[MOST], again[MOST];
                size_t held[MOST] = {0};
                if (order == ADAMOE_EXPERTS_TOGETHER && !adamoe_has_partitioner()) {
                    continue;
                }
                assert_ok(adamoe_place_experts((adamoe_expert_order)order, &use, ranks, rank));
                assert_ok(adamoe_place_experts((adamoe_expert_order)order, &use, ranks, again));
                assert_memory_equal(rank, again, experts * sizeof *rank);
                for (size_t e = 0; e < experts; ++e) {
                    assert_true(rank[e] < ranks);
                    assert_true(++held[rank[e]] <= adamoe_experts_of_rank(experts, ranks));
                }
            }
        }
        adamoe_expert_use_free(&use);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metis_is_there_while_it_is_needed),
        cmocka_unit_test(counts_are_those_of_the_tokens),
        cmocka_unit_test(block_and_turn),
        cmocka_unit_test(the_heaviest_goes_first),
        cmocka_unit_test(one_rank_has_all),
        cmocka_unit_test(clusters_are_found),
        cmocka_unit_test(every_order_keeps_to_the_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
