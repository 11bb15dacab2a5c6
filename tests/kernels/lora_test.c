/*
 * Low-rank adapters: they start at the frozen weights, merge as the formula says, leave other weights alone,
 * and their gradient is the formula's. All numbers are small integers over powers of two, so that every sum
 * is exact and nothing is forgiven.
 */
#include "test.h"
#include "machine/team.h"
#include "train/lora/lora.h"

enum { RANK = 4 };

/* As the paper adapts. */
#define ADAPTED ((unsigned)ADAMOE_ROUTER | (unsigned)ADAMOE_EXPERTS)

static const adamoe_config config = {.vocab_size = 11,
                                     .hidden_size = 18,
                                     .intermediate_size = 21,
                                     .layers = 2,
                                     .heads = 2,
                                     .key_value_heads = 1,
                                     .head_dim = 4,
                                     .experts = 2,
                                     .null_experts = 2,
                                     .rule = {2, ADAMOE_NORM_TRUE, ADAMOE_NULL_ZERO},
                                     .rms_norm_eps = 1e-5,
                                     .rope_theta = 1e4,
                                     .context = 16};

typedef struct subject {
    adamoe_team *team;
    adamoe_parameters *parameters;
    adamoe_lora *lora;
    float *before;
} subject;

static void make_subject(subject *s)
{
    *s = (subject){.team = NULL};
    assert_ok(adamoe_team_create(2, &s->team));
    assert_ok(adamoe_parameters_create(&config, &s->parameters));
    s->before = calloc(s->parameters->count, sizeof *s->before);
    assert_non_null(s->before);
    for (size_t i = 0; i < s->parameters->count; ++i) {
        s->before[i] = s->parameters->value[i] = (float)((int)(i * 7 % 17) - 8);
    }
    assert_ok(adamoe_lora_create(s->parameters, s->team, ADAPTED, RANK, 8.0, 3, &s->lora));
}

static void free_subject(subject *s)
{
    adamoe_lora_free(s->lora);
    adamoe_parameters_free(s->parameters);
    adamoe_team_free(s->team);
    free(s->before);
}

static void test_it_starts_at_the_frozen_weights(void **state)
{
    (void)state;
    subject s;
    size_t count = 0, nonzero = 0;
    make_subject(&s);
    adamoe_lora_merge(s.lora);
    assert_memory_equal(s.before, s.parameters->value, s.parameters->count * sizeof *s.before);
    const float *value = adamoe_lora_values(s.lora, &count);
    for (size_t i = 0; i < count; ++i) {
        nonzero += value[i] != 0.0f;
    }
    assert_in_range(nonzero, count / 4, count - 1); /* A is random, B is 0 */
    free_subject(&s);
}

static void copy_other_kinds(subject *s)
{
    for (size_t i = 0; i < s->parameters->parameters; ++i) {
        const adamoe_parameter *p = &s->parameters->parameter[i];
        if ((p->kind & ADAPTED) == 0) {
            memcpy(s->parameters->value + p->first, s->before + p->first,
                   p->rows * p->columns * sizeof(float));
        }
    }
}

/* alpha / rank is 2. */
static void test_merge_and_gradient(void **state)
{
    (void)state;
    subject s;
    size_t count = 0, at = 0, adapted = 0;
    make_subject(&s);
    float *value = adamoe_lora_values(s.lora, &count);
    float *dvalue = calloc(count, sizeof *dvalue), *dw = calloc(s.parameters->count, sizeof *dw);
    assert_true(dvalue != NULL && dw != NULL);
    for (size_t i = 0; i < count; ++i) {
        value[i] = (float)((int)(i * 5 % 13) - 6) / 4.0f;
    }
    for (size_t i = 0; i < s.parameters->count; ++i) {
        dw[i] = (float)((int)(i * 3 % 11) - 5);
    }
    memset(s.parameters->value, 0, s.parameters->count * sizeof *s.before);
    copy_other_kinds(&s);
    adamoe_lora_merge(s.lora); /* from W0, whatever was merged before */
    adamoe_lora_gradient(s.lora, dw, dvalue);
    for (size_t p = 0; p < s.parameters->parameters; ++p) {
        const adamoe_parameter *w = &s.parameters->parameter[p];
        if ((w->kind & ADAPTED) == 0) {
            assert_memory_equal(s.parameters->value + w->first, s.before + w->first,
                                w->rows * w->columns * sizeof(float));
            continue;
        }
        const float *a = value + at, *b = a + RANK * w->columns;
        const float *da = dvalue + at, *db = da + RANK * w->columns;
        for (size_t i = 0; i < w->rows; ++i) {
            for (size_t j = 0; j < w->columns; ++j) {
                float expected = s.before[w->first + i * w->columns + j];
                for (size_t r = 0; r < RANK; ++r) {
                    expected += 2.0f * b[i * RANK + r] * a[r * w->columns + j];
                }
                assert_true(s.parameters->value[w->first + i * w->columns + j] == expected);
            }
        }
        for (size_t r = 0; r < RANK; ++r) {
            for (size_t j = 0; j < w->columns; ++j) {
                float expected = 0.0f;
                for (size_t i = 0; i < w->rows; ++i) {
                    expected += 2.0f * b[i * RANK + r] * dw[w->first + i * w->columns + j];
                }
                assert_true(da[r * w->columns + j] == expected);
            }
            for (size_t i = 0; i < w->rows; ++i) {
                float expected = 0.0f;
                for (size_t j = 0; j < w->columns; ++j) {
                    expected += 2.0f * dw[w->first + i * w->columns + j] * a[r * w->columns + j];
                }
                assert_true(db[i * RANK + r] == expected);
            }
        }
        at += RANK * (w->rows + w->columns);
        ++adapted;
    }
    assert_int_equal(at, count);
    assert_int_equal(adapted, 2 * (2 + 2 * 3));
    free(dvalue);
    free(dw);
    free_subject(&s);
}

static void test_errors(void **state)
{
    (void)state;
    subject s;
    adamoe_lora *lora = NULL;
    make_subject(&s);
    assert_error(adamoe_lora_create(s.parameters, s.team, ADAPTED, 0, 1.0, 1, &lora), ADAMOE_BAD_INPUT,
                 "rank 0");
    assert_error(adamoe_lora_create(s.parameters, s.team, ADAMOE_GAINS, 1, 1.0, 1, &lora), ADAMOE_BAD_INPUT,
                 "no matrix");
    free_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_starts_at_the_frozen_weights),
        cmocka_unit_test(test_merge_and_gradient),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
