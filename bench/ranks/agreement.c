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

static bool is_without(const char *argument, const char *const *without, size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count && !found; ++i) {
        found = strncmp(argument, without[i], strlen(without[i])) == 0;
    }
    return found;
}

void adamoe_rank_fact_options_without(adamoe_rank_facts *facts, int arguments, char *const *argument,
                                      const char *const *without, size_t count)
{
    char text[4096] = "";
    uint64_t hash = ADAMOE_FNV1A_START;
    for (int i = 0; i < arguments; ++i) {
        if (is_without(argument[i], without, count)) {
            const bool has_value =
                strchr(argument[i], '=') == NULL && i + 1 < arguments && argument[i + 1][0] != '-';
            i += has_value;
            continue;
        }
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%s%s", used == 0 ? "" : " ", argument[i]);
        hash = adamoe_fnv1a(hash, argument[i], strlen(argument[i]) + 1);
    }
    adamoe_rank_fact_add(facts, "options", "%.180s (%016llx)", text, (unsigned long long)hash);
}

void adamoe_rank_fact_options(adamoe_rank_facts *facts, int arguments, char *const *argument)
{
    static const char *const of_machines[] = {"--threads", "--numa"};
    adamoe_rank_fact_options_without(facts, arguments, argument, of_machines,
                                     sizeof of_machines / sizeof *of_machines);
}

void adamoe_rank_facts_describe(const adamoe_rank_facts *facts, char *text, size_t size)
{
    text[0] = '\0';
    for (size_t i = 0; i < facts->count; ++i) {
        const size_t used = strlen(text);
        (void)snprintf(text + used, size - used, "%s%.200s", i == 0 ? "" : "; ", facts->fact[i].value);
    }
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
