/*
 * Whole layers against outputs computed elsewhere: our golden layers (NumPy in double), and where the folder
 * of further test data is there, those of the authors' released block (PyTorch) and those for the rules that
 * it leaves open. Ids and their order exactly, outputs within 1e-5 of max(1, |expected|), the losses to 1e-5:
 * the figures that the definition asks for.
 */
#include "test.h"
#include "checkpoint.h"
#include "layer.h"
#include "router.h"
#include "plan.h"
#include "balance_loss.h"

#include <glob.h>

/* A file with everything that the reference computes from it. */
typedef struct oracle {
    adamoe_layer_file *file;
    const adamoe_safetensors *tensors;
    const adamoe_layer *layer;
    size_t tokens;
    const float *x;
    float *logits, *output;
    adamoe_routing *routing;
} oracle;

static void compute(const char *path, oracle *o)
{
    assert_ok(adamoe_layer_file_open(path, &o->file));
    o->tensors = adamoe_layer_file_tensors(o->file);
    o->layer = adamoe_layer_file_layer(o->file);
    o->x = adamoe_layer_file_hidden_states(o->file, &o->tokens);
    const size_t n = o->layer->experts, m = o->layer->null_experts;
    o->logits = calloc(o->tokens * (n + m), sizeof *o->logits);
    o->output = calloc(o->tokens * o->layer->hidden_size, sizeof *o->output);
    double *work = calloc(adamoe_layer_work(o->layer), sizeof *work);
    assert_non_null(o->logits);
    assert_non_null(o->output);
    assert_non_null(work);
    adamoe_router_logits(o->layer, o->x, o->tokens, o->logits);
    assert_ok(
        adamoe_routing_create(o->logits, o->tokens, n, m, adamoe_layer_file_rule(o->file), &o->routing));
    adamoe_plan *plan = NULL;
    assert_ok(adamoe_plan_create(o->routing, &plan));
    const adamoe_operands operands = {ADAMOE_FLOAT32, ADAMOE_FLOAT32, ADAMOE_FLOAT32};
    adamoe_layer_forward(o->layer, operands, o->x, plan, o->output, work);
    adamoe_plan_free(plan);
    free(work);
}

static void free_oracle(oracle *o)
{
    free(o->logits);
    free(o->output);
    adamoe_routing_free(o->routing);
    adamoe_layer_file_close(o->file);
}

static int64_t integer_at(const adamoe_tensor *tensor, size_t i)
{
    int64_t value;
    memcpy(&value, (const char *)tensor->data + i * sizeof value, sizeof value);
    return value;
}

static double float_at(const adamoe_tensor *tensor, size_t i)
{
    float value;
    memcpy(&value, (const char *)tensor->data + i * sizeof value, sizeof value);
    return (double)value;
}

static void check_ids(const oracle *o, const char *path)
{
    const adamoe_tensor *ids = adamoe_safetensors_find(o->tensors, "expected.selected_experts");
    assert_non_null(ids);
    assert_int_equal(ids->elements, o->tokens * o->routing->rule.top_k);
    for (size_t i = 0; i < ids->elements; ++i) {
        if (integer_at(ids, i) != (int64_t)o->routing->id[i]) {
            fail_msg("%s: token %zu, place %zu: expert %u, expected %lld", path, i / o->routing->rule.top_k,
                     i % o->routing->rule.top_k, o->routing->id[i], (long long)integer_at(ids, i));
        }
    }
}

/* Returns the largest distance relative to max(1, |expected|). */
static double check_floats(const oracle *o, const char *path, const char *name, const float *got)
{
    const adamoe_tensor *expected = adamoe_safetensors_find(o->tensors, name);
    double largest = 0.0;
    for (size_t i = 0; expected != NULL && i < expected->elements; ++i) {
        const double e = float_at(expected, i), error = fabs((double)got[i] - e) / fmax(1.0, fabs(e));
        if (!(error <= 1e-5)) {
            fail_msg("%s: %s: element %zu: %.9g, expected %.9g", path, name, i, (double)got[i], e);
        }
        largest = fmax(largest, error);
    }
    return largest;
}

static void check_loss(const oracle *o, const char *path, const char *key, double got)
{
    const char *text = adamoe_safetensors_metadata(o->tensors, key);
    assert_non_null(text);
    if (!(fabs(got - strtod(text, NULL)) <= 1e-5)) {
        fail_msg("%s: %s: %.9g, expected %s", path, key, got, text);
    }
}

static double check_file(const char *path)
{
    oracle o = {0};
    compute(path, &o);
    check_ids(&o, path);
    double largest = check_floats(&o, path, "expected.router_logits", o.logits);
    largest = fmax(largest, check_floats(&o, path, "expected.routing_weights", o.routing->weight));
    largest = fmax(largest, check_floats(&o, path, "expected.output", o.output));
    largest = fmax(largest, check_floats(&o, path, "expected.output_f64_rounded", o.output));
    assert_non_null(adamoe_safetensors_find(o.tensors, "expected.output_f64_rounded"));

    const adamoe_tensor *counts = adamoe_safetensors_find(o.tensors, "expected.true_experts_per_token");
    assert_non_null(counts);
    for (size_t t = 0; t < o.tokens; ++t) {
        assert_int_equal(integer_at(counts, t), adamoe_routing_true_experts(o.routing, t));
    }
    const adamoe_balance_loss loss = adamoe_routing_balance_loss(o.routing, NULL);
    check_loss(&o, path, "plain_balance_loss", loss.switch_form);
    check_loss(&o, path, "null_averaged_balance_loss", loss.null_averaged);
    check_loss(&o, path, "released_code_balance_loss", loss.released);
    free_oracle(&o);
    return largest;
}

static size_t check_pattern(const char *pattern)
{
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0) {
        return 0;
    }
    const size_t count = found.gl_pathc;
    for (size_t i = 0; i < count; ++i) {
        const char *name = strrchr(found.gl_pathv[i], '/') + 1;
        print_message("%-36s largest error %.2e\n", name, check_file(found.gl_pathv[i]));
    }
    globfree(&found);
    return count;
}

static void golden_layers(void **state)
{
    (void)state;
    assert_int_equal(check_pattern(SOURCE_PATH("tests/golden/layer/*.safetensors")), 6);
}

static void authors_layers(void **state)
{
    (void)state;
    SKIP_WITHOUT(SHARED_PATH("oracle"));
    assert_true(check_pattern(SHARED_PATH("oracle/*.safetensors")) >= 6);
}

static void layers_of_the_open_rules(void **state)
{
    (void)state;
    SKIP_WITHOUT(SHARED_PATH("oracle/rules"));
    assert_true(check_pattern(SHARED_PATH("oracle/rules/*.safetensors")) >= 10);
}

/* The tie rule the other way round, higher index first, must not pass: otherwise the files prove nothing
 * about it. */
static void a_tie_broken_the_other_way_shows(void **state)
{
    (void)state;
    oracle o = {0};
    compute(SOURCE_PATH("tests/golden/layer/ties.safetensors"), &o);
    const size_t all = o.layer->experts + o.layer->null_experts, k = o.routing->rule.top_k;
    const adamoe_tensor *ids = adamoe_safetensors_find(o.tensors, "expected.selected_experts");
    size_t differences = 0;
    for (size_t t = 0; t < o.tokens; ++t) {
        const float *l = o.logits + t * all;
        bool taken[64] = {false};
        for (size_t j = 0; j < k; ++j) {
            size_t best = all;
            for (size_t i = 0; i < all; ++i) {
                if (!taken[i] && (best == all || l[i] >= l[best])) {
                    best = i;
                }
            }
            taken[best] = true;
            differences += (int64_t)best != integer_at(ids, t * k + j);
        }
    }
    assert_true(differences >= o.tokens);
    free_oracle(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_layers),
        cmocka_unit_test(authors_layers),
        cmocka_unit_test(layers_of_the_open_rules),
        cmocka_unit_test(a_tie_broken_the_other_way_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
