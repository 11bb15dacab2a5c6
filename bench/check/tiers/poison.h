/*
 * Inputs that are not finite, and what the contract says of them: they leave no finite number where they are summed,
 * and show nowhere else. Not for others than the tiers.
 */
#ifndef ADAMOE_CHECK_TIERS_POISON_H
#define ADAMOE_CHECK_TIERS_POISON_H

#include "check/tiers/data.h"
#include "check/tiers/judge.h"

/* Several NaNs and both infinities throughout a row, NaN and both infinities in its last channel alone. */
#define ADAMOE_POISONS 9

/* "NaN", "infinity in its last channel". */
extern const char *const adamoe_poison_names[ADAMOE_POISONS];

/* Makes a row of `width` values what poison `i` says. */
void adamoe_poison_row(size_t i, float *row, size_t width);

/* The first channel of a row of `width` that is not as it was, and what is there. */
size_t adamoe_poison_first(size_t i, size_t width);
bool adamoe_poison_is_nan(size_t i);

/* Rows of x that are poisoned: of the token in the middle, or the next one that has a place, and of all tokens that
 * have none. ADAMOE_NOWHERE is no token. */
size_t adamoe_poisoned_token(const adamoe_plan *plan);
bool adamoe_is_without_places(const adamoe_plan *plan, size_t token);

/* False where one of `count` values is finite, which then is the result: rows of `width` from row `first` of a tensor,
 * which `what` names. */
bool adamoe_check_nowhere_finite(const adamoe_checking *k, const float *values, size_t first, size_t count,
                                 size_t width, const char *what);

/* The property of a dense product. Errors: memory. */
adamoe_status adamoe_check_poisoned_product(const adamoe_checking *k, const adamoe_case_data *data);

#endif
