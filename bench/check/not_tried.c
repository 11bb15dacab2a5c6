/*
 * Kinds of cases that a kernel cannot take part in, and sizes of its tiles that are left out.
 */
#include "check/not_tried.h"
#include "check/cases/kind.h"
#include "check/cases/thin.h"
#include "remote/remote.h"

#include <string.h>

#define MOST_KINDS 32

/* A kind that is missing, and how its cases begin: its name, or the tier's where that says it. */
typedef struct missing_kind {
    const adamoe_case_kind *kind;
    const char *name, *why;
} missing_kind;

static size_t find_missing(const adamoe_kernel *kernel, const adamoe_case *cases, size_t count,
                           missing_kind found[MOST_KINDS])
{
    size_t kinds = 0;
    for (size_t i = 0; i < count; ++i) {
        const adamoe_case_kind *kind = cases[i].kind;
        const char *why = kind->missing == NULL ? NULL : kind->missing(kernel);
        bool known = why == NULL || kinds == MOST_KINDS;
        for (size_t j = 0; j < kinds; ++j) {
            known = known || found[j].kind == kind;
        }
        if (!known) {
            const char *name = kind->name[0] != '\0' ? kind->name : adamoe_tier_names[cases[i].tier];
            found[kinds++] = (missing_kind){kind, name, why};
        }
    }
    return kinds;
}

static bool add_text(json_t *texts, const char *text)
{
    return json_array_append_new(texts, json_string(text)) == 0;
}

/* Those of one reason in one text. */
static bool add_kinds(json_t *texts, const missing_kind *missing, size_t count)
{
    bool added = true;
    for (size_t i = 0; i < count; ++i) {
        char text[512] = "";
        bool first = true;
        for (size_t j = 0; j < count; ++j) {
            if (strcmp(missing[j].why, missing[i].why) == 0) {
                const size_t used = strlen(text);
                first = first && j >= i;
                (void)snprintf(text + used, sizeof text - used, "%s%s", used == 0 ? "" : ", ",
                               missing[j].name);
            }
        }
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, ": %s", missing[i].why);
        added = added && (!first || add_text(texts, text));
    }
    return added;
}

/* Whether the list has the same tile, from whatever size on. */
static bool has_tile_of(const char *text, const adamoe_not_tried *list)
{
    static const char tile[] = " at its tile ";
    bool found = false;
    for (size_t i = 0; i < list->count; ++i) {
        found = found || strcmp(strstr(list->text[i], tile), strstr(text, tile)) == 0;
    }
    return found;
}

/* Of the tiers that have sizes for tiles. */
static bool add_sizes(json_t *texts, const adamoe_check_options *options, const adamoe_tiles *tiles)
{
    const unsigned sized = 1u << ADAMOE_TIER_EXACT | 1u << ADAMOE_TIER_BOUND;
    if (options->part != NULL || (options->tiers != 0 && (options->tiers & sized) == 0)) {
        return true;
    }
    const adamoe_not_tried here = adamoe_thin_cases_not_tried(tiles, options->exhaustive),
                           never = adamoe_thin_cases_not_tried(tiles, true);
    bool added = true;
    for (size_t i = 0; i < here.count && added; ++i) {
        char text[160];
        (void)snprintf(text, sizeof text, "%s%s", here.text[i],
                       options->exhaustive                 ? ""
                       : has_tile_of(here.text[i], &never) ? " (--exhaustive tries more)"
                                                           : " (--exhaustive tries them)");
        added = add_text(texts, text);
    }
    return added;
}

/* What a call in another process hides from its caller. */
static bool add_hidden(json_t *texts, const adamoe_kernel *kernel)
{
    adamoe_remote_clock clock;
    return !adamoe_remote_clock_of(kernel, &clock) ||
           add_text(texts,
                    "inaccessible pages around buffers, odd alignment, what a call leaves in its process: "
                    "the kernel runs in a process of its own, where y lies between guards whose values are "
                    "compared, and what it reads is read-only and lies between NaNs");
}

json_t *adamoe_check_not_tried(const adamoe_check_options *options, const adamoe_kernel *kernel,
                               const adamoe_case *cases, size_t count)
{
    missing_kind missing[MOST_KINDS];
    const size_t kinds = find_missing(kernel, cases, count, missing);
    json_t *texts = json_array();
    if (!add_kinds(texts, missing, kinds) || !add_sizes(texts, options, &kernel->tiles) ||
        !add_hidden(texts, kernel)) {
        json_decref(texts);
        return NULL;
    }
    return texts;
}
