/*
 * What a scored batch puts on the wire: without memory for a large one nothing is counted any more, and nothing is written
 * where no memory is.
 */
#include "eval/wire_count.h"
#include "kernels/mpi/threads_world.h"
#include "layers/random_layer.h"
#include "layers/routing_pattern.h"
#include "machine/host.h"
#include "plan.h"
#include "registry.h"
#include "router.h"
#include "sanitized.h"

/* Counts a plan as it is, then as one of more inputs than there is memory for, then as it is. */
static void count_plans(adamoe_wire_count *count, const adamoe_plan *plan)
{
    adamoe_plan huge = *plan;
    huge.inputs = SIZE_MAX / 8;
    adamoe_wire_count_plan(count, 0, plan);
    const uint64_t bytes = count->bytes;
    assert_true(bytes > 0 && !count->failed);
    adamoe_wire_count_plan(count, 0, &huge);
    assert_true(count->failed);
    adamoe_wire_count_plan(count, 0, plan);
    assert_true(count->failed && count->bytes == bytes);
}

static void count_of(const adamoe_sharded *sharded, const adamoe_world *world, const adamoe_plan *plan)
{
    adamoe_wire_count count;
    assert_ok(adamoe_wire_count_create(sharded, world, (adamoe_wire){.hidden_size = 8, .input_bytes = 4}, 2,
                                       &count));
    count_plans(&count, plan);
    adamoe_wire_count_free(&count);
}

static void a_failed_allocation_is_not_written_to(void **state)
{
    (void)state;
    SKIP_UNDER_SANITIZER();
    const adamoe_layer_sizes sizes = {.hidden_size = 8, .intermediate_size = 4, .experts = 4};
    threads_world threads;
    adamoe_registry *registry = NULL;
    adamoe_random_layer layer;
    adamoe_sharded *sharded = NULL;
    adamoe_prepared *prepared = NULL;
    adamoe_routing *routing = NULL;
    adamoe_plan *plan = NULL;
    threads_world_open(&threads, 2);
    const adamoe_world world = threads_world_rank(&threads, 0);
    const adamoe_placement placement = adamoe_one_node(1);
    adamoe_splitmix64 random = adamoe_random_for("wire", 1);
    assert_ok(adamoe_registry_create(&registry));
    assert_ok(adamoe_random_layer_create(sizes, ADAMOE_F32, 0, &random, &layer));
    const adamoe_sharded_options options = {.world = &world, .chunks = 1};
    assert_ok(adamoe_sharded_create(adamoe_registry_find(registry, "reference"), &options, &sharded));
    assert_ok(
        adamoe_sharded_kernel(sharded)->prepare(&adamoe_heap_host, &layer.layer, &placement, &prepared));
    assert_ok(adamoe_pattern_routing(ADAMOE_PATTERN_RANDOM, (adamoe_mixture){4, 0, 2}, ADAMOE_NULL_ZERO, 2.0,
                                     5, &random, &routing));
    assert_ok(adamoe_plan_create(routing, &plan));
    count_of(sharded, &world, plan);
    adamoe_plan_free(plan);
    adamoe_routing_free(routing);
    adamoe_sharded_kernel(sharded)->release(prepared);
    adamoe_sharded_free(sharded);
    adamoe_random_layer_free(&layer);
    adamoe_registry_free(registry);
    assert_int_equal(threads_world_close(&threads), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_failed_allocation_is_not_written_to)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
