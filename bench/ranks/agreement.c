/*
 * What ranks must have in common before they begin: see agreement.h.
 */
#include "ranks/agreement.h"
#include "fnv1a.h"
#include "ranks/fingerprint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void adamoe_rank_fact_add(adamoe_rank_facts *facts, const char *name, const char *format, ...)
{
    if (facts->count == ADAMOE_RANK_FACTS) {
        return;
    }
    adamoe_rank_fact *fact = &facts->fact[facts->count++];
    va_list arguments;
    va_start(arguments, format);
    memset(fact, 0, sizeof *fact);
    (void)snprintf(fact->name, sizeof fact->name, "%s", name);
    (void)vsnprintf(fact->value, sizeof fact->value, format, arguments);
    va_end(arguments);
}

adamoe_status adamoe_rank_fact_program(adamoe_rank_facts *facts)
{
    uint64_t print = 0;
    ADAMOE_TRY(adamoe_fingerprint("/proc/self/exe", &print));
    adamoe_rank_fact_add(facts, "program", "another build (%016llx)", (unsigned long long)print);
    return adamoe_ok();
}

adamoe_status adamoe_rank_fact_file(adamoe_rank_facts *facts, const char *name, const char *path)
{
    uint64_t print = 0;
    ADAMOE_TRY(adamoe_fingerprint(path, &print));
    adamoe_rank_fact_add(facts, name, "%.180s with other contents (%016llx)", path,
                         (unsigned long long)print);
    return adamoe_ok();
}

static bool may_differ(const char *argument)
{
    return strncmp(argument, "--threads", 9) == 0 || strncmp(argument, "--numa", 6) == 0;
}

void adamoe_rank_fact_options(adamoe_rank_facts *facts, int count, char *const *arguments)
{
    char text[4096] = "";
    uint64_t hash = ADAMOE_FNV1A_START;
    for (int i = 0; i < count; ++i) {
        if (may_differ(arguments[i])) {
            i += strchr(arguments[i], '=') == NULL; /* its value comes next */
            continue;
        }
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%s%s", used == 0 ? "" : " ", arguments[i]);
        hash = adamoe_fnv1a(hash, arguments[i], strlen(arguments[i]) + 1);
    }
    adamoe_rank_fact_add(facts, "options", "%.180s (%016llx)", text, (unsigned long long)hash);
}

static adamoe_status compare(const adamoe_rank_facts *all, uint32_t ranks)
{
    for (uint32_t r = 1; r < ranks; ++r) {
        for (size_t i = 0; i < all[0].count; ++i) {
            const adamoe_rank_fact *here = &all[0].fact[i], *there = &all[r].fact[i];
            if (strcmp(here->value, there->value) != 0) {
                return adamoe_error(ADAMOE_BAD_INPUT,
                                    "rank %u differs from rank 0 in its %s: %.200s, rank 0: %.200s", r,
                                    here->name, there->value, here->value);
            }
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_rank_agree(const adamoe_world *world, adamoe_status own, const adamoe_rank_facts *facts)
{
    ADAMOE_TRY(adamoe_world_agree(world, own));
    if (world->ranks == 1) {
        return adamoe_ok();
    }
    adamoe_rank_facts *all = calloc(world->ranks, sizeof *all);
    if (all == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory");
    }
    adamoe_status status = adamoe_world_gather(world, facts, sizeof *facts, all);
    if (status.code == ADAMOE_OK) {
        status = adamoe_world_agree(world, world->rank == 0 ? compare(all, world->ranks) : adamoe_ok());
    }
    free(all);
    return status;
}
