/*
 * A list of cases that grows.
 */
#include "check/cases/case_list.h"

#include <stdlib.h>
#include <string.h>

adamoe_status adamoe_case_list_add(adamoe_case_list *list, adamoe_case c)
{
    if (list->count == list->room) {
        const size_t room = list->room == 0 ? 1024 : 2 * list->room;
        adamoe_case *grown = realloc(list->cases, room * sizeof *grown);
        if (grown == NULL) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
        }
        list->cases = grown;
        list->room = room;
    }
    c.kind = list->kind;
    c.tier = list->tier;
    list->cases[list->count++] = c;
    return adamoe_ok();
}

/* Whether it is worth while to compare the names. */
static bool is_alike(const adamoe_case *a, const adamoe_case *b)
{
    return a->kind == b->kind && a->tier == b->tier && a->tokens == b->tokens &&
           a->hidden_size == b->hidden_size && a->intermediate_size == b->intermediate_size &&
           a->rows == b->rows && a->columns == b->columns;
}

adamoe_status adamoe_case_list_add_new(adamoe_case_list *list, adamoe_case c)
{
    c.kind = list->kind;
    c.tier = list->tier;
    const adamoe_case_name name = adamoe_name_case(&c);
    for (size_t i = 0; i < list->count; ++i) {
        if (is_alike(&list->cases[i], &c) && strcmp(adamoe_name_case(&list->cases[i]).text, name.text) == 0) {
            return adamoe_ok();
        }
    }
    return adamoe_case_list_add(list, c);
}
