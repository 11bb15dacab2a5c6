/*
 * The grid of the check and its names: a name says the whole case, no name is a part of another, wrong names
 * are none; and the grid has the edges that it is there for.
 */
#include "test.h"
#include "check/cases/thin.h"
#include "check/kinds/kinds.h"

typedef struct grid {
    adamoe_case *cases;
    size_t count;
    adamoe_case_name *names; /* [count] */
} grid;

static int make_grid(void **state)
{
    static grid g;
    *state = &g;
    if (adamoe_check_grid(NULL, false, &g.cases, &g.count).code != ADAMOE_OK) {
        return -1;
    }
    g.names = calloc(g.count, sizeof *g.names);
    for (size_t i = 0; i < g.count && g.names != NULL; ++i) {
        g.names[i] = adamoe_name_case(&g.cases[i]);
    }
    return g.names != NULL ? 0 : -1;
}

static int free_grid(void **state)
{
    free(((grid *)*state)->cases);
    free(((grid *)*state)->names);
    return 0;
}

static void names_there_and_back(void **state)
{
    const grid *g = *state;
    for (size_t i = 0; i < g->count; ++i) {
        const adamoe_case_name name = g->names[i];
        adamoe_case parsed;
        assert_true(adamoe_parse_case(name.text, &parsed));
        assert_ptr_equal(parsed.kind, g->cases[i].kind);
        assert_int_equal(parsed.tier, g->cases[i].tier);
        assert_string_equal(adamoe_name_case(&parsed).text, name.text);
        for (size_t j = 0; j < g->count; ++j) {
            if (j != i && strstr(g->names[j].text, name.text) != NULL) {
                fail_msg("%s is a part of another name", name.text);
            }
        }
    }
    print_message("%zu cases\n", g->count);
}

static void every_part_of_a_name_counts(void **state)
{
    (void)state;
    adamoe_case c;
    assert_true(adamoe_parse_case(
        "experts/d:33/ff:65/n:8/m:7/k:3/tokens:70/routing:skewed/null:identity/dispatch/weights:bf16", &c));
    assert_ptr_equal(c.kind, &adamoe_kind_experts);
    assert_int_equal(c.hidden_size, 33);
    assert_int_equal(c.intermediate_size, 65);
    assert_int_equal(c.mixture.experts, 8);
    assert_int_equal(c.mixture.null_experts, 7);
    assert_int_equal(c.mixture.top_k, 3);
    assert_int_equal(c.tokens, 70);
    assert_int_equal(c.pattern, ADAMOE_PATTERN_SKEWED);
    assert_int_equal(c.null_kind, ADAMOE_NULL_IDENTITY);
    assert_true(c.dispatch);
    assert_int_equal(c.weights, ADAMOE_BF16);
    assert_int_equal(c.tier, ADAMOE_TIER_BOUND);
    assert_true(
        adamoe_parse_case("property/split-batch/experts/d:33/ff:65/n:8/m:7/k:3/tokens:70/routing:skewed/"
                          "values:huge/weights:bf16",
                          &c));
    assert_int_equal(c.tier, ADAMOE_TIER_PROPERTY);
    assert_int_equal(c.property, ADAMOE_PROPERTY_SPLIT_BATCH);
    assert_int_equal(c.magnitude, ADAMOE_MAGNITUDE_HUGE);
    assert_true(adamoe_parse_case("bitwise/placement/multiply/rows:65/columns:33/count:7/weights:f16", &c));
    assert_int_equal(c.guarantee, ADAMOE_GUARANTEE_PLACEMENT);
    assert_true(adamoe_parse_case("routing/route/n:8/m:7/k:3/tokens:70/logits:near-ties/norm:all", &c));
    assert_ptr_equal(c.kind, &adamoe_kind_route);
    assert_int_equal(c.logits, ADAMOE_LOGITS_NEAR_TIES);
    assert_int_equal(c.norm, ADAMOE_NORM_ALL);
    assert_true(adamoe_parse_case("multiply/rows:65/columns:33/count:7/weights:f16", &c));
    assert_ptr_equal(c.kind, &adamoe_kind_multiply);
    assert_int_equal(c.rows, 65);
    assert_int_equal(c.columns, 33);
    assert_int_equal(c.tokens, 7);
    assert_int_equal(c.weights, ADAMOE_F16);
}

static void wrong_names_are_none(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "exact/",
        "bitwise/multiply/rows:65/columns:33/count:7/weights:f16",
        "exact/route/n:8/m:7/k:3/tokens:70/logits:ties/norm:all",
        "property/split-batch/multiply/rows:65/columns:33/count:7/weights:f16",
        "experts",
        "multiply/rows:65/columns:33/count:7",
        "multiply/rows:65/columns:33/count:7/weights:f16/",
        "multiply/rows:65/columns:33/count:7/weights:f8",
        "multiply/rows:065/columns:33/count:7/weights:f16",
        "multiply/rows:-65/columns:33/count:7/weights:f16",
        "multiply/rows:/columns:33/count:7/weights:f16",
        "multiply/rows:99999999999999999999999/columns:33/count:7/weights:f16",
        "multiply/rows:1048576/columns:1048576/count:7/weights:f16", /* too large */
        "multiply/rows:0/columns:33/count:7/weights:f16",
        "experts/d:33/ff:65/n:8/m:8/k:17/tokens:7/routing:random/weights:f32",  /* k > n + m */
        "experts/d:33/ff:65/n:8/m:2/k:3/tokens:7/routing:null/weights:f32",     /* too few null experts */
        "experts/d:33/ff:65/n:0/m:8/k:3/tokens:7/routing:random/weights:f32",   /* no true expert */
        "experts/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:randomly/weights:f32", /* no such pattern */
        "experts/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/dispatch/null:identity/weights:f32",
        "gradient/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/dispatch/weights:f32", /* not of a routing */
        "gradient/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/weights:bf16",
        "gradient/d:33/ff:65/n:321/m:8/k:3/tokens:7/routing:random/weights:f32",
        "bitwise/placement/gradient/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/weights:f32",
        "property/split-batch/gradient/d:33/ff:65/n:8/m:8/k:3/tokens:7/routing:random/weights:f32",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        adamoe_case c;
        if (adamoe_parse_case(names[i], &c)) {
            fail_msg("`%s' was taken for a name", names[i]);
        }
    }
}

static size_t count_with(const grid *g, const char *part)
{
    size_t count = 0;
    for (size_t i = 0; i < g->count; ++i) {
        count += strstr(g->names[i].text, part) != NULL;
    }
    return count;
}

static void the_grid_has_the_edges(void **state)
{
    static const char *const parts[] = {
        "/d:1/",
        "/d:7/",
        "/d:8/",
        "/d:9/",
        "/d:63/",
        "/d:64/",
        "/d:65/",
        "/ff:1/",
        "/ff:15/",
        "/ff:17/",
        "/ff:31/",
        "/ff:33/",
        "/n:1/m:0/",
        "/tokens:0/",
        "/tokens:1/",
        "/tokens:64/",
        "routing:balanced",
        "routing:random",
        "routing:skewed",
        "routing:one/",
        "routing:lone",
        "routing:null",
        "null:identity",
        "/dispatch/",
        "n:3/m:5/k:8",
        "rows:1/",
        "rows:17/",
        "columns:1/",
        "columns:4096/",
        "count:0/",
        "exact/multiply/",
        "bitwise/batch/experts/",
        "exact/gradient/",
        "bound/gradient/d:17/ff:33/n:4/m:4/k:3/tokens:0/",
        "bitwise/batch/gradient/",
        "values:denormal",
        "values:huge",
        "logits:ties",
        "logits:nan",
        "weights:f32",
        "weights:f16",
        "weights:bf16",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i) {
        if (count_with(*state, parts[i]) == 0) {
            fail_msg("no case has %s", parts[i]);
        }
    }
}

/* With tiles of its own a kernel gets sizes at, below and above each of them. */
static void the_grid_follows_the_tiles(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "/d:23/",          "/d:24/",      "/ff:25/",     "/ff:47/",     "/d:49/",       "/d:79/",
        "/ff:81/",         "rows:23/",    "rows:49/",    "columns:81/", "tokens:5/",    "tokens:6/",
        "tokens:19/r",     "/d:73/ff:3/", "/ff:73/",     "rows:73/",    "columns:241/", "count:19/",
        "gradient/d:241/", "/tokens:7/r", "/tokens:13/", "count:11/"};
    const adamoe_tiles tiles = {.rows = 6, .columns = 24, .depth = 80};
    grid g = {.count = 0};
    assert_ok(adamoe_check_grid(&tiles, false, &g.cases, &g.count));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i) {
        bool found = false;
        for (size_t j = 0; j < g.count && !found; ++j) {
            found = strstr(adamoe_name_case(&g.cases[j]).text, parts[i]) != NULL;
        }
        if (!found) {
            fail_msg("no case has %s", parts[i]);
        }
    }
    free(g.cases);
}

/* A tile of a real size brings thin cases; one that even they are too large for is said. */
static void large_tiles_have_thin_cases(void **state)
{
    (void)state;
    static const char *const names[] = {
        "exact/experts/d:12289/ff:3/n:2/m:1/k:2/tokens:1/routing:random/weights:bf16",
        "bound/experts/d:4095/ff:1/n:2/m:1/k:2/tokens:1/routing:random/weights:f32",
        "exact/experts/d:4/ff:3/n:2/m:1/k:2/tokens:769/routing:one/weights:bf16",
        "bound/gradient/d:4/ff:3/n:2/m:1/k:2/tokens:257/routing:one/weights:f32"};
    const adamoe_tiles tiles = {.rows = 256, .columns = 4096, .depth = 5000000};
    grid g = {.count = 0};
    assert_ok(adamoe_check_grid(&tiles, false, &g.cases, &g.count));
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        bool found = false;
        for (size_t j = 0; j < g.count && !found; ++j) {
            found = strcmp(adamoe_name_case(&g.cases[j]).text, names[i]) == 0;
        }
        if (!found) {
            fail_msg("no case is %s", names[i]);
        }
    }
    free(g.cases);
    const adamoe_not_tried none = adamoe_thin_cases_not_tried(NULL, false);
    assert_int_equal(none.count, 0);
    const adamoe_not_tried some = adamoe_thin_cases_not_tried(&tiles, false);
    assert_int_equal(some.count, 1);
    assert_string_equal(some.text[0], "sizes above 262144 at its tile of 5000000 terms of a sum");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_there_and_back),       cmocka_unit_test(every_part_of_a_name_counts),
        cmocka_unit_test(wrong_names_are_none),       cmocka_unit_test(the_grid_has_the_edges),
        cmocka_unit_test(the_grid_follows_the_tiles), cmocka_unit_test(large_tiles_have_thin_cases),
    };
    return cmocka_run_group_tests(tests, make_grid, free_grid);
}
