/*
 * The kind `attention`: adamoe_kernel.attention, or the program's own.
 */
#include "check/cases/words.h"
#include "check/kinds/kinds.h"
#include "check/tiers/attention/tiers.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static const char *const spans[] = {"single", "shared"};

static void print(const adamoe_case *c, adamoe_case_name *name)
{
    adamoe_name_append(name, "/heads:%zu/kv:%zu/dim:%zu/window:%zu/tokens:%zu", c->heads, c->key_value_heads,
                       c->head_dim, c->window, c->tokens);
    adamoe_name_append_magnitude(name, c);
    adamoe_name_append(name, "/%s", spans[c->shared ? 1 : 0]);
}

static bool parse(const char *text, adamoe_case *c)
{
    size_t shared = 0;
    if (!adamoe_name_take_size(&text, "/heads:", &c->heads) ||
        !adamoe_name_take_size(&text, "/kv:", &c->key_value_heads) ||
        !adamoe_name_take_size(&text, "/dim:", &c->head_dim) ||
        !adamoe_name_take_size(&text, "/window:", &c->window) ||
        !adamoe_name_take_size(&text, "/tokens:", &c->tokens)) {
        return false;
    }
    adamoe_name_take_magnitude(&text, c);
    const bool read = adamoe_name_take_word(&text, "/", spans, 2, &shared);
    c->shared = shared == 1;
    return read;
}

static bool fits(const adamoe_case *c)
{
    return !(c->tier == ADAMOE_TIER_BITWISE && c->guarantee == ADAMOE_GUARANTEE_PLACEMENT) &&
           !(c->tier == ADAMOE_TIER_PROPERTY && c->property != ADAMOE_PROPERTY_POISONED_TOKEN &&
             c->property != ADAMOE_PROPERTY_REPEATED_CALLS) &&
           c->key_value_heads > 0 && c->heads >= c->key_value_heads && c->head_dim > 0 && c->tokens > 0 &&
           c->tokens <= 1024 && adamoe_is_bearable(c->tokens, c->heads, c->head_dim);
}

/* For what takes many calls, in which 64 threads have work. */
static const adamoe_case small_shapes[] = {
    {.heads = 4, .key_value_heads = 2, .head_dim = 8, .tokens = 40, .shared = true},
    {.heads = 8, .key_value_heads = 8, .head_dim = 5, .window = 7, .tokens = 33, .shared = true},
    {.heads = 6, .key_value_heads = 2, .head_dim = 16, .window = 20, .tokens = 70},
    {.heads = 3, .key_value_heads = 1, .head_dim = 33, .tokens = 45},
};

static adamoe_status list_bitwise(adamoe_case_list *list)
{
    for (size_t i = 0; i < ADAMOE_GUARANTEE_PLACEMENT * COUNT_OF(small_shapes); ++i) {
        adamoe_case c = small_shapes[i % COUNT_OF(small_shapes)];
        c.guarantee = (adamoe_guarantee)(i / COUNT_OF(small_shapes));
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

/* Poisoned with those of bitwise. */
static adamoe_status list_properties(adamoe_case_list *list)
{
    static const adamoe_case repeated[] = {
        {.heads = 4, .key_value_heads = 2, .head_dim = 8, .tokens = 9, .shared = true},
        {.heads = 6, .key_value_heads = 2, .head_dim = 7, .window = 5, .tokens = 17},
    };
    for (size_t i = 0; i < COUNT_OF(small_shapes); ++i) {
        adamoe_case c = small_shapes[i];
        c.property = ADAMOE_PROPERTY_POISONED_TOKEN;
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    for (size_t i = 0; i < COUNT_OF(repeated); ++i) {
        adamoe_case c = repeated[i];
        c.property = ADAMOE_PROPERTY_REPEATED_CALLS;
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

static adamoe_status list_bound(adamoe_case_list *list)
{
    static const size_t shapes[][5] = {
        /* heads, key-value heads, head_dim, window, tokens */
        {1, 1, 1, 0, 1},
        {4, 2, 8, 0, 9},
        {6, 2, 16, 5, 17},
        {4, 4, 7, 0, 33},
        {8, 1, 64, 16, 40},
        {3, 1, 15, 1, 5},
        {2, 2, 33, 64, 70},
        {9, 3, 32, 2, 8},
        {4, 2, 128, 7, 12},
        {6, 3, 20, 30, 31},
        /* more keys, wider heads, more heads than tables have, one at a time */
        {2, 1, 4, 0, 300},
        {1, 1, 5, 200, 300},
        {2, 2, 256, 0, 5},
        {32, 32, 3, 0, 7},
        {36, 12, 4, 5, 9}};
    enum { HUGE_SHAPES = 6 }; /* of those, once more with scores whose exp overflows */
    for (size_t i = 0; i < 2 * (COUNT_OF(shapes) + HUGE_SHAPES); ++i) {
        const bool huge = i / 2 >= COUNT_OF(shapes);
        const size_t *shape = shapes[i / 2 % COUNT_OF(shapes)];
        const adamoe_case c = {.magnitude = huge ? ADAMOE_MAGNITUDE_HUGE : ADAMOE_MAGNITUDE_USUAL,
                               .heads = shape[0],
                               .key_value_heads = shape[1],
                               .head_dim = shape[2],
                               .window = shape[3],
                               .tokens = shape[4],
                               .shared = i % 2 == 1};
        ADAMOE_TRY(adamoe_case_list_add(list, c));
    }
    return adamoe_ok();
}

static adamoe_status list_all(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    (void)tiles, (void)exhaustive;
    return list->tier == ADAMOE_TIER_BITWISE    ? list_bitwise(list)
           : list->tier == ADAMOE_TIER_PROPERTY ? list_properties(list)
                                                : list_bound(list);
}

const adamoe_case_kind adamoe_kind_attention = {
    .name = "attention",
    .print = print,
    .parse = parse,
    .fits = fits,
    .list = list_all,
    .run = {[ADAMOE_TIER_BOUND] = adamoe_check_attention_bound,
            [ADAMOE_TIER_BITWISE] = adamoe_check_attention_bitwise,
            [ADAMOE_TIER_PROPERTY] = adamoe_check_attention_property},
};
