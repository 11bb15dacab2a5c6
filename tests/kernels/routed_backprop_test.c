/*
 * Training with a router of the table in the place of the rule: the rules that are rows of the table give the same
 * loss and gradient as without; the gradient of every other router is the slope of its loss; states move on.
 *
 * A slope is taken along the gradient g itself, of the gates alone and of all else, by central differences whose losses
 * differ by about 2e-3 and 1e-3, where float32 products leave some 1e-6 of them uncertain. A seed is taken only where
 * both steps agree to 0.2 %: elsewhere a step is too long for a slope, or changes a selection, and such a jump counts
 * twice in the shorter one. What is asked, 1 %, sees any part of the gradient that is missing or doubled.
 */
#include "test.h"
#include "machine/team.h"
#include "train/model/backprop.h"

#include <math.h>

enum { SEQUENCES = 3, TOKENS = 23, MOST = 32768 };

static const size_t sequence_offset[SEQUENCES + 1] = {0, 9, 10, TOKENS};

typedef struct subject {
    adamoe_parameters *parameters;
    adamoe_team *team;
    adamoe_backprop *backprop;
    adamoe_model_router router; /* without a name: none */
    float gradient[MOST];
    uint32_t token[TOKENS], target[TOKENS];
} subject;

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* name is NULL for the config's rule. */
static void make_subject(const char *name, const char *settings, size_t null_rows, uint64_t seed, subject *s)
{
    const adamoe_config config = {.vocab_size = 31,
                                  .hidden_size = 16,
                                  .intermediate_size = 12,
                                  .layers = 2,
                                  .heads = 2,
                                  .key_value_heads = 1,
                                  .head_dim = 8,
                                  .experts = 4,
                                  .null_experts = null_rows,
                                  .rule = {null_rows > 0 ? 3 : 2, ADAMOE_NORM_TRUE, ADAMOE_NULL_ZERO},
                                  .rms_norm_eps = 1e-5,
                                  .rope_theta = 1e4,
                                  .context = 64};
    *s = (subject){.parameters = NULL};
    assert_ok(adamoe_parameters_create(&config, &s->parameters));
    assert_true(s->parameters->count <= MOST);
    for (size_t i = 0; i < s->parameters->count; ++i) {
        s->parameters->value[i] = ((float)(next_random(&seed) % 16385) - 8192.0f) / 10240.0f;
    }
    for (size_t t = 0; t < TOKENS; ++t) {
        s->token[t] = (uint32_t)(next_random(&seed) % config.vocab_size);
        s->target[t] = (uint32_t)(next_random(&seed) % config.vocab_size);
    }
    assert_ok(adamoe_team_create(2, &s->team));
    assert_ok(adamoe_backprop_create(s->parameters, s->team, ADAMOE_ALL_PARAMETERS, &s->backprop));
    if (name != NULL) {
        const adamoe_router *router = adamoe_router_find(name);
        double value[ADAMOE_ROUTER_PARAMETERS];
        char text[256], *rest = text;
        (void)snprintf(text, sizeof text, "%s", settings);
        adamoe_router_defaults(router, value);
        for (char *key = strtok_r(rest, " =", &rest); key != NULL; key = strtok_r(rest, " =", &rest)) {
            assert_ok(adamoe_router_set(router, value, key, strtok_r(rest, " =", &rest)));
        }
        assert_ok(adamoe_model_router_create(router, value, 2, 4, null_rows, &s->router));
        assert_ok(adamoe_backprop_use_router(s->backprop, &s->router));
    }
}

static void free_subject(subject *s)
{
    adamoe_backprop_free(s->backprop);
    adamoe_team_free(s->team);
    adamoe_parameters_free(s->parameters);
    adamoe_model_router_free(&s->router);
}

static adamoe_backprop_result run(subject *s, float *gradient)
{
    const adamoe_training_batch batch = {SEQUENCES, sequence_offset, s->token, s->target};
    const adamoe_objective objective = {
        0.5,
        s->parameters->model.config.null_experts > 0 ? ADAMOE_BALANCE_NULL_AVERAGED : ADAMOE_BALANCE_SWITCH,
        ADAMOE_BALANCE_SUMMED};
    adamoe_backprop_result result;
    assert_ok(adamoe_backprop_run(s->backprop, &batch, &objective, NULL, &result, gradient));
    return result;
}

/* Only the balance loss is defined otherwise (it is summed over layers without normalisation), so that it is compared
 * at an alpha of 0. */
static void rules_are_rows_of_the_table(void **state)
{
    (void)state;
    static const char *const name[2] = {"top_k", "adamoe"}, *const settings[2] = {"top_k=2", "top_k=3"};
    static subject by_rule, by_router;
    for (size_t i = 0; i < 2; ++i) {
        make_subject(NULL, "", 4 * i, 5, &by_rule);
        make_subject(name[i], settings[i], 4 * i, 5, &by_router);
        const adamoe_training_batch batch = {SEQUENCES, sequence_offset, by_rule.token, by_rule.target};
        const adamoe_objective objective = {0.0, ADAMOE_BALANCE_SWITCH, ADAMOE_BALANCE_POOLED};
        adamoe_backprop_result expected, got;
        assert_ok(
            adamoe_backprop_run(by_rule.backprop, &batch, &objective, NULL, &expected, by_rule.gradient));
        assert_ok(
            adamoe_backprop_run(by_router.backprop, &batch, &objective, NULL, &got, by_router.gradient));
        double difference = 0.0, norm = 0.0;
        for (size_t j = 0; j < by_rule.parameters->count; ++j) {
            difference += pow((double)by_rule.gradient[j] - (double)by_router.gradient[j], 2.0);
            norm += pow((double)by_rule.gradient[j], 2.0);
        }
        assert_true(norm > 0.01 && sqrt(difference / norm) < 1e-5);
        assert_true(fabs(expected.loss.total - got.loss.total) < 1e-6 * expected.loss.total);
        assert_true(expected.load == got.load);
        free_subject(&by_rule);
        free_subject(&by_router);
    }
}

/* The gradient's own squared norm over the parameters that are `gates` or are not. */
static double squared_norm(const subject *s, bool gates)
{
    double sum = 0.0;
    for (size_t i = 0; i < s->parameters->parameters; ++i) {
        const adamoe_parameter *p = &s->parameters->parameter[i];
        for (size_t j = p->first; j < p->first + p->rows * p->columns; ++j) {
            sum += (p->kind == ADAMOE_ROUTER) == gates ? pow((double)s->gradient[j], 2.0) : 0.0;
        }
    }
    return sum;
}

static void move(subject *s, bool gates, const float *kept, double step)
{
    for (size_t i = 0; i < s->parameters->parameters; ++i) {
        const adamoe_parameter *p = &s->parameters->parameter[i];
        for (size_t j = p->first; j < p->first + p->rows * p->columns; ++j) {
            const double along = (p->kind == ADAMOE_ROUTER) == gates ? (double)s->gradient[j] : 0.0;
            s->parameters->value[j] = (float)((double)kept[j] + step * along);
        }
    }
}

/* (L(w + step g) - L(w - step g)) / (2 step) */
static double slope(subject *s, bool gates, const float *kept, double step)
{
    double quotient = 0.0;
    for (int sign = -1; sign <= 1; sign += 2) {
        move(s, gates, kept, sign * step);
        quotient += sign * run(s, NULL).loss.total / (2.0 * step);
    }
    move(s, gates, kept, 0.0);
    return quotient;
}

/* False where the seed is of no use. */
static bool check_slope(const char *name, subject *s, bool gates)
{
    static float kept[MOST];
    float state[32];
    const size_t states = s->router.layers * s->router.states;
    assert_true(states <= 32);
    memcpy(state, s->router.state, states * sizeof *state);
    (void)run(s, s->gradient);
    memcpy(s->router.state, state, states * sizeof *state); /* the slope is that of the same state */
    const double norm = squared_norm(s, gates), step = 1e-3 / norm;
    memcpy(kept, s->parameters->value, s->parameters->count * sizeof *kept);
    const double whole = slope(s, gates, kept, step), half = slope(s, gates, kept, step / 2.0);
    if (!(norm > 1e-3 && fabs(whole - half) < 0.002 * fabs(half))) {
        return false;
    }
    if (!(fabs(half - norm) < 0.01 * norm)) {
        fail_msg("%s, %s: slope %.6g, the gradient's squared norm is %.6g", name,
                 gates ? "gates" : "all but the gates", half, norm);
    }
    return true;
}

typedef struct variant {
    const char *router, *settings;
    size_t null_rows;
} variant;

static const variant variants[] = {
    {"adamoe", "top_k=3", 4},
    {"top_k", "top_k=2", 0},
    {"softmax_token_choice", "top_k=2 capacity_factor=0.8", 0},
    {"sinkhorn_token_choice", "top_k=2", 0},
    {"softmax_expert_choice", "capacity_factor=2", 0},
    {"sinkhorn_expert_choice", "capacity_factor=2", 0},
    {"sparse_expert_choice", "capacity_factor=2 iterations=5", 0},
    {"locmoe", "nodes=2 capacity_factor=2", 0},
    {"locmoe_plus", "nodes=2 top_k=2", 0},
    {"top_p", "tau=0.6", 0},
    {"loss_free", "top_k=2 normalise=1 rate=0.01", 0},
    {"longcat", "top_k=4 expected_k=2 scale=1 rate=0.01 groups=2 alpha=0.1", 4},
    {"moe_plus_plus", "top_k=3 copy=1 zero=2", 3},
    {"null_copies", "top_k=3 rho=0.5", 1},
    {"remoe", "target_k=2 lambda=0.01", 0},
};

static void gradients_are_slopes(void **state)
{
    (void)state;
    static subject s;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; ++i) {
        const variant *v = &variants[i];
        for (size_t gates = 0; gates < 2; ++gates) {
            const bool has_gate = adamoe_router_has_gate(adamoe_router_find(v->router));
            uint64_t seed = 0;
            for (bool found = gates == 1 && !has_gate; !found;) {
                make_subject(v->router, v->settings, v->null_rows, ++seed, &s);
                found = check_slope(v->router, &s, gates == 1);
                free_subject(&s);
                if (seed >= 100 && !found) {
                    fail_msg("%s: no seed will do", v->router);
                }
            }
        }
    }
}

static void states_move_with_every_gradient(void **state)
{
    (void)state;
    static const char *const with_state[] = {"loss_free", "longcat", "remoe"};
    static subject s;
    for (size_t i = 0; i < 3; ++i) {
        const variant *v = variants;
        while (strcmp(v->router, with_state[i]) != 0) {
            ++v;
        }
        make_subject(v->router, v->settings, v->null_rows, 3, &s);
        const size_t count = s.router.layers * s.router.states;
        float before[32];
        assert_in_range(count, 2, 32);
        memcpy(before, s.router.state, count * sizeof *before);
        (void)run(&s, NULL);
        assert_memory_equal(before, s.router.state, count * sizeof *before);
        (void)run(&s, s.gradient);
        assert_memory_not_equal(before, s.router.state, count * sizeof *before);
        free_subject(&s);
    }
}

static void what_a_model_has_not_is_refused(void **state)
{
    (void)state;
    double value[ADAMOE_ROUTER_PARAMETERS];
    adamoe_model_router router;
    const adamoe_router *soft = adamoe_router_find("soft_moe"), *plus = adamoe_router_find("moe_plus_plus");
    adamoe_router_defaults(soft, value);
    assert_error(adamoe_model_router_create(soft, value, 2, 4, 0, &router), ADAMOE_BAD_INPUT, "router.phi");
    adamoe_router_defaults(plus, value);
    assert_ok(adamoe_router_set(plus, value, "constant", "1"));
    assert_error(adamoe_model_router_create(plus, value, 2, 4, 1, &router), ADAMOE_BAD_INPUT,
                 "constant experts have vectors of their own");
}

/* A capacity is what makes a router look at the rest of the batch. */
static void causal_is_without_capacity(void **state)
{
    (void)state;
    static const char *const causal[] = {"adamoe",  "top_k",       "memoe", "top_p",        "loss_free",
                                         "longcat", "null_copies", "remoe", "moe_plus_plus"};
    double value[ADAMOE_ROUTER_PARAMETERS];
    for (size_t i = 0; adamoe_router_at(i) != NULL; ++i) {
        bool expected = false;
        for (size_t j = 0; j < sizeof causal / sizeof *causal; ++j) {
            expected = expected || strcmp(causal[j], adamoe_router_at(i)->name) == 0;
        }
        adamoe_router_defaults(adamoe_router_at(i), value);
        assert_int_equal(adamoe_router_is_causal(adamoe_router_at(i), value), expected);
    }
    const adamoe_router *plus = adamoe_router_find("moe_plus_plus");
    adamoe_router_defaults(plus, value);
    assert_ok(adamoe_router_set(plus, value, "capacity_factor", "1"));
    assert_false(adamoe_router_is_causal(plus, value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_are_rows_of_the_table),     cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(states_move_with_every_gradient), cmocka_unit_test(what_a_model_has_not_is_refused),
        cmocka_unit_test(causal_is_without_capacity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
