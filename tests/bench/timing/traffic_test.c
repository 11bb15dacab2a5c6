/*
 * Hidden states lead a real router to the experts that were wanted; batches touch different weights; a
 * recording is followed, and one that does not fit is refused.
 */
#include "test.h"
#include "machine/host.h"
#include "kernel/kernel.h"
#include "layers/recorded_routing.h"
#include "timing/router_step.h"
#include "safetensors/safetensors.h"
#include "machine/team.h"
#include "temporary_folder.h"
#include "router.h"

enum { TOKENS = 40 };

static const adamoe_selection selection = {128, {8, 8, 3}, ADAMOE_NULL_ZERO};

static void make_logits(adamoe_pattern pattern, size_t tokens, float *logits)
{
    adamoe_splitmix64 random = {3};
    adamoe_pattern_logits(pattern, selection.mixture, 1.67, tokens, &random, logits);
}

static void the_router_selects_what_was_wanted(void **state)
{
    (void)state;
    float logits[TOKENS * 16];
    adamoe_traffic traffic;
    adamoe_team *team = NULL;
    adamoe_router_step *step = NULL;
    const adamoe_plan *plan = NULL;
    float *rows = malloc(16 * selection.hidden_size * sizeof *rows);
    adamoe_router_seconds seconds = {0.0, 0.0};
    const adamoe_placement placement = adamoe_one_node(1);
    assert_non_null(rows);
    adamoe_traffic_router(selection, 5, rows);
    make_logits(ADAMOE_PATTERN_SKEWED, TOKENS, logits);
    assert_ok(adamoe_team_create(1, &team));
    assert_ok(adamoe_traffic_create(selection, logits, TOKENS, 5, false, &traffic));
    assert_ok(adamoe_router_step_create(&adamoe_reference_kernel, &adamoe_reference_kernel, selection, rows,
                                        TOKENS, team, &adamoe_heap_host, &placement, &step));
    assert_ok(adamoe_router_step_run(step, traffic.batch[0].x, &plan, &seconds));
    assert_ok(adamoe_router_step_compare(step, traffic.batch[0].routing));
    assert_int_equal(plan->rows, traffic.batch[0].plan->rows);
    assert_memory_equal(plan->offset, traffic.batch[0].plan->offset, 9 * sizeof *plan->offset);
    assert_true(seconds.route > 0.0 && seconds.plan > 0.0);
    /* an expert that was not wanted is noticed */
    adamoe_routing *wanted = traffic.batch[0].routing;
    uint32_t *last = &wanted->id[(TOKENS - 1) * 3];
    for (uint32_t id = 0; id < 16; ++id) {
        if (id != last[0] && id != last[1] && id != last[2]) {
            last[1] = id;
            break;
        }
    }
    assert_error(adamoe_router_step_compare(step, wanted), ADAMOE_DIFFERENCE, "wrong routing of token 39");
    adamoe_router_step_free(step);
    adamoe_traffic_free(&traffic);
    adamoe_team_free(team);
    free(rows);
}

static void batches_touch_other_experts(void **state)
{
    (void)state;
    float logits[TOKENS * 16];
    adamoe_traffic traffic;
    make_logits(ADAMOE_PATTERN_BALANCED, 1, logits); /* two true experts */
    assert_ok(adamoe_traffic_create(selection, logits, 1, 5, true, &traffic));
    assert_int_equal(traffic.batches, 4);
    size_t touched[8] = {0};
    for (size_t b = 0; b < 4; ++b) {
        assert_int_equal(traffic.batch[b].plan->rows, 2);
        for (size_t e = 0; e < 8; ++e) {
            touched[e] += traffic.batch[b].plan->offset[e + 1] - traffic.batch[b].plan->offset[e];
        }
    }
    for (size_t e = 0; e < 8; ++e) {
        assert_int_equal(touched[e], 1);
    }
    adamoe_traffic_free(&traffic);
    make_logits(ADAMOE_PATTERN_BALANCED, TOKENS, logits);
    assert_ok(adamoe_traffic_create(selection, logits, TOKENS, 5, true, &traffic));
    assert_int_equal(traffic.batches, 1); /* all experts are touched already */
    adamoe_traffic_free(&traffic);
}

/* A recording of two layers with three tokens each, of 8 true and 8 null experts. */
static const int64_t recorded[2][3][3] = {{{0, 8, 9}, {1, 10, 2}, {3, 4, 5}},
                                          {{6, 7, 8}, {7, 15, 14}, {9, 0, 10}}};

static const char *write_recording(void **state, const int64_t *ids, const char *experts, size_t top_k)
{
    static char path[512];
    const adamoe_tensor tensor = {.name = "selected_experts",
                                  .dtype = ADAMOE_I64,
                                  .rank = 3,
                                  .shape = {2, 3, top_k},
                                  .elements = 6 * top_k,
                                  .data = ids};
    const adamoe_metadata metadata[] = {
        {"num_local_experts", experts}, {"num_null_experts", "8"}, {"num_experts_per_tok", "3"}};
    (void)snprintf(path, sizeof path, "%s/routing.safetensors", (const char *)*state);
    assert_ok(adamoe_safetensors_write(path, &tensor, 1, metadata, 3));
    return path;
}

/* Every layer and first token come up among some seeds, and each time the tokens follow each other. */
static void a_recording_is_followed(void **state)
{
    const char *path = write_recording(state, &recorded[0][0][0], "8", 3);
    const adamoe_rule rule = {.top_k = 3};
    bool met[2][3] = {{false}};
    for (uint64_t seed = 0; seed < 40; ++seed) {
        float logits[5 * 16];
        adamoe_routing *routing = NULL;
        assert_ok(adamoe_recorded_logits(path, selection.mixture, 5, seed, logits));
        assert_ok(adamoe_routing_create(logits, 5, 8, 8, rule, &routing));
        size_t layer = 0, first = 0;
        while (routing->id[0] != recorded[layer][first][0] || routing->id[1] != recorded[layer][first][1]) {
            first = (first + 1) % 3;
            layer += first == 0;
            assert_true(layer < 2);
        }
        met[layer][first] = true;
        for (size_t i = 0; i < 15; ++i) {
            assert_int_equal(routing->id[i], recorded[layer][(first + i / 3) % 3][i % 3]);
        }
        adamoe_routing_free(routing);
    }
    for (size_t i = 0; i < 6; ++i) {
        assert_true(met[i / 3][i % 3]);
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    float logits[64 * 16];
    const adamoe_mixture mixture = selection.mixture;
    assert_error(
        adamoe_recorded_logits(write_recording(state, &recorded[0][0][0], "9", 3), mixture, 4, 1, logits),
        ADAMOE_BAD_INPUT, "routing.safetensors: __metadata__: num_local_experts: 9, but the preset has 8");
    assert_error(
        adamoe_recorded_logits(write_recording(state, &recorded[0][0][0], "eight", 3), mixture, 4, 1, logits),
        ADAMOE_BAD_INPUT, "num_local_experts: missing, or not a number");
    assert_error(
        adamoe_recorded_logits(write_recording(state, &recorded[0][0][0], "8", 2), mixture, 4, 1, logits),
        ADAMOE_BAD_INPUT, "tensor selected_experts: missing, or not I64 [layers, tokens, 3]");
    int64_t bad[2][3][3];
    /* One token of one of the two layers, whichever is drawn. */
    for (uint64_t seed = 0; seed < 8; ++seed) {
        memcpy(bad, recorded, sizeof bad);
        bad[1][2][1] = bad[1][2][0];
        assert_error(
            adamoe_recorded_logits(write_recording(state, &bad[0][0][0], "8", 3), mixture, 1, seed, logits),
            ADAMOE_BAD_INPUT, "token 2 of layer 1: expert ");
    }
    memcpy(bad, recorded, sizeof bad);
    bad[0][1][2] = bad[1][1][2] = 16;
    assert_error(adamoe_recorded_logits(write_recording(state, &bad[0][0][0], "8", 3), mixture, 4, 1, logits),
                 ADAMOE_BAD_INPUT, "expert 16: out of range");
    bad[0][1][2] = bad[1][1][2] = -1;
    assert_error(adamoe_recorded_logits(write_recording(state, &bad[0][0][0], "8", 3), mixture, 4, 1, logits),
                 ADAMOE_BAD_INPUT, "expert -1: out of range");
    bad[0][1][2] = 1;
    bad[1][1][2] = 7;
    assert_error(adamoe_recorded_logits(write_recording(state, &bad[0][0][0], "8", 3), mixture, 4, 1, logits),
                 ADAMOE_BAD_INPUT, "selected twice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_router_selects_what_was_wanted),
        cmocka_unit_test(batches_touch_other_experts),
        cmocka_unit_test_setup_teardown(a_recording_is_followed, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_refused, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
