/*
 * A kind of case: what is called, in one row. Everything that `adamoe check` knows of a kind stands in its
 * file in check/kinds/, and nothing else asks which kind a case is of.
 */
#ifndef ADAMOE_CHECK_CASES_KIND_H
#define ADAMOE_CHECK_CASES_KIND_H

#include "check/cases/case_list.h"

/* What a rule judges: check/tiers/judge.h. */
struct adamoe_checking;

struct adamoe_case_kind {
    const char *name; /* how its names begin behind the tier; "" where the tier says it. No prefix of another
                       * kind's of the same tier */

    /* The sizes in a name, behind `name`: appended to it; read from it, false where it is not one. */
    void (*print)(const adamoe_case *c, adamoe_case_name *name);
    bool (*parse)(const char *text, adamoe_case *c);
    /* False where sizes do not go together, or are more than a naive reference can bear. */
    bool (*fits)(const adamoe_case *c);

    /* Adds the cases of the list's tier. `tiles` are the kernel's, or NULL. Errors: memory. */
    adamoe_status (*list)(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive);

    /* Why the kernel cannot take part, or NULL. Itself NULL: every kernel can. */
    const char *(*missing)(const adamoe_kernel *kernel);

    /* The rule of each tier; NULL where the kind is not judged by it. Errors: memory. */
    adamoe_status (*run[ADAMOE_TIERS])(const struct adamoe_checking *k);
};

#endif
