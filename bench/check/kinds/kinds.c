/*
 * All kinds of cases: a name is read by the one whose name it begins with, the grid is what each of them
 * lists.
 */
#include "check/kinds/kinds.h"
#include "check/cases/words.h"

#include <stdlib.h>
#include <string.h>

#define ADDRESS_OF_KIND(name) &adamoe_kind_##name,
static const adamoe_case_kind *const kinds[] = {ADAMOE_CASE_KINDS(ADDRESS_OF_KIND)};
#undef ADDRESS_OF_KIND

#define KINDS (sizeof kinds / sizeof *kinds)

static bool parse_tier(const char **cursor, adamoe_case *c)
{
    size_t word = 0;
    for (size_t i = 0; i < ADAMOE_TIERS; ++i) {
        const char *behind = *cursor;
        if (adamoe_name_take(&behind, adamoe_tier_names[i]) && adamoe_name_take(&behind, "/")) {
            c->tier = (adamoe_tier)i;
            *cursor = behind;
        }
    }
    bool read = true;
    if (c->tier == ADAMOE_TIER_PROPERTY) {
        read = adamoe_name_take_word(cursor, "", adamoe_property_names, ADAMOE_PROPERTIES, &word) &&
               adamoe_name_take(cursor, "/");
        c->property = (adamoe_property)word;
    } else if (c->tier == ADAMOE_TIER_BITWISE) {
        read = adamoe_name_take_word(cursor, "", adamoe_guarantee_names, ADAMOE_GUARANTEES, &word) &&
               adamoe_name_take(cursor, "/");
        c->guarantee = (adamoe_guarantee)word;
    }
    return read;
}

static bool parse_kind(const char *cursor, adamoe_case *c)
{
    for (size_t i = 0; i < KINDS; ++i) {
        const char *behind = cursor;
        if (kinds[i]->run[c->tier] != NULL && adamoe_name_take(&behind, kinds[i]->name)) {
            c->kind = kinds[i];
            return kinds[i]->parse(behind, c) && kinds[i]->fits(c);
        }
    }
    return false;
}

bool adamoe_parse_case(const char *name, adamoe_case *out)
{
    const char *cursor = name;
    adamoe_case c = {.tier = ADAMOE_TIER_BOUND};
    if (!parse_tier(&cursor, &c) || !parse_kind(cursor, &c)) {
        return false;
    }
    /* Spellings that name the same case differently, `d:033`, are none; nor is what has text behind it. */
    const adamoe_case_name whole = adamoe_name_case(&c);
    const bool bare = cursor == name && c.tier == ADAMOE_TIER_BOUND;
    if (strcmp(whole.text + (bare ? strlen("bound/") : 0), name) != 0) {
        return false;
    }
    *out = c;
    return true;
}

adamoe_status adamoe_check_grid(const adamoe_tiles *tiles, bool exhaustive, adamoe_case **out, size_t *count)
{
    adamoe_case_list list = {.count = 0};
    for (size_t i = 0; i < ADAMOE_TIERS * KINDS; ++i) {
        list.kind = kinds[i % KINDS];
        list.tier = (adamoe_tier)(i / KINDS);
        const adamoe_status status =
            list.kind->run[list.tier] == NULL ? adamoe_ok() : list.kind->list(&list, tiles, exhaustive);
        if (status.code != ADAMOE_OK) {
            free(list.cases);
            return status;
        }
    }
    *out = list.cases;
    *count = list.count;
    return adamoe_ok();
}
