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
#include "test.h"
#include "batch.h"
#include "gradient_model.h"

enum { TOKENS = 16, SEQUENCES = 3, MAX_SELECTED = 2 * TOKENS * 8, MAX_CLASSES = 64 };

static const size_t sequence_offset[SEQUENCES + 1] = {0, 5, 12, TOKENS};

/* A model whose weights lie in one array, each where its gradient lies in gradient->values. */
typedef struct subject {
    adamoe_model model;
    adamoe_block block[2];
    adamoe_expert expert[2 * 8];
    adamoe_model_gradient *gradient;
    float *weight;
    uint32_t token[TOKENS], target[TOKENS];
    adamoe_objective objective;
} subject;

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static adamoe_matrix matrix_at(const subject *s, const double *gradient, size_t rows, size_t columns)
{
    return (adamoe_matrix){s->weight + (gradient - s->gradient->values), ADAMOE_F32, rows, columns};
}

static void make_block(subject *s, size_t layer)
{
    const adamoe_config *c = &s->model.config;
    const adamoe_block_gradient *g = &s->gradient->block[layer];
    const size_t d = c->hidden_size, ff = c->intermediate_size;
    const size_t q = c->heads * c->head_dim, kv = c->key_value_heads * c->head_dim;
    adamoe_expert *expert = s->expert + layer * c->experts;
    for (size_t e = 0; e < c->experts; ++e) {
        expert[e] = (adamoe_expert){.w1 = matrix_at(s, g->moe.expert[e].w1, ff, d),
                                    .w3 = matrix_at(s, g->moe.expert[e].w3, ff, d),
                                    .w2 = matrix_at(s, g->moe.expert[e].w2, d, ff)};
    }
    s->block[layer] = (adamoe_block){
        .input_norm = matrix_at(s, g->input_norm, 1, d),
        .post_attention_norm = matrix_at(s, g->post_attention_norm, 1, d),
        .attention = {.q = matrix_at(s, g->attention.q, q, d),
                      .k = matrix_at(s, g->attention.k, kv, d),
                      .v = matrix_at(s, g->attention.v, kv, d),
                      .o = matrix_at(s, g->attention.o, d, q)},
        .moe = {.hidden_size = d,
                .intermediate_size = ff,
                .experts = c->experts,
                .null_experts = c->null_experts,
                .gate = matrix_at(s, g->moe.gate, c->dense ? 0 : c->experts, d),
                .gate2 = matrix_at(s, g->moe.gate2, c->null_experts, d),
                .expert = expert},
    };
}

/* Multiples of 2^-12 between -3/4 and 3/4: with these widths the logits of router and head are of order 1. */
static void randomise(subject *s, uint64_t seed)
{
    const size_t vocab = s->model.config.vocab_size;
    for (size_t i = 0; i < s->gradient->count; ++i) {
        s->weight[i] = ((float)(next_random(&seed) % 6145) - 3072.0f) / 4096.0f;
    }
    for (size_t t = 0; t < TOKENS; ++t) {
        s->token[t] = (uint32_t)(next_random(&seed) % vocab);
        s->target[t] = t % 3 == 2 ? ADAMOE_NO_TARGET : (uint32_t)(next_random(&seed) % vocab);
    }
}

static void make_subject(adamoe_config config, adamoe_objective objective, subject *s)
{
    *s = (subject){.model = {.config = config}, .objective = objective};
    assert_true(config.layers <= 2 && config.experts <= 8);
    assert_ok(adamoe_model_gradient_create(&config, &s->gradient));
    s->weight = calloc(s->gradient->count, sizeof *s->weight);
    assert_non_null(s->weight);
    for (size_t layer = 0; layer < config.layers; ++layer) {
        make_block(s, layer);
    }
    s->model.block = s->block;
    s->model.embedding = matrix_at(s, s->gradient->embedding, config.vocab_size, config.hidden_size);
    s->model.head = matrix_at(s, s->gradient->head, config.vocab_size, config.hidden_size);
    s->model.final_norm = matrix_at(s, s->gradient->final_norm, 1, config.hidden_size);
}

static void free_subject(subject *s)
{
    adamoe_model_gradient_free(s->gradient);
    free(s->weight);
}

/* What an evaluation selected, and how far from selecting otherwise it was. */
typedef struct selection {
    uint32_t id[MAX_SELECTED];
    size_t count, all_null, null;
    double
        margin; /* the smallest distance between the last logit that is selected and the first that is not */
} selection;

static void see_selection(void *context, size_t layer, const adamoe_routing *routing)
{
    selection *seen = context;
    const size_t k = routing->rule.top_k, all = routing->experts + routing->null_experts;
    (void)layer;
    assert_true(seen->count + routing->tokens * k <= MAX_SELECTED);
    memcpy(seen->id + seen->count, routing->id, routing->tokens * k * sizeof *routing->id);
    seen->count += routing->tokens * k;
    for (size_t t = 0; t < routing->tokens; ++t) {
        const float *logits = routing->logits + t * all;
        const uint32_t *id = routing->id + t * k;
        const size_t true_experts = adamoe_routing_true_experts(routing, t);
        seen->null += k - true_experts;
        seen->all_null += true_experts == 0;
        for (size_t i = 0; i < all; ++i) {
            bool selected = false;
            for (size_t j = 0; j < k; ++j) {
                selected = selected || id[j] == i;
            }
            if (!selected) {
                seen->margin = fmin(seen->margin, (double)logits[id[k - 1]] - (double)logits[i]);
            }
        }
    }
}

static adamoe_training_loss evaluate(const subject *s, selection *seen, adamoe_model_gradient *gradient)
{
    const adamoe_training_batch batch = {SEQUENCES, sequence_offset, s->token, s->target};
    const adamoe_observer observer = {seen, see_selection};
    adamoe_training_loss loss;
    *seen = (selection){.margin = HUGE_VAL};
    assert_ok(adamoe_model_loss(&s->model, &batch, &s->objective, &observer, &loss, gradient));
    return loss;
}

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
        list[n++] = (parameter_class){"gate", g->moe.gate, c->dense ? 0 : c->experts * d};
        list[n++] = (parameter_class){"gate2", g->moe.gate2, c->null_experts * d};
        for (size_t e = 0; e < c->experts; ++e) {
            list[n++] = (parameter_class){"w1", g->moe.expert[e].w1, c->intermediate_size * d};
            list[n++] = (parameter_class){"w3", g->moe.expert[e].w3, c->intermediate_size * d};
            list[n++] = (parameter_class){"w2", g->moe.expert[e].w2, c->intermediate_size * d};
        }
    }
    list[n++] = (parameter_class){"final_norm", s->gradient->final_norm, d};
    if (!c->tied_head) {
        list[n++] = (parameter_class){"head", s->gradient->head, c->vocab_size * d};
    }
    assert_true(n <= MAX_CLASSES);
    return n;
}

static double root_mean_square(const double *x, size_t count)
{
    double squares = 0.0;
    for (size_t i = 0; i < count; ++i) {
        squares += x[i] * x[i];
    }
    return sqrt(squares / (double)count);
}

/* At most `samples` elements of one class, spread over it. Relative to the element, or to the root mean
 * square of its class where the element is smaller: a component that happens to be 0 has no relative error.
 */
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

/* The first seed whose selection is further from changing than the steps reach, and with which every expert
 * is selected: an expert without a token has no gradient to check. */
static void find_weights(subject *s, selection *seen)
{
    bool found = false;
    for (uint64_t seed = 1; !found && seed < 100000; ++seed) {
        bool used[16] = {false};
        randomise(s, seed);
        evaluate(s, seen, NULL);
        found = s->model.config.dense || seen->margin > 0.02;
        found = found && (s->model.config.null_experts < s->model.config.rule.top_k || seen->all_null > 0);
        for (size_t i = 0; i < seen->count; ++i) {
            const size_t k = s->model.config.rule.top_k, layer = i / (TOKENS * k);
            if (seen->id[i] < s->model.config.experts && s->target[i / k % TOKENS] != ADAMOE_NO_TARGET) {
                used[layer * 8 + seen->id[i]] = true;
            }
        }
        for (size_t e = 0; e < 8 * s->model.config.layers && found && !s->model.config.dense; ++e) {
            found = used[e] || e % 8 >= s->model.config.experts;
        }
    }
    assert_true(found);
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
    assert_true(config.dense || (objective.alpha != 0.0) == (loss.balance != 0.0));
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

/* Grouped queries, a window shorter than the sequences, rotary, an untied head. */
static const adamoe_config base = {.vocab_size = 7,
                                   .hidden_size = 6,
                                   .intermediate_size = 3,
                                   .layers = 2,
                                   .heads = 4,
                                   .key_value_heads = 2,
                                   .head_dim = 4,
                                   .experts = 3,
                                   .null_experts = 3,
                                   .rule = {.top_k = 3},
                                   .rms_norm_eps = 1e-2,
                                   .rope_theta = 100.0,
                                   .sliding_window = 3};

static const adamoe_objective with_balance = {.alpha = 0.5};

static void every_class(void **state)
{
    (void)state;
    check_gradient("every class", base, with_balance, 20);
}

/* Without a balance loss, norm `true` and zero null experts leave gate2 without a gradient: see exact_ties.
 */
static void norms_and_null_kinds(void **state)
{
    (void)state;
    static const char *const name[3][2] = {{"norm true, zero", "norm true, identity"},
                                           {"norm all, zero", "norm all, identity"},
                                           {"norm none, zero", "norm none, identity"}};
    for (int norm = ADAMOE_NORM_TRUE; norm <= ADAMOE_NORM_NONE; ++norm) {
        for (int kind = ADAMOE_NULL_ZERO; kind <= ADAMOE_NULL_IDENTITY; ++kind) {
            adamoe_config config = base;
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
                name[form][pooling], base,
                (adamoe_objective){4.0, (adamoe_balance_form)form, (adamoe_balance_pooling)pooling}, 6);
        }
    }
}

static void other_shapes(void **state)
{
    (void)state;
    adamoe_config config = base;
    config.null_experts = 0;
    config.rule.top_k = 2;
    config.tied_head = true;
    config.sliding_window = 0;
    check_gradient("vanilla, tied, no window", config, with_balance, 6);
    config = base;
    config.dense = true;
    config.experts = config.rule.top_k = 1;
    config.null_experts = 0;
    config.key_value_heads = 4;
    check_gradient("dense", config, with_balance, 6);
    config = base;
    config.null_experts = 6;
    config.rule.top_k = 2;
    config.key_value_heads = 1;
    check_gradient("more null than true", config, with_balance, 6);
}

/* Mean cross-entropy of the logits that the definition's forward gives, sequence by sequence. */
static double forward_cross_entropy(const subject *s, const adamoe_observer *observer)
{
    const size_t vocab = s->model.config.vocab_size;
    float logits[TOKENS * 16];
    double sum = 0.0;
    size_t targets = 0;
    assert_true(vocab <= 16);
    for (size_t q = 0; q < SEQUENCES; ++q) {
        const size_t first = sequence_offset[q], count = sequence_offset[q + 1] - first;
        adamoe_cache *cache = NULL;
        assert_ok(adamoe_cache_create(&s->model.config, count, &cache));
        assert_ok(adamoe_model_forward(&s->model, cache, s->token + first, count, observer, NULL, logits));
        adamoe_cache_free(cache);
        for (size_t t = 0; t < count; ++t) {
            const uint32_t target = s->target[first + t];
            if (target != ADAMOE_NO_TARGET) {
                sum += adamoe_log_sum_exp(logits + t * vocab, vocab) - (double)logits[t * vocab + target];
                ++targets;
            }
        }
    }
    return sum / (double)targets;
}

/* The routings of a batch, for the definition's balance loss. */
typedef struct kept_routings {
    adamoe_routing *layer[2];
} kept_routings;

static void keep_routing(void *context, size_t layer, const adamoe_routing *routing)
{
    kept_routings *kept = context;
    assert_ok(adamoe_routing_create(routing->logits, routing->tokens, routing->experts, routing->null_experts,
                                    routing->rule, &kept->layer[layer]));
}

/* The function that is differentiated is the definition's, up to the definition's roundings to float32:
 * logits of the models of model_test agree within 1e-5, and a cross-entropy moves by at most twice what
 * logits do. */
static void the_loss_is_that_of_the_forward(void **state)
{
    (void)state;
    for (int norm = ADAMOE_NORM_TRUE; norm <= ADAMOE_NORM_NONE; ++norm) {
        const adamoe_balance_pooling pooling =
            norm == ADAMOE_NORM_ALL ? ADAMOE_BALANCE_SUMMED : ADAMOE_BALANCE_POOLED;
        subject s;
        selection seen, again = {.margin = HUGE_VAL};
        adamoe_config config = base;
        config.rule.null_kind = ADAMOE_NULL_IDENTITY;
        make_subject(config, (adamoe_objective){.alpha = 1.0, .pooling = (adamoe_balance_pooling)pooling},
                     &s);
        find_weights(&s, &seen);
        const adamoe_observer observer = {&again, see_selection};
        const adamoe_training_loss loss = evaluate(&s, &seen, NULL);
        assert_true(fabs(loss.cross_entropy - forward_cross_entropy(&s, &observer)) < 2e-5);
        assert_int_equal(again.null, seen.null);

        kept_routings kept = {{NULL, NULL}};
        const adamoe_observer keeper = {&kept, keep_routing};
        const adamoe_training_batch batch = {SEQUENCES, sequence_offset, s.token, s.target};
        adamoe_training_loss unused;
        assert_ok(adamoe_model_loss(&s.model, &batch, &s.objective, &keeper, &unused, NULL));
        const adamoe_balance_loss expected = adamoe_model_balance_loss(
            (const adamoe_routing *const *)kept.layer, 2, s.objective.pooling, NULL);
        assert_true(fabs(loss.balance - expected.null_averaged) < 1e-6);
        assert_true(fabs(expected.null_averaged - expected.switch_form) > 1e-3);
        adamoe_routing_free(kept.layer[0]);
        adamoe_routing_free(kept.layer[1]);
        free_subject(&s);
    }
}

/* Without a balance loss the gradient of a batch is the mean of its sequences' gradients, each with the
 * weight of its targets: no sequence sees another. Calls add up. */
static void sequences_add_up(void **state)
{
    (void)state;
    subject s;
    selection seen;
    adamoe_model_gradient *sum = NULL;
    make_subject(base, (adamoe_objective){.alpha = 0.0}, &s);
    find_weights(&s, &seen);
    evaluate(&s, &seen, s.gradient);
    assert_ok(adamoe_model_gradient_create(&base, &sum));
    for (size_t q = 0; q < SEQUENCES; ++q) {
        const size_t first = sequence_offset[q], offset[] = {0, sequence_offset[q + 1] - first};
        const adamoe_training_batch batch = {1, offset, s.token + first, s.target + first};
        adamoe_training_loss loss;
        adamoe_model_gradient *one = NULL;
        assert_ok(adamoe_model_gradient_create(&base, &one));
        assert_ok(adamoe_model_loss(&s.model, &batch, &s.objective, NULL, &loss, one));
        for (size_t i = 0; i < sum->count; ++i) {
            sum->values[i] += (double)loss.targets / 11.0 * one->values[i];
        }
        adamoe_model_gradient_free(one);
    }
    for (size_t i = 0; i < sum->count; ++i) {
        assert_true(fabs(sum->values[i] - s.gradient->values[i]) < 1e-12);
    }
    evaluate(&s, &seen, s.gradient);
    for (size_t i = 0; i < sum->count; ++i) {
        assert_true(fabs(2.0 * sum->values[i] - s.gradient->values[i]) < 1e-12);
    }
    adamoe_model_gradient_free(sum);
    free_subject(&s);
}

/* gate2 starts as copies of gate's rows (spec section 2.1), so that true and null experts tie exactly: the
 * lower index is selected, and nothing flows to the weights of those that are not; they share only in the
 * softmax. */
static void exact_ties(void **state)
{
    (void)state;
    subject s;
    selection seen;
    make_subject(base, (adamoe_objective){.alpha = 0.0}, &s);
    randomise(&s, 1);
    for (size_t layer = 0; layer < 2; ++layer) {
        const adamoe_layer *moe = &s.block[layer].moe;
        memcpy((void *)(uintptr_t)moe->gate2.data, moe->gate.data, 3 * 6 * sizeof(float));
    }
    evaluate(&s, &seen, s.gradient);
    for (size_t i = 0; i < seen.count; i += 3) {
        assert_int_equal(seen.id[i + 1], seen.id[i] + 3); /* the null copy follows the true expert */
        assert_true(seen.id[i + 2] < 3);
    }
    for (size_t layer = 0; layer < 2; ++layer) {
        for (size_t i = 0; i < 3 * 6; ++i) { /* norm `true` without a balance loss: null rows have no part */
            assert_true(s.gradient->block[layer].moe.gate2[i] == 0.0);
        }
        assert_true(root_mean_square(s.gradient->block[layer].moe.gate, 3 * 6) > 1e-4);
    }
    free_subject(&s);
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

/* A frozen weight has no array: the gradients of the others are the same bits. */
static void frozen_weights(void **state)
{
    (void)state;
    subject whole, part;
    selection seen;
    make_subject(base, with_balance, &whole);
    make_subject(base, with_balance, &part);
    find_weights(&whole, &seen);
    find_weights(&part, &seen);
    evaluate(&whole, &seen, whole.gradient);
    adamoe_model_gradient only_gates = *part.gradient;
    adamoe_block_gradient block[2];
    for (size_t layer = 0; layer < 2; ++layer) {
        block[layer] = (adamoe_block_gradient){.moe = {.gate = part.gradient->block[layer].moe.gate,
                                                       .gate2 = part.gradient->block[layer].moe.gate2}};
    }
    only_gates.embedding = only_gates.final_norm = only_gates.head = NULL;
    only_gates.block = block;
    evaluate(&part, &seen, &only_gates);
    for (size_t layer = 0; layer < 2; ++layer) {
        assert_memory_equal(block[layer].moe.gate, whole.gradient->block[layer].moe.gate,
                            3 * 6 * sizeof(double));
        assert_memory_equal(block[layer].moe.gate2, whole.gradient->block[layer].moe.gate2,
                            3 * 6 * sizeof(double));
    }
    assert_true(root_mean_square(part.gradient->embedding, 7 * 6) == 0.0);
    free_subject(&whole);
    free_subject(&part);
}

static void errors_name_the_place(void **state)
{
    (void)state;
    subject s;
    make_subject(base, with_balance, &s);
    randomise(&s, 1);
    const adamoe_training_batch batch = {SEQUENCES, sequence_offset, s.token, s.target};
    adamoe_training_loss loss;
    s.token[6] = 7;
    assert_error(adamoe_model_loss(&s.model, &batch, &s.objective, NULL, &loss, s.gradient), ADAMOE_BAD_INPUT,
                 "sequence 1: token 1: id 7");
    s.token[6] = 0;
    s.target[15] = 7;
    assert_error(adamoe_model_loss(&s.model, &batch, &s.objective, NULL, &loss, s.gradient), ADAMOE_BAD_INPUT,
                 "sequence 2: token 3: id");
    for (size_t t = 0; t < TOKENS; ++t) {
        s.target[t] = ADAMOE_NO_TARGET;
    }
    assert_error(adamoe_model_loss(&s.model, &batch, &s.objective, NULL, &loss, s.gradient), ADAMOE_BAD_INPUT,
                 "no token has a target");
    s.target[3] = 0;
    const size_t gate2 = (size_t)(s.gradient->block[1].moe.gate2 - s.gradient->values);
    s.weight[gate2] = NAN;
    assert_error(adamoe_model_loss(&s.model, &batch, &s.objective, NULL, &loss, s.gradient), ADAMOE_BAD_INPUT,
                 "layer 1: token 0: logit of expert 3 is NaN");
    s.weight[gate2] = 0.0f;
    s.weight[s.gradient->head - s.gradient->values] = INFINITY;
    assert_error(adamoe_model_loss(&s.model, &batch, &s.objective, NULL, &loss, s.gradient), ADAMOE_BAD_INPUT,
                 "token 3 of the batch: the loss is");
    assert_true(root_mean_square(s.gradient->values, s.gradient->count) == 0.0);
    free_subject(&s);

    adamoe_config huge = base;
    huge.vocab_size = SIZE_MAX / 4;
    assert_error(adamoe_model_gradient_create(&huge, &s.gradient), ADAMOE_ENVIRONMENT, "out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class),
        cmocka_unit_test(norms_and_null_kinds),
        cmocka_unit_test(balance_forms_and_poolings),
        cmocka_unit_test(other_shapes),
        cmocka_unit_test(the_loss_is_that_of_the_forward),
        cmocka_unit_test(sequences_add_up),
        cmocka_unit_test(exact_ties),
        cmocka_unit_test(a_plan_with_slots),
        cmocka_unit_test(frozen_weights),
        cmocka_unit_test(errors_name_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
