/*
 * A list of cases that grows.
 */
#ifndef ADAMOE_CHECK_CASES_CASE_LIST_H
#define ADAMOE_CHECK_CASES_CASE_LIST_H

#include "check/cases/cases.h"

/* Of one kind and tier at a time. Otherwise zeroed before the first case is added; `cases` is to be freed with
 * free(). */
typedef struct adamoe_case_list {
    const adamoe_case_kind *kind;
    adamoe_tier tier;
    adamoe_case *cases;
    size_t count, room;
} adamoe_case_list;

/* Adds the case, of the list's kind and tier now. Errors: memory. */
adamoe_status adamoe_case_list_add(adamoe_case_list *list, adamoe_case c);

/* Likewise; nothing happens where a case of that name is in the list. Errors: memory. */
adamoe_status adamoe_case_list_add_new(adamoe_case_list *list, adamoe_case c);

#endif
