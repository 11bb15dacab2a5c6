/*
 * Gradients against finite differences in double.
 *
 * Weights are multiples of 2^-12 below 2^3 and steps are 2^-10, 2^-11 and 2^-12, so that a weight plus or
 * minus a step is a float32 number: the difference quotient is one of exactly the function whose gradient is
 * checked. Two Richardson steps remove its errors of order step^2 and step^4. What remains of order step^6,
 * and the rounding of the loss in double (2^-52 of it, over the step), are far below the 1e-6 that is asked.
 * A quotient means nothing where the selection of experts changes within the step, so every evaluation must
 * select what the first one did.
 */
#include "gradient_subject.h"

enum { MAX_CLASSES = 64 };

/* The same experts for every token, in whatever order: the order of those that are selected means nothing. */
static void assert_same_selection(const selection *seen, const selection *expected, size_t k)
{
    assert_int_equal(seen->count, expected->count);
    for (size_t i = 0; i < seen->count; ++i) {
        bool found = false;
        for (size_t j = i / k * k; j < i / k * k + k; ++j) {
            found = found || expected->id[j] == seen->id[i];
        }
        assert_true(found);
    }
}

static double loss_at(const subject *s, size_t i, float offset, const selection *expected)
{
    selection seen;
    const float kept = s->weight[i];
    s->weight[i] = kept + offset;
    assert_true((double)s->weight[i] == (double)kept + (double)offset);
    const double loss = evaluate(s, &seen, NULL).total;
    s->weight[i] = kept;
    assert_same_selection(&seen, expected, s->model.config.rule.top_k);
    return loss;
}

/* Romberg's extrapolation of three central differences. */
static double difference_quotient(const subject *s, size_t i, const selection *expected)
{
    double d[3];
    for (int level = 0; level < 3; ++level) {
        const float step = ldexpf(1.0f, -10 - level);
        d[level] = (loss_at(s, i, step, expected) - loss_at(s, i, -step, expected)) / (2.0 * (double)step);
    }
    const double first = (4.0 * d[1] - d[0]) / 3.0, second = (4.0 * d[2] - d[1]) / 3.0;
    return (16.0 * second - first) / 15.0;
}

/* A run of weights that are checked together. */
typedef struct parameter_class {
    const char *name;
    const double *gradient;
    size_t count;
} parameter_class;

static size_t list_classes(const subject *s, parameter_class *list)
{
    const adamoe_config *c = &s->model.config;
    const size_t d = c->hidden_size, q = c->heads * c->head_dim, kv = c->key_value_heads * c->head_dim;
    size_t n = 0;
    list[n++] = (parameter_class){"embedding", s->gradient->embedding, c->vocab_size * d};
    for (size_t layer = 0; layer < c->layers; ++layer) {
        const adamoe_block_gradient *g = &s->gradient->block[layer];
        list[n++] = (parameter_class){"input_norm", g->input_norm, d};
        list[n++] = (parameter_class){"post_attention_norm", g->post_attention_norm, d};
        list[n++] = (parameter_class){"q", g->attention.q, q * d};
        list[n++] = (parameter_class){"k", g->attention.k, kv * d};
        list[n++] = (parameter_class){"v", g->attention.v, kv * d};
        list[n++] = (parameter_class){"o", g->attention.o, q * d};
        if (c->architecture.biases) {
            list[n++] = (parameter_class){"q_bias", g->attention.q_bias, q};
            list[n++] = (parameter_class){"k_bias", g->attention.k_bias, kv};
            list[n++] = (parameter_class){"v_bias", g->attention.v_bias, kv};
        }
        if (c->architecture.output_bias) {
            list[n++] = (parameter_class){"o_bias", g->attention.o_bias, d};
        }
        if (c->architecture.query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE) {
            const bool all_heads = c->architecture.query_key_norm == ADAMOE_QUERY_KEY_NORM_WIDTH;
            list[n++] = (parameter_class){"q_norm", g->attention.q_norm, all_heads ? q : c->head_dim};
            list[n++] = (parameter_class){"k_norm", g->attention.k_norm, all_heads ? kv : c->head_dim};
        }
        if (c->architecture.shared_expert) {
            const size_t ff = c->shared_intermediate_size;
            list[n++] = (parameter_class){"shared w1", g->shared.expert.w1, ff * d};
            list[n++] = (parameter_class){"shared w3", g->shared.expert.w3, ff * d};
            list[n++] = (parameter_class){"shared w2", g->shared.expert.w2, ff * d};
            list[n++] = (parameter_class){"shared gate", g->shared.gate, d};
        }
        list[n++] = (parameter_class){"gate", g->moe.gate, c->architecture.dense ? 0 : c->experts * d};
        list[n++] = (parameter_class){"gate2", g->moe.gate2, c->null_experts * d};
        for (size_t e = 0; e < c->experts; ++e) {
            list[n++] = (parameter_class){"w1", g->moe.expert[e].w1, c->intermediate_size * d};
            list[n++] = (parameter_class){"w3", g->moe.expert[e].w3, c->intermediate_size * d};
            list[n++] = (parameter_class){"w2", g->moe.expert[e].w2, c->intermediate_size * d};
        }
    }
    list[n++] = (parameter_class){"final_norm", s->gradient->final_norm, d};
    if (!c->architecture.tied_head) {
        list[n++] = (parameter_class){"head", s->gradient->head, c->vocab_size * d};
    }
    assert_true(n <= MAX_CLASSES);
    return n;
}

/* At most `samples` elements of one class, spread over it. Relative to the element, or to the
 * root mean square of its class where the element is smaller: a component that happens to be 0
 * has no relative error. */
static double check_class(const subject *s, const parameter_class *class, size_t samples,
                          const selection *expected)
{
    const double scale = root_mean_square(class->gradient, class->count);
    const size_t stride = (class->count + samples - 1) / samples;
    double largest = 0.0;
    if (!(scale > 1e-5)) { /* 2^-52 of the loss over the smallest step, 2e-12, must be far below 1e-6 of it */
        fail_msg("%s: gradients of %.2g", class->name, scale);
    }
    for (size_t i = 0; i < class->count; i += stride) {
        const size_t at = (size_t)(class->gradient - s->gradient->values) + i;
        const double quotient = difference_quotient(s, at, expected), got = class->gradient[i];
        const double error = fabs(got - quotient) / fmax(fabs(got), scale);
        if (!(error < 1e-6)) {
            fail_msg("%s[%zu]: gradient %.12g, difference quotient %.12g", class->name, i, got, quotient);
        }
        largest = fmax(largest, error);
    }
    return largest;
}

static void check_gradient(const char *name, adamoe_config config, adamoe_objective objective, size_t samples)
{
    subject s;
    selection expected;
    parameter_class class[MAX_CLASSES];
    make_subject(config, objective, &s);
    find_weights(&s, &expected);
    const adamoe_training_loss loss = evaluate(&s, &expected, s.gradient);
    assert_int_equal(loss.targets, 11);
    assert_true(loss.total == loss.cross_entropy + loss.balance);
    assert_true(config.architecture.dense || (objective.alpha != 0.0) == (loss.balance != 0.0));
    double largest = 0.0;
    for (size_t c = 0, classes = list_classes(&s, class); c < classes; ++c) {
        largest =
            class[c].count == 0 ? largest : fmax(largest, check_class(&s, &class[c], samples, &expected));
    }
    print_message("%-28s loss %.3f + %.3f, largest relative error %.1e, %zu null of %zu, %zu tokens all "
                  "null\n",
                  name, loss.cross_entropy, loss.balance, largest, expected.null, expected.count,
                  expected.all_null);
    free_subject(&s);
}

static void every_class(void **state)
{
    (void)state;
    check_gradient("every class", base_config, with_balance, 20);
}

/* Without a balance loss, norm `true` and zero null experts leave gate2 without
 * a gradient: see exact_ties. */
static void norms_and_null_kinds(void **state)
{
    (void)state;
    static const char *const name[4][2] = {{"norm true, zero", "norm true, identity"},
                                           {"norm all, zero", "norm all, identity"},
                                           {"norm none, zero", "norm none, identity"},
                                           {"norm every, zero", "norm every, identity"}};
    for (int norm = ADAMOE_NORM_TRUE; norm <= ADAMOE_NORM_EVERY; ++norm) {
        for (int kind = ADAMOE_NULL_ZERO; kind <= ADAMOE_NULL_IDENTITY; ++kind) {
            adamoe_config config = base_config;
            config.rule = (adamoe_rule){3, (adamoe_norm)norm, (adamoe_null_kind)kind};
            check_gradient(name[norm][kind], config, with_balance, 3);
        }
    }
}

static void balance_forms_and_poolings(void **state)
{
    (void)state;
    static const char *const name[3][2] = {{"null_averaged, pooled", "null_averaged, summed"},
                                           {"switch, pooled", "switch, summed"},
                                           {"released, pooled", "released, summed"}};
    for (int form = ADAMOE_BALANCE_NULL_AVERAGED; form <= ADAMOE_BALANCE_RELEASED; ++form) {
        for (int pooling = ADAMOE_BALANCE_POOLED; pooling <= ADAMOE_BALANCE_SUMMED; ++pooling) {
            check_gradient(
                name[form][pooling], base_config,
                (adamoe_objective){4.0, (adamoe_balance_form)form, (adamoe_balance_pooling)pooling}, 6);
        }
    }
}

static void other_shapes(void **state)
{
    (void)state;
    adamoe_config config = base_config;
    config.null_experts = 0;
    config.rule.top_k = 2;
    config.architecture.tied_head = true;
    config.sliding_window = 0;
    check_gradient("vanilla, tied, no window", config, with_balance, 6);
    config = base_config;
    config.architecture.dense = true;
    config.experts = config.rule.top_k = 1;
    config.null_experts = 0;
    config.key_value_heads = 4;
    check_gradient("dense", config, with_balance, 6);
    config = base_config;
    config.null_experts = 6;
    config.rule.top_k = 2;
    config.key_value_heads = 1;
    check_gradient("more null than true", config, with_balance, 6);
}

/* What families have beside Mixtral's parts. */
static void other_families(void **state)
{
    (void)state;
    adamoe_config config = base_config;
    config.architecture.query_key_norm = ADAMOE_QUERY_KEY_NORM_HEADS;
    check_gradient("norm of heads", config, with_balance, 6);
    config.architecture.query_key_norm = ADAMOE_QUERY_KEY_NORM_WIDTH;
    config.architecture.biases = true;
    config.rule.norm = ADAMOE_NORM_NONE;
    check_gradient("norm of the width, biases", config, with_balance, 6);
    config = base_config;
    config.architecture.biases = config.architecture.shared_expert = true;
    config.shared_intermediate_size = 4;
    check_gradient("shared expert, biases", config, with_balance, 6);
    config = base_config;
    config.architecture.multipliers = config.architecture.tied_head = true;
    config.multiplier = (adamoe_multipliers){1.5, 0.75, 0.625, 1.25};
    check_gradient("multipliers, tied", config, with_balance, 6);
    config.architecture.biases = config.architecture.output_bias = true;
    check_gradient("multipliers, a bias of o", config, with_balance, 6);
    config = base_config;
    config.architecture.clipped = true;
    config.clip = 0.3125;
    check_gradient("limits of q, k and v", config, with_balance, 6);
    config.clip = 0.37; /* a step of 2^-10 of a weight carries no value over this limit */
    config.architecture.query_key_norm = ADAMOE_QUERY_KEY_NORM_WIDTH;
    config.architecture.biases = config.architecture.output_bias = true;
    check_gradient("limits after norms, biases", config, with_balance, 6);
    config = base_config;
    config.rope_scaling = (adamoe_rope_scaling){.type = ADAMOE_ROPE_LLAMA3,
                                                .factor = 4.0,
                                                .low_frequency_factor = 1.0,
                                                .high_frequency_factor = 4.0,
                                                .original_context = 16.0};
    check_gradient("llama3 rotary", config, with_balance, 6);
}

/* Two slots, of which one goes to both tokens, with a scale of their inputs: y and its derivatives with
 * respect to x and to the weights of the plan, for a fixed direction dy. The loss is dy · y. */
static void a_plan_with_slots(void **state)
{
    (void)state;
    enum { D = 3, FF = 2, SLOTS = 2, PLACES = 3 };
    float w[2][3][FF * D];
    double x[SLOTS * D], dy[2 * D], y[2 * D], work[64], dx[SLOTS * D] = {0.0}, dcombine[PLACES] = {0.0};
    double combine[PLACES] = {0.75, -0.5, 1.25};
    adamoe_expert expert[2];
    uint64_t random = 5;
    for (size_t e = 0; e < 2; ++e) {
        for (size_t i = 0; i < 3 * FF * D; ++i) {
            w[e][i / (FF * D)][i % (FF * D)] = (float)(next_random(&random) % 200) / 100.0f - 1.0f;
        }
        expert[e] = (adamoe_expert){.w1 = {w[e][0], ADAMOE_F32, FF, D},
                                    .w3 = {w[e][1], ADAMOE_F32, FF, D},
                                    .w2 = {w[e][2], ADAMOE_F32, D, FF}};
    }
    for (size_t i = 0; i < 2 * D; ++i) {
        x[i] = (double)(next_random(&random) % 200) / 100.0 - 1.0;
        dy[i] = (double)(next_random(&random) % 200) / 100.0 - 1.0;
    }
    const adamoe_layer layer = {.hidden_size = D, .intermediate_size = FF, .experts = 2, .expert = expert};
    const uint32_t offset[] = {0, 1, 2}, input[] = {0, 1}, token_offset[] = {0, 1, 3}, row[] = {0, 0, 1};
    const float dispatch[] = {0.5f, 2.0f};
    const adamoe_plan plan = {.tokens = 2,
                              .inputs = SLOTS,
                              .rows = 2,
                              .experts = 2,
                              .offset = offset,
                              .input = input,
                              .dispatch = dispatch,
                              .token_offset = token_offset,
                              .token_row = row};
    const adamoe_plan_weights weights = {combine, NULL}, derivative = {dcombine, NULL};
    assert_true(adamoe_plan_backward_work(&layer) <= 64);
    adamoe_plan_backward(&layer, x, &plan, &weights, dy, dx, NULL, &derivative, work);

    double *const variable[] = {x, combine}, *const got[] = {dx, dcombine};
    const size_t count[] = {SLOTS * D, PLACES};
    for (size_t v = 0; v < 2; ++v) {
        for (size_t i = 0; i < count[v]; ++i) {
            const double kept = variable[v][i], step = 0x1p-13;
            double quotient = 0.0;
            for (int sign = -1; sign <= 1; sign += 2) {
                variable[v][i] = kept + sign * step;
                adamoe_plan_double(&layer, x, &plan, &weights, y, work);
                for (size_t c = 0; c < 2 * D; ++c) {
                    quotient += sign * dy[c] * y[c] / (2.0 * step);
                }
            }
            variable[v][i] = kept;
            assert_true(fabs(got[v][i] - quotient) < 1e-6 && fabs(quotient) > 1e-3);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class),
        cmocka_unit_test(norms_and_null_kinds),
        cmocka_unit_test(balance_forms_and_poolings),
        cmocka_unit_test(other_shapes),
        cmocka_unit_test(other_families),
        cmocka_unit_test(a_plan_with_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
