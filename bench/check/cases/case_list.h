/*
 * A list of cases that grows.
 */
#ifndef ADAMOE_CHECK_CASES_CASE_LIST_H
#define ADAMOE_CHECK_CASES_CASE_LIST_H

#include "check/cases/cases.h"

/* Zeroed before the first case is added; `cases` is to be freed with free(). */
typedef struct adamoe_case_list {
    adamoe_case *cases;
    size_t count, room;
} adamoe_case_list;

/* Errors: memory. */
adamoe_status adamoe_case_list_add(adamoe_case_list *list, adamoe_case c);

/* Nothing happens where a case of that name is in the list. Errors: memory. */
adamoe_status adamoe_case_list_add_new(adamoe_case_list *list, adamoe_case c);

#endif
