/*
 * The tiers `model`, `bound` for attention, and `routing`: the program's own parts pass, and bugs that leave
 * most of a model right are caught: a window too wide by one key, a prefix that is forgotten, a tie that goes
 * to the higher index, a relative error of 1e-4 in one number of some products.
 */
#include "test.h"
#include "check/run.h"
#include "kernel/kernel.h"
#include "model/route.h"
#include "model/span_attention.h"
#include "machine/team.h"

static adamoe_team *team;

static int set_up(void **state)
{
    (void)state;
    return adamoe_team_create(2, &team).code == ADAMOE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    adamoe_team_free(team);
    return 0;
}

static adamoe_check_result run_named(const adamoe_kernel *kernel, const char *name)
{
    adamoe_case c;
    adamoe_check_result result;
    assert_true(adamoe_parse_case(name, &c));
    assert_ok(adamoe_check_run(kernel, &c, 1, team, NULL, &result));
    return result;
}

/* Nothing is wrong with the definition; every case proves something, but for tokens that are not there. */
static void the_definition_passes(void **state)
{
    (void)state;
    adamoe_case *cases = NULL;
    size_t count = 0, passed = 0;
    double largest = 0.0;
    assert_ok(adamoe_check_grid(NULL, false, &cases, &count));
    for (size_t i = 0; i < count; ++i) {
        adamoe_check_result result;
        if (cases[i].tier >= ADAMOE_TIER_ROUTING || cases[i].kind == &adamoe_kind_attention) {
            assert_ok(adamoe_check_run(&adamoe_reference_kernel, &cases[i], 1, team, NULL, &result));
            if (result.status != ADAMOE_CHECK_PASSED) {
                fail_msg("%s: %s", adamoe_name_case(&cases[i]).text, result.detail);
            }
            ++passed;
            largest = fmax(largest, result.largest_ratio);
        }
    }
    free(cases);
    print_message("%zu cases, largest error/bound %.3f\n", passed, largest);
    assert_true(passed >= 130);
}

/* ---------------------------------------------------------------------------------------- wrong attention */

static adamoe_status window_too_wide(const adamoe_run *run, const adamoe_attention_call *call)
{
    adamoe_attention_call spoiled = *call;
    spoiled.window = call->window == SIZE_MAX ? SIZE_MAX : call->window + 1;
    return adamoe_span_attention(run, &spoiled);
}

static adamoe_status prefix_forgotten(const adamoe_run *run, const adamoe_attention_call *call)
{
    adamoe_attention_span *span = calloc(call->spans, sizeof *span);
    adamoe_attention_call spoiled = *call;
    assert_non_null(span);
    for (size_t s = 0; s < call->spans; ++s) {
        span[s] = call->span[s];
        span[s].parent = ADAMOE_NO_PARENT;
        span[s].start = 0;
    }
    spoiled.span = span;
    const adamoe_status status = adamoe_span_attention(run, &spoiled);
    free(span);
    return status;
}

static adamoe_kernel with_attention(adamoe_status (*attention)(const adamoe_run *,
                                                               const adamoe_attention_call *))
{
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.attention_work_bytes = adamoe_span_attention_work_bytes;
    kernel.attention = attention;
    return kernel;
}

static void expect_failure(const adamoe_kernel *kernel, const char *name)
{
    const adamoe_check_result result = run_named(kernel, name);
    print_message("%s: %s; error/bound %.3g\n", name, result.detail, result.largest_ratio);
    assert_int_equal(result.status, ADAMOE_CHECK_FAILED);
}

static void wrong_attention_is_caught(void **state)
{
    (void)state;
    const adamoe_kernel wide = with_attention(window_too_wide), forgetful = with_attention(prefix_forgotten);
    expect_failure(&wide, "bound/attention/heads:6/kv:2/dim:16/window:5/tokens:17/single");
    expect_failure(&wide, "model/sliding-window");
    expect_failure(&forgetful, "bound/attention/heads:4/kv:2/dim:8/window:0/tokens:9/shared");
    expect_failure(&forgetful, "model/grouped-heads");
    assert_int_equal(run_named(&wide, "model/grouped-heads").status, ADAMOE_CHECK_PASSED);
}

/* ------------------------------------------------------------------------------------------ wrong routing */

/* Among equal neighbours in the list of the selected ones the higher index comes first. */
static adamoe_status ties_the_other_way(const adamoe_run *run, adamoe_routing *routing)
{
    const adamoe_status status = adamoe_route(run, routing);
    const size_t k = routing->rule.top_k, all = routing->experts + routing->null_experts;
    for (size_t i = 0; i + 1 < routing->tokens * k; ++i) {
        uint32_t *id = routing->id + i;
        const float *logits = routing->logits + i / k * all;
        if (i % k + 1 < k && logits[id[0]] == logits[id[1]]) {
            const uint32_t first = id[0];
            id[0] = id[1];
            id[1] = first;
        }
    }
    return status;
}

static void a_tie_the_other_way_is_caught(void **state)
{
    (void)state;
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.route = ties_the_other_way;
    expect_failure(&kernel, "routing/route/n:8/m:8/k:3/tokens:33/logits:copies/norm:true");
    expect_failure(&kernel, "routing/route/n:8/m:8/k:3/tokens:33/logits:signed-zeros/norm:true");
    assert_int_equal(run_named(&kernel, "routing/route/n:8/m:8/k:3/tokens:33/logits:random/norm:true").status,
                     ADAMOE_CHECK_PASSED);
}

/* -------------------------------------------------------------------------------------------- wrong model */

static size_t multiplications;

/* A hundredth of a percent in one element of one product in four. For a dense model of two layers these are
 * the first, where it is a query that sees one key and changes nothing, and the head. */
static adamoe_status multiply_with_an_error(adamoe_prepared_matrix *prepared, const adamoe_run *run,
                                            const float *x, size_t count, float *y)
{
    const adamoe_status status = adamoe_reference_kernel.multiply(prepared, run, x, count, y);
    if (multiplications++ % 4 == 0 && count > 0) {
        y[0] *= 1.0001f;
    }
    return status;
}

static void a_small_error_in_a_model_is_caught(void **state)
{
    (void)state;
    adamoe_kernel kernel = adamoe_reference_kernel;
    kernel.multiply = multiply_with_an_error;
    expect_failure(&kernel, "model/dense");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_definition_passes),
        cmocka_unit_test(wrong_attention_is_caught),
        cmocka_unit_test(a_tie_the_other_way_is_caught),
        cmocka_unit_test(a_small_error_in_a_model_is_caught),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
