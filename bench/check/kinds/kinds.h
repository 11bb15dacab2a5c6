/*
 * The kinds of cases, and the cases of them all.
 */
#ifndef ADAMOE_CHECK_KINDS_KINDS_H
#define ADAMOE_CHECK_KINDS_KINDS_H

#include "check/cases/kind.h"

/* Every kind by the name of its row; within a tier its cases are listed in this order. */
#define ADAMOE_CASE_KINDS(row)                                                                               \
    row(experts) row(routed) row(multiply) row(gradient) row(attention) row(route) row(logits) row(model)

#define ADAMOE_DECLARE_KIND(name) extern const adamoe_case_kind adamoe_kind_##name;
ADAMOE_CASE_KINDS(ADAMOE_DECLARE_KIND)
#undef ADAMOE_DECLARE_KIND

/* The case of a name, which need not be in the grid; a name without a tier means `bound`. False where it is
 * no name, where its sizes do not go together, or where it is too large to be checked (2^28 weights, 2^28
 * outputs). */
bool adamoe_parse_case(const char *name, adamoe_case *out);

/* All cases that are checked by default, or all there are, in the order of their tiers, to be freed with
 * free(). `tiles` are the kernel's, or NULL: sizes at, below and above each are among the cases. Errors:
 * memory. */
adamoe_status adamoe_check_grid(const adamoe_tiles *tiles, bool exhaustive, adamoe_case **out, size_t *count);

#endif
