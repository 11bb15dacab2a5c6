/*
 * The fast gradient against the reference in double, for every instruction set and every kind of weight; the
 * same bits for any number of threads; errors.
 *
 * A bound through a whole model is not derived. In its place stands a first-order estimate: rounding a
 * product of K terms in float32 is like changing each of its weights by some sqrt(K) u relative to it (u =
 * 2^-24), at random, once on the way forward and once on the way back. How far such changes move the gradient
 * of each weight matrix the reference tells: all weights are changed by random relative amounts of at most D
 * = 2^-14, some times, and the largest change of each gradient, in the Euclidean norm, is taken times sqrt(2
 * K) u / D. K is the largest number of terms of any sum. An estimate that is above 1e-4 of the gradient
 * itself would prove little and fails the test.
 */
#include "test.h"
#include "machine/team.h"
#include "train/model/backprop.h"
#include "vector/vector_ops.h"

enum { SEQUENCES = 5, TOKENS = 61, CHANGES = 8, MOST_PARAMETERS = 64 };

static const size_t sequence_offset[SEQUENCES + 1] = {0, 1, 20, 20, 43, TOKENS};

typedef struct subject {
    adamoe_parameters *parameters;
    adamoe_objective objective;
    uint32_t token[TOKENS], target[TOKENS];
} subject;

static const adamoe_config base = {.vocab_size = 53,
                                   .hidden_size = 20,
                                   .intermediate_size = 27,
                                   .layers = 2,
                                   .heads = 6,
                                   .key_value_heads = 2,
                                   .head_dim = 10,
                                   .experts = 4,
                                   .null_experts = 4,
                                   .rule = {3, ADAMOE_NORM_TRUE, ADAMOE_NULL_ZERO},
                                   .rms_norm_eps = 1e-5,
                                   .rope_theta = 1e4,
                                   .sliding_window = 7,
                                   .context = 64};

/* With all that families have besides. */
static const adamoe_config rich = {.vocab_size = 53,
                                   .hidden_size = 20,
                                   .intermediate_size = 27,
                                   .shared_intermediate_size = 33,
                                   .layers = 2,
                                   .heads = 6,
                                   .key_value_heads = 2,
                                   .head_dim = 10,
                                   .experts = 4,
                                   .null_experts = 4,
                                   .rule = {3, ADAMOE_NORM_TRUE, ADAMOE_NULL_IDENTITY},
                                   .architecture = {.query_key_norm = ADAMOE_QUERY_KEY_NORM_HEADS,
                                                    .biases = true,
                                                    .output_bias = true,
                                                    .clipped = true,
                                                    .shared_expert = true,
                                                    .multipliers = true},
                                   .multiplier = {1.5, 0.4, 0.6, 1.7},
                                   .clip = 0.75,
                                   .rms_norm_eps = 1e-5,
                                   .rope_theta = 1e4,
                                   .sliding_window = 7,
                                   .context = 64};

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* -1 .. 1 */
static float random_float(uint64_t *seed)
{
    return ((float)(next_random(seed) % 16385) - 8192.0f) / 8192.0f;
}

static adamoe_training_batch batch_of(const subject *s)
{
    return (adamoe_training_batch){SEQUENCES, sequence_offset, s->token, s->target};
}

static void make_subject(const adamoe_config *config, adamoe_objective objective, subject *s)
{
    /* With some seeds two logits nearly tie, and the selection changes with the weights. */
    uint64_t seed = 6;
    *s = (subject){.objective = objective};
    assert_ok(adamoe_parameters_create(config, &s->parameters));
    assert_in_range(s->parameters->parameters, 1, MOST_PARAMETERS);
    for (size_t i = 0; i < s->parameters->count; ++i) {
        s->parameters->value[i] = 0.5f * random_float(&seed);
    }
    for (size_t t = 0; t < TOKENS; ++t) {
        s->token[t] = (uint32_t)(next_random(&seed) % config->vocab_size);
        s->target[t] = t % 3 == 2 ? ADAMOE_NO_TARGET : (uint32_t)(next_random(&seed) % config->vocab_size);
    }
}

/* What a run selected. */
typedef struct selection {
    uint64_t sum; /* of the selected experts, in a way that depends on where they are selected */
    size_t seen;
} selection;

static void see_selection(void *context, size_t layer, const adamoe_routing *routing)
{
    selection *s = context;
    const size_t k = routing->rule.top_k;
    for (size_t i = 0; i < routing->tokens * k; ++i) {
        s->sum += (layer + 3) * (i / k + 1) * (UINT64_C(1) << (2 * routing->id[i]));
        ++s->seen;
    }
}

static adamoe_training_loss reference(const subject *s, selection *seen, adamoe_model_gradient **gradient)
{
    const adamoe_training_batch batch = batch_of(s);
    const adamoe_observer observer = {seen, see_selection};
    adamoe_training_loss loss;
    assert_ok(adamoe_model_gradient_create(&s->parameters->model.config, gradient));
    assert_ok(adamoe_model_loss(&s->parameters->model, &batch, &s->objective, &observer, &loss, *gradient));
    return loss;
}

/* Where the reference keeps the gradient of each parameter, in the order of the list. */
static void list_reference(const adamoe_parameters *p, const adamoe_model_gradient *g, const double **list)
{
    const adamoe_config *c = &p->model.config;
    size_t n = 0;
    list[n++] = g->embedding;
    for (size_t layer = 0; layer < c->layers; ++layer) {
        const adamoe_block_gradient *b = &g->block[layer];
        list[n++] = b->input_norm;
        list[n++] = b->attention.q;
        list[n++] = b->attention.k;
        list[n++] = b->attention.v;
        list[n++] = b->attention.o;
        if (c->architecture.biases) {
            list[n++] = b->attention.q_bias;
            list[n++] = b->attention.k_bias;
            list[n++] = b->attention.v_bias;
        }
        if (c->architecture.output_bias) {
            list[n++] = b->attention.o_bias;
        }
        if (c->architecture.query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE) {
            list[n++] = b->attention.q_norm;
            list[n++] = b->attention.k_norm;
        }
        list[n++] = b->post_attention_norm;
        if (!c->architecture.dense) {
            list[n++] = b->moe.gate;
            list[n++] = b->moe.gate2;
        }
        if (c->architecture.shared_expert) {
            list[n++] = b->shared.expert.w1;
            list[n++] = b->shared.expert.w3;
            list[n++] = b->shared.expert.w2;
            list[n++] = b->shared.gate;
        }
        for (size_t e = 0; e < c->experts; ++e) {
            list[n++] = b->moe.expert[e].w1;
            list[n++] = b->moe.expert[e].w3;
            list[n++] = b->moe.expert[e].w2;
        }
    }
    list[n++] = g->final_norm;
    if (!c->architecture.tied_head) {
        list[n++] = g->head;
    }
    assert_int_equal(n, p->parameters);
}

/* The gradient, by parameter, and how far the rounding of float32 may move it: three standard deviations, for rounding is
 * as good as random, and what moves a small parameter, the rows of null experts above all, is nearly one number: a single
 * deviation would be exceeded by every third build. */
typedef struct expectation {
    adamoe_training_loss loss;
    adamoe_model_gradient *gradient;
    const double *of[MOST_PARAMETERS];
    double estimate[MOST_PARAMETERS], norm[MOST_PARAMETERS];
    double loss_estimate;
} expectation;

static double distance(const double *a, const double *b, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; ++i) {
        const double difference = a[i] - (b == NULL ? 0.0 : b[i]);
        sum += difference * difference;
    }
    return sqrt(sum);
}

/* Terms of the longest sum. */
static size_t longest_sum(const adamoe_config *c)
{
    const size_t candidates[] = {TOKENS, c->vocab_size, c->hidden_size, c->intermediate_size,
                                 c->heads * c->head_dim};
    size_t longest = 0;
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; ++i) {
        longest = candidates[i] > longest ? candidates[i] : longest;
    }
    return longest;
}

static void change_weights(subject *s, const float *kept, uint64_t *seed)
{
    for (size_t i = 0; i < s->parameters->count; ++i) {
        s->parameters->value[i] = kept[i] * (1.0f + 0x1p-17f * random_float(seed));
    }
}

/* Three times the root mean square over all changes, when each was added. */
static void add_change(double *estimate, double moved)
{
    *estimate = hypot(*estimate, 3.0 * moved / sqrt((double)CHANGES));
}

static void expect(subject *s, expectation *e)
{
    const adamoe_parameters *p = s->parameters;
    selection seen = {0, 0};
    uint64_t seed = 99;
    *e = (expectation){.gradient = NULL};
    e->loss = reference(s, &seen, &e->gradient);
    list_reference(p, e->gradient, e->of);
    float *kept = calloc(p->count, sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, p->value, p->count * sizeof *kept);
    const double factor = sqrt(2.0 * (double)longest_sum(&p->model.config)) * 0x1p-24 / 0x1p-17;
    for (int change = 0; change < CHANGES; ++change) {
        adamoe_model_gradient *changed = NULL;
        const double *of[MOST_PARAMETERS];
        selection other = {0, 0};
        change_weights(s, kept, &seed);
        const adamoe_training_loss loss = reference(s, &other, &changed);
        assert_true(other.sum == seen.sum);
        list_reference(p, changed, of);
        for (size_t i = 0; i < p->parameters; ++i) {
            const size_t count = p->parameter[i].rows * p->parameter[i].columns;
            add_change(&e->estimate[i], factor * distance(of[i], e->of[i], count));
            e->norm[i] = distance(e->of[i], NULL, count);
        }
        add_change(&e->loss_estimate, factor * fabs(loss.total - e->loss.total));
        adamoe_model_gradient_free(changed);
    }
    memcpy(p->value, kept, p->count * sizeof *kept);
    free(kept);
}

/* The largest ratio of an error to its estimate. */
static double judge(const adamoe_parameters *p, const expectation *e, const float *gradient)
{
    double worst = 0.0;
    for (size_t i = 0; i < p->parameters; ++i) {
        const adamoe_parameter *parameter = &p->parameter[i];
        const size_t count = parameter->rows * parameter->columns;
        double squares = 0.0;
        for (size_t j = 0; j < count; ++j) {
            const double error = (double)gradient[parameter->first + j] - e->of[i][j];
            squares += error * error;
        }
        if (count == 0) {
            continue;
        }
        if (!(e->estimate[i] <= 1e-4 * e->norm[i])) {
            fail_msg("%s: an estimate of %g for a gradient of %g proves little", parameter->name,
                     e->estimate[i], e->norm[i]);
        }
        worst = fmax(worst,
                     e->norm[i] == 0.0 ? (squares > 0.0 ? HUGE_VAL : 0.0) : sqrt(squares) / e->estimate[i]);
    }
    return worst;
}

static adamoe_backprop_result compute(const subject *s, size_t set, uint32_t threads, unsigned trained,
                                      float *gradient)
{
    const adamoe_training_batch batch = batch_of(s);
    adamoe_backprop_result result;
    adamoe_team *team = NULL;
    adamoe_backprop *backprop = NULL;
    assert_ok(adamoe_team_create(threads, &team));
    assert_ok(adamoe_backprop_create(s->parameters, team, trained, &backprop));
    if (set != SIZE_MAX) {
        assert_ok(adamoe_backprop_use(backprop, set));
    }
    assert_ok(adamoe_backprop_run(backprop, &batch, &s->objective, NULL, &result, gradient));
    adamoe_backprop_free(backprop);
    adamoe_team_free(team);
    return result;
}

static float *new_gradient(const subject *s)
{
    float *gradient = malloc(s->parameters->count * sizeof *gradient);
    assert_non_null(gradient);
    memset(gradient, 0xff, s->parameters->count * sizeof *gradient); /* NaN: all must be written */
    return gradient;
}

static void check(const char *name, adamoe_config config, adamoe_objective objective)
{
    subject s;
    expectation e;
    bool runs_here;
    make_subject(&config, objective, &s);
    expect(&s, &e);
    for (size_t set = 0; adamoe_vector_ops_at(set, &runs_here) != NULL; ++set) {
        if (!runs_here) {
            continue;
        }
        float *gradient = new_gradient(&s);
        const adamoe_backprop_result r = compute(&s, set, 2, ADAMOE_ALL_PARAMETERS, gradient);
        const double worst = judge(s.parameters, &e, gradient);
        const double loss = fabs(r.loss.total - e.loss.total) / (e.loss_estimate + 0x1p-24 * e.loss.total);
        print_message("%s, %s: error / estimate: gradient %.3f, loss %.3f\n", name,
                      adamoe_vector_ops_at(set, &runs_here)->name, worst, loss);
        assert_true(worst <= 1.0 && loss <= 1.0);
        assert_int_equal(r.loss.targets, e.loss.targets);
        free(gradient);
    }
    adamoe_model_gradient_free(e.gradient);
    adamoe_parameters_free(s.parameters);
}

static const adamoe_objective paper = {0.02, ADAMOE_BALANCE_NULL_AVERAGED, ADAMOE_BALANCE_POOLED};

static void test_adamoe(void **state)
{
    (void)state;
    check("AdaMoE", base, paper);
}

static void test_identity_experts_and_norm_all(void **state)
{
    (void)state;
    adamoe_config config = base;
    config.rule.norm = ADAMOE_NORM_ALL;
    config.rule.null_kind = ADAMOE_NULL_IDENTITY;
    config.sliding_window = 0;
    config.key_value_heads = 6;
    check("identity", config, (adamoe_objective){1.0, ADAMOE_BALANCE_SWITCH, ADAMOE_BALANCE_SUMMED});
}

static void test_no_norm_and_a_tied_head(void **state)
{
    (void)state;
    adamoe_config config = base;
    config.rule.norm = ADAMOE_NORM_NONE;
    config.architecture.tied_head = true;
    config.key_value_heads = 4; /* six query heads on four: groups of unequal size */
    check("norm none", config, (adamoe_objective){0.5, ADAMOE_BALANCE_RELEASED, ADAMOE_BALANCE_POOLED});
}

static void test_vanilla(void **state)
{
    (void)state;
    adamoe_config config = base;
    config.null_experts = 0;
    config.rule.top_k = 2;
    check("vanilla", config, paper);
}

static void test_dense(void **state)
{
    (void)state;
    adamoe_config config = base;
    config.architecture.dense = true;
    config.experts = 1;
    config.null_experts = 0;
    config.rule.top_k = 1;
    config.hidden_size = 70;
    check("dense", config, paper);
}

/* What families have beside Mixtral's parts, in two configurations. */
static const adamoe_multipliers some_multipliers = {1.5, 0.4, 0.6, 1.7};

static void test_norms_of_heads_and_a_shared_expert(void **state)
{
    (void)state;
    adamoe_config config = base;
    config.shared_intermediate_size = 33;
    config.architecture.query_key_norm = ADAMOE_QUERY_KEY_NORM_HEADS;
    config.architecture.biases = config.architecture.shared_expert = true;
    check("heads, biases, shared", config, paper);
}

static void test_limits_and_a_bias_of_the_output(void **state)
{
    (void)state;
    adamoe_config config = base;
    config.architecture.clipped = true;
    config.clip = 0.5;
    check("limits", config, paper);
    config.architecture.biases = config.architecture.output_bias = true;
    config.architecture.multipliers = true;
    config.multiplier = some_multipliers;
    check("limits, biases, of o too, multipliers", config, paper);
}

static void test_norms_of_the_width_and_multipliers(void **state)
{
    (void)state;
    adamoe_config config = base;
    config.shared_intermediate_size = 11;
    config.multiplier = some_multipliers;
    config.rule.norm = ADAMOE_NORM_EVERY;
    config.rule.null_kind = ADAMOE_NULL_IDENTITY;
    config.architecture.query_key_norm = ADAMOE_QUERY_KEY_NORM_WIDTH;
    config.architecture.multipliers = config.architecture.tied_head = config.architecture.shared_expert =
        true;
    check("width, multipliers", config, paper);
}

/* A mistake of one part in a thousand in one weight matrix is seen. */
static void test_a_small_mistake_is_seen(void **state)
{
    (void)state;
    subject s;
    expectation e;
    make_subject(&base, paper, &s);
    expect(&s, &e);
    float *gradient = new_gradient(&s);
    compute(&s, SIZE_MAX, 1, ADAMOE_ALL_PARAMETERS, gradient);
    for (size_t i = 0; i < s.parameters->parameters; ++i) {
        const adamoe_parameter *p = &s.parameters->parameter[i];
        for (size_t j = 0; j < p->rows * p->columns; ++j) {
            gradient[p->first + j] *= 1.001f;
        }
        assert_true(judge(s.parameters, &e, gradient) > 1.0);
        for (size_t j = 0; j < p->rows * p->columns; ++j) {
            gradient[p->first + j] = (float)e.of[i][j];
        }
    }
    free(gradient);
    adamoe_model_gradient_free(e.gradient);
    adamoe_parameters_free(s.parameters);
}

static void test_threads_give_the_same_bits(void **state)
{
    (void)state;
    subject s;
    make_subject(&rich, paper, &s);
    float *expected = new_gradient(&s), *gradient = new_gradient(&s);
    const adamoe_backprop_result one = compute(&s, SIZE_MAX, 1, ADAMOE_ALL_PARAMETERS, expected);
    for (uint32_t threads = 2; threads <= 4; ++threads) {
        const adamoe_backprop_result many = compute(&s, SIZE_MAX, threads, ADAMOE_ALL_PARAMETERS, gradient);
        assert_memory_equal(gradient, expected, s.parameters->count * sizeof *gradient);
        assert_true(many.loss.total == one.loss.total);
    }
    free(expected);
    free(gradient);
    adamoe_parameters_free(s.parameters);
}

/* What is trained has the same bits whatever else is; the rest is 0. */
static void test_frozen_weights_have_no_gradient(void **state)
{
    (void)state;
    subject s;
    make_subject(&rich, paper, &s);
    float *all = new_gradient(&s), *gradient = new_gradient(&s);
    compute(&s, SIZE_MAX, 2, ADAMOE_ALL_PARAMETERS, all);
    for (unsigned kind = 1; kind < ADAMOE_ALL_PARAMETERS; kind <<= 1) {
        compute(&s, SIZE_MAX, 2, kind, gradient);
        for (size_t i = 0; i < s.parameters->parameters; ++i) {
            const adamoe_parameter *p = &s.parameters->parameter[i];
            for (size_t j = p->first; j < p->first + p->rows * p->columns; ++j) {
                assert_true(gradient[j] == (p->kind == kind ? all[j] : 0.0f));
            }
        }
    }
    free(all);
    free(gradient);
    adamoe_parameters_free(s.parameters);
}

/* Batches of different sizes one after the other, and one without a gradient. */
static void test_batches_do_not_see_each_other(void **state)
{
    (void)state;
    subject s;
    make_subject(&base, paper, &s);
    const adamoe_training_batch whole = batch_of(&s);
    adamoe_training_batch small = whole;
    small.sequences = 2;
    float *first = new_gradient(&s), *again = new_gradient(&s);
    adamoe_backprop_result a, b;
    adamoe_team *team = NULL;
    adamoe_backprop *backprop = NULL;
    assert_ok(adamoe_team_create(2, &team));
    assert_ok(adamoe_backprop_create(s.parameters, team, ADAMOE_ALL_PARAMETERS, &backprop));
    assert_ok(adamoe_backprop_run(backprop, &small, &paper, NULL, &a, first));
    assert_ok(adamoe_backprop_run(backprop, &whole, &paper, NULL, &b, again));
    assert_ok(adamoe_backprop_run(backprop, &whole, &paper, NULL, &b, NULL));
    assert_ok(adamoe_backprop_run(backprop, &small, &paper, NULL, &b, again));
    assert_memory_equal(first, again, s.parameters->count * sizeof *first);
    assert_true(a.loss.total == b.loss.total && a.load == b.load);
    adamoe_backprop_free(backprop);
    adamoe_team_free(team);
    free(first);
    free(again);
    adamoe_parameters_free(s.parameters);
}

static void test_errors(void **state)
{
    (void)state;
    subject s;
    make_subject(&base, paper, &s);
    const adamoe_training_batch batch = batch_of(&s);
    adamoe_backprop_result result;
    adamoe_team *team = NULL;
    adamoe_backprop *backprop = NULL;
    assert_ok(adamoe_team_create(2, &team));
    assert_ok(adamoe_backprop_create(s.parameters, team, ADAMOE_ALL_PARAMETERS, &backprop));
    assert_error(adamoe_backprop_use(backprop, 1000), ADAMOE_BAD_INPUT, "1000");
    s.token[22] = (uint32_t)base.vocab_size;
    assert_error(adamoe_backprop_run(backprop, &batch, &paper, NULL, &result, NULL), ADAMOE_BAD_INPUT,
                 "sequence 3: token 2: id 53");
    s.token[22] = 0;
    float *gate =
        s.parameters->value + adamoe_parameter_place(s.parameters, &s.parameters->model.block[1].moe.gate);
    const float kept = gate[0];
    gate[0] = NAN;
    assert_error(adamoe_backprop_run(backprop, &batch, &paper, NULL, &result, NULL), ADAMOE_BAD_INPUT,
                 "layer 1: token 0: logit of expert 0 is NaN");
    gate[0] = kept;
    s.parameters->value[adamoe_parameter_place(s.parameters, &s.parameters->model.head)] = INFINITY;
    assert_error(adamoe_backprop_run(backprop, &batch, &paper, NULL, &result, NULL), ADAMOE_BAD_INPUT,
                 "token 0 of the batch: the loss is not finite");
    for (size_t t = 0; t < TOKENS; ++t) {
        s.target[t] = ADAMOE_NO_TARGET;
    }
    assert_error(adamoe_backprop_run(backprop, &batch, &paper, NULL, &result, NULL), ADAMOE_BAD_INPUT,
                 "no token has a target");
    adamoe_backprop_free(backprop);
    adamoe_team_free(team);
    adamoe_parameters_free(s.parameters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamoe),
        cmocka_unit_test(test_identity_experts_and_norm_all),
        cmocka_unit_test(test_no_norm_and_a_tied_head),
        cmocka_unit_test(test_vanilla),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_norms_of_heads_and_a_shared_expert),
        cmocka_unit_test(test_limits_and_a_bias_of_the_output),
        cmocka_unit_test(test_norms_of_the_width_and_multipliers),
        cmocka_unit_test(test_a_small_mistake_is_seen),
        cmocka_unit_test(test_threads_give_the_same_bits),
        cmocka_unit_test(test_frozen_weights_have_no_gradient),
        cmocka_unit_test(test_batches_do_not_see_each_other),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
