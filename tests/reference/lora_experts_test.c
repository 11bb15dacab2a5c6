/*
 * LoRA experts on a frozen map: the gradient against finite differences in double and, with value and balance
 * loss, against PyTorch (tests/golden/lora_experts.py); ties, all-null tokens, and what is refused.
 */
#include "test.h"
#include "lora/lora_experts.h"
#include "safetensors/safetensors.h"
#include "router.h"

enum { TOKENS = 12, IN = 7, OUT = 6, RANK = 3, MAX_FLOATS = 512 };

/* A map whose trained matrices follow one another in one array: router, a, b. */
typedef struct subject {
    adamoe_lora_experts map;
    adamoe_rule rule;
    float frozen[OUT * IN], value[MAX_FLOATS];
    double gradient[MAX_FLOATS], x[TOKENS * IN], dx[TOKENS * IN], dy[TOKENS * OUT], y[TOKENS * OUT];
    double slope[16], sums[16];
    size_t count;
    adamoe_routing *routing; /* of the values as they are made */
} subject;

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Multiples of 2^-12 between -3/4 and 3/4: plus or minus a step they are float32 numbers. */
static double grid(uint64_t *state)
{
    return ((double)(next_random(state) % 6145) - 3072.0) / 4096.0;
}

static void make_subject(size_t n, size_t m, size_t k, adamoe_norm norm, uint64_t seed, subject *s)
{
    memset(s, 0, sizeof *s);
    const size_t rows = k == 0 ? 0 : n + m;
    float *at = s->value;
    s->rule = (adamoe_rule){.top_k = k == 0 ? 1 : k, .norm = norm};
    s->map = (adamoe_lora_experts){.frozen = {s->frozen, ADAMOE_F32, OUT, IN},
                                   .router = {at, ADAMOE_F32, rows, IN},
                                   .a = {at + rows * IN, ADAMOE_F32, n * RANK, IN},
                                   .b = {at + (rows + n * RANK) * IN, ADAMOE_F32, n * RANK, OUT},
                                   .experts = n,
                                   .null_experts = m,
                                   .rank = RANK,
                                   .scale = 1.75};
    s->count = (rows + n * RANK) * IN + n * RANK * OUT;
    assert_true(s->count <= MAX_FLOATS && n + m <= 16);
    for (size_t i = 0; i < s->count; ++i) {
        s->value[i] = (float)grid(&seed);
    }
    for (size_t i = 0; i < OUT * IN; ++i) {
        s->frozen[i] = (float)grid(&seed);
    }
    for (size_t i = 0; i < TOKENS * IN; ++i) {
        s->x[i] = grid(&seed);
    }
    for (size_t i = 0; i < TOKENS * OUT; ++i) {
        s->dy[i] = grid(&seed);
    }
    for (size_t i = 0; i < n + m; ++i) {
        s->slope[i] = grid(&seed);
    }
}

/* dy . y + slope . sums of p, with the first selection: it is a constant of the gradient. */
static double loss_of(subject *s)
{
    double loss = 0.0;
    assert_ok(adamoe_lora_experts_double(&s->map, s->routing, s->x, s->y, s->sums));
    for (size_t i = 0; i < TOKENS * OUT; ++i) {
        loss += s->dy[i] * s->y[i];
    }
    for (size_t i = 0; i < s->map.experts + s->map.null_experts; ++i) {
        loss += s->slope[i] * s->sums[i];
    }
    return loss;
}

typedef void add_step(void *at, double step);

static void add_to_float(void *at, double step)
{
    *(float *)at += (float)step;
}

static void add_to_double(void *at, double step)
{
    *(double *)at += step;
}

static double difference(subject *s, void *at, add_step *add, double step)
{
    add(at, step);
    const double plus = loss_of(s);
    add(at, -2.0 * step);
    const double minus = loss_of(s);
    add(at, step);
    return (plus - minus) / (2.0 * step);
}

/* Steps of 2^-8 and 2^-9, with Richardson's step: the error is of order step^4, some 1e-9. */
static double quotient(subject *s, void *at, add_step *add)
{
    const double wide = difference(s, at, add, 0x1p-8), narrow = difference(s, at, add, 0x1p-9);
    return (4.0 * narrow - wide) / 3.0;
}

static double norm_of(const double *values, size_t count)
{
    double squares = 0.0;
    for (size_t i = 0; i < count; ++i) {
        squares += values[i] * values[i];
    }
    return sqrt(squares);
}

static void check_differences(subject *s)
{
    const size_t router = s->map.router.rows * IN, a = s->map.a.rows * IN;
    const size_t first[] = {0, router, router + a, s->count};
    assert_ok(adamoe_lora_experts_route(&s->map, s->rule, s->x, TOKENS, &s->routing));
    const adamoe_lora_experts_gradient gradient = {s->gradient, s->gradient + first[1],
                                                   s->gradient + first[2]};
    assert_ok(adamoe_lora_experts_backward(&s->map, s->routing, s->x, s->slope, s->dy, s->dx, &gradient));
    double error[MAX_FLOATS];
    for (size_t part = 0; part < 3; ++part) {
        for (size_t i = first[part]; i < first[part + 1]; ++i) {
            error[i] = quotient(s, &s->value[i], add_to_float) - s->gradient[i];
        }
        const size_t count = first[part + 1] - first[part];
        const double norm = norm_of(s->gradient + first[part], count);
        assert_true(count == 0 || norm > 0.1);
        assert_true(norm_of(error + first[part], count) <= 1e-6 * norm);
    }
    for (size_t i = 0; i < TOKENS * IN; ++i) {
        error[i] = quotient(s, &s->x[i], add_to_double) - s->dx[i];
    }
    assert_true(norm_of(error, TOKENS * IN) <= 1e-6 * norm_of(s->dx, TOKENS * IN));
    adamoe_routing_free(s->routing);
}

static void test_gradient_against_differences(void **state)
{
    (void)state;
    static subject s;
    make_subject(4, 0, 2, ADAMOE_NORM_TRUE, 1, &s);
    check_differences(&s);
    make_subject(4, 5, 4, ADAMOE_NORM_TRUE, 2, &s);
    check_differences(&s);
    make_subject(2, 4, 3, ADAMOE_NORM_ALL, 3, &s);
    check_differences(&s);
    make_subject(2, 4, 3, ADAMOE_NORM_NONE, 4, &s);
    check_differences(&s);
    make_subject(1, 0, 0, ADAMOE_NORM_TRUE, 5, &s);
    check_differences(&s);
}

/* With equal rows in the router the lower index wins: the true expert that the null ones copy. A token whose
 * rows of null experts are larger has W0 x and no gradient to any adapter. */
static void test_ties_and_null_tokens(void **state)
{
    (void)state;
    static subject s;
    make_subject(2, 2, 2, ADAMOE_NORM_TRUE, 6, &s);
    memcpy(s.value + 2 * IN, s.value, 2 * IN * sizeof(float));
    adamoe_routing *routing = NULL;
    assert_ok(adamoe_lora_experts_route(&s.map, s.rule, s.x, TOKENS, &routing));
    for (size_t t = 0; t < TOKENS; ++t) {
        assert_in_range(routing->id[t * 2], 0, 1);
        assert_int_equal(routing->id[t * 2 + 1], routing->id[t * 2] + 2);
    }
    adamoe_routing_free(routing);
    s.rule.top_k = 1;
    for (size_t i = 0; i < 4 * IN; ++i) {
        s.value[i] = i < 3 * IN ? -1.0f : 1.0f;
    }
    for (size_t i = 0; i < TOKENS * IN; ++i) {
        s.x[i] = fabs(s.x[i]) + 0.125;
    }
    const adamoe_lora_experts_gradient gradient = {NULL, s.gradient, s.gradient + 2 * RANK * IN};
    assert_ok(adamoe_lora_experts_route(&s.map, s.rule, s.x, TOKENS, &routing));
    assert_true(adamoe_routing_load(routing) == 0.0);
    assert_ok(adamoe_lora_experts_double(&s.map, routing, s.x, s.y, NULL));
    assert_ok(adamoe_lora_experts_backward(&s.map, routing, s.x, NULL, s.dy, s.dx, &gradient));
    adamoe_routing_free(routing);
    assert_true(norm_of(s.gradient, 2 * RANK * (IN + OUT)) == 0.0);
    for (size_t r = 0; r < OUT; ++r) {
        double sum = 0.0;
        for (size_t c = 0; c < IN; ++c) {
            sum += (double)s.frozen[r * IN + c] * s.x[c];
        }
        assert_true(s.y[r] == sum);
    }
    s.rule.null_kind = ADAMOE_NULL_IDENTITY;
    assert_error(adamoe_lora_experts_route(&s.map, s.rule, s.x, TOKENS, &routing), ADAMOE_BAD_INPUT,
                 "null experts are of kind zero");
}

/* ------------------------------------------------------------------------------------------------ PyTorch */

typedef struct golden {
    const adamoe_safetensors *file;
    const char *name;
} golden;

static const char *fact(const golden *g, const char *key)
{
    char full[64];
    (void)snprintf(full, sizeof full, "%s.%s", g->name, key);
    return adamoe_safetensors_metadata(g->file, full);
}

static adamoe_matrix matrix_of(const golden *g, const char *key)
{
    char full[64];
    (void)snprintf(full, sizeof full, "%s.%s", g->name, key);
    const adamoe_tensor *tensor = adamoe_safetensors_find(g->file, full);
    return tensor == NULL ? (adamoe_matrix){NULL, ADAMOE_F32, 0, 0}
                          : (adamoe_matrix){tensor->data, tensor->dtype, tensor->shape[0], tensor->shape[1]};
}

static double *doubles_of(const adamoe_matrix *matrix)
{
    double *out = calloc(matrix->rows * matrix->columns + 1, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < matrix->rows * matrix->columns; ++i) {
        float value;
        memcpy(&value, (const char *)matrix->data + i * sizeof value, sizeof value);
        out[i] = (double)value;
    }
    return out;
}

static void compare(const golden *g, const char *key, double *got)
{
    const adamoe_matrix matrix = matrix_of(g, key);
    const size_t count = matrix.rows * matrix.columns;
    double *expected = doubles_of(&matrix);
    const double norm = norm_of(expected, count);
    for (size_t i = 0; i < count; ++i) {
        got[i] -= expected[i];
    }
    const double error = norm_of(got, count);
    if (!(norm > 0.01 && error < 1e-6 * norm)) { /* what PyTorch has in double stands there in float32 */
        fail_msg("%s: %s: an error of %.2e of %.2e", g->name, key, error, norm);
    }
    free(expected);
}

static adamoe_norm norm_named(const char *name)
{
    return strcmp(name, "true") == 0  ? ADAMOE_NORM_TRUE
           : strcmp(name, "all") == 0 ? ADAMOE_NORM_ALL
                                      : ADAMOE_NORM_NONE;
}

static void check_golden(const adamoe_safetensors *file, const char *name)
{
    const golden g = {file, name};
    adamoe_lora_experts map = {.frozen = matrix_of(&g, "frozen"),
                               .router = matrix_of(&g, "router"),
                               .a = matrix_of(&g, "a"),
                               .b = matrix_of(&g, "b"),
                               .experts = strtoul(fact(&g, "n"), NULL, 10),
                               .null_experts = strtoul(fact(&g, "m"), NULL, 10),
                               .rank = strtoul(fact(&g, "rank"), NULL, 10)};
    map.scale = strtod(fact(&g, "alpha"), NULL) / (double)map.rank;
    map.router.columns = map.frozen.columns;
    const adamoe_rule rule = {.top_k = strtoul(fact(&g, "k"), NULL, 10),
                              .norm = norm_named(fact(&g, "norm"))};
    const adamoe_matrix x_matrix = matrix_of(&g, "x"), dy_matrix = matrix_of(&g, "dy");
    double *x = doubles_of(&x_matrix), *dy = doubles_of(&dy_matrix);
    const size_t tokens = x_matrix.rows, in = x_matrix.columns, out = dy_matrix.columns;
    const size_t all = map.experts + map.null_experts;
    double *y = calloc(tokens * out, sizeof *y), *dx = calloc(tokens * in, sizeof *dx);
    double *slope = calloc(all, sizeof *slope), *sums = calloc(all, sizeof *sums), loss = 0.0;
    const adamoe_lora_experts_gradient gradient = {calloc(all * in, sizeof(double)),
                                                   calloc(map.a.rows * in, sizeof(double)),
                                                   calloc(map.b.rows * out, sizeof(double))};
    adamoe_routing *routing = NULL;
    assert_ok(adamoe_lora_experts_route(&map, rule, x, tokens, &routing));
    assert_ok(adamoe_lora_experts_double(&map, routing, x, y, sums));
    adamoe_balance_slope((const adamoe_routing *const *)&routing, 1,
                         strcmp(fact(&g, "form"), "switch") == 0 ? ADAMOE_BALANCE_SWITCH
                                                                 : ADAMOE_BALANCE_NULL_AVERAGED,
                         ADAMOE_BALANCE_SUMMED, NULL, strtod(fact(&g, "balance"), NULL), slope);
    for (size_t i = 0; i < all; ++i) {
        loss += slope[i] * sums[i];
    }
    assert_true(fabs(loss - strtod(fact(&g, "loss"), NULL)) < 1e-12);
    assert_ok(adamoe_lora_experts_backward(&map, routing, x, slope, dy, dx, &gradient));
    compare(&g, "expected.y", y);
    compare(&g, "expected.dx", dx);
    compare(&g, "expected.da", gradient.a);
    compare(&g, "expected.db", gradient.b);
    if (map.router.rows > 0) {
        compare(&g, "expected.drouter", gradient.router);
        size_t all_null = 0;
        for (size_t t = 0; t < tokens; ++t) {
            all_null += adamoe_routing_true_experts(routing, t) == 0;
        }
        assert_int_equal(all_null, strtoul(fact(&g, "all_null"), NULL, 10));
    }
    adamoe_routing_free(routing);
    double *const arrays[] = {x, dy, y, dx, slope, sums, gradient.router, gradient.a, gradient.b};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; ++i) {
        free(arrays[i]);
    }
}

static void test_against_pytorch(void **state)
{
    (void)state;
    static const char *const names[] = {"top2", "adamoe", "all_null", "norm_all", "norm_none", "plain"};
    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_open(SOURCE_PATH("tests/golden/lora_experts.safetensors"), &file));
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        check_golden(file, names[i]);
    }
    adamoe_safetensors_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_against_differences),
        cmocka_unit_test(test_ties_and_null_tokens),
        cmocka_unit_test(test_against_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
