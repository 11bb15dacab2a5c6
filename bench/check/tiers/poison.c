/*
 * Inputs that are not finite: see poison.h.
 */
#include "check/tiers/poison.h"

#include <math.h>
#include <string.h>

/* NaNs of which a rounding to bfloat16 that does not look makes -0 or infinity: by an addition to the bits, by cutting
 * them off. */
static const struct {
    uint32_t bits;
    bool last_channel_alone;
} poisons[ADAMOE_POISONS] = {{0x7fc00000u, false}, {0x7fffffffu, false}, {0xffffffffu, false},
                             {0x7f800001u, false}, {0x7f800000u, false}, {0xff800000u, false},
                             {0x7fc00000u, true},  {0x7f800000u, true},  {0xff800000u, true}};

const char *const adamoe_poison_names[ADAMOE_POISONS] = {"NaN",
                                                         "NaN with all bits set",
                                                         "NaN with all bits and its sign set",
                                                         "NaN with its last bit set alone",
                                                         "infinity",
                                                         "-infinity",
                                                         "NaN in its last channel",
                                                         "infinity in its last channel",
                                                         "-infinity in its last channel"};

size_t adamoe_poison_first(size_t i, size_t width)
{
    return poisons[i].last_channel_alone ? width - 1 : 0;
}

bool adamoe_poison_is_nan(size_t i)
{
    return (poisons[i].bits & 0x7fffffu) != 0;
}

void adamoe_poison_row(size_t i, float *row, size_t width)
{
    for (size_t c = adamoe_poison_first(i, width); c < width; ++c) {
        memcpy(&row[c], &poisons[i].bits, sizeof row[c]);
    }
}

bool adamoe_is_without_places(const adamoe_plan *plan, size_t token)
{
    return plan->token_offset[token] == plan->token_offset[token + 1];
}

size_t adamoe_poisoned_token(const adamoe_plan *plan)
{
    for (size_t i = 0; i < plan->tokens; ++i) {
        const size_t token = (plan->tokens / 2 + i) % plan->tokens;
        if (!adamoe_is_without_places(plan, token)) {
            return token;
        }
    }
    return ADAMOE_NOWHERE;
}

bool adamoe_check_nowhere_finite(const adamoe_checking *k, const float *values, size_t first, size_t count,
                                 size_t width, const char *what)
{
    for (size_t i = 0; i < count; ++i) {
        if (isfinite(values[i])) {
            *k->out = (adamoe_check_result){.tier = k->out->tier,
                                            .has_element = true,
                                            .row = first + i / width,
                                            .column = i % width,
                                            .got = (double)values[i],
                                            .expected = (double)NAN,
                                            .largest_ratio = HUGE_VAL};
            adamoe_check_settle(k, ADAMOE_CHECK_FAILED, "a finite number: %s", what);
            return false;
        }
    }
    return true;
}
