/*
 * Kernels that `adamoe check` must not accuse.
 */
#ifndef ADAMOE_TESTS_HONEST_PASS_ALL_H
#define ADAMOE_TESTS_HONEST_PASS_ALL_H

#include "honest/finding.h"

/* The kernels of a plugin of this folder, or one of them. */
static inline void pass_all(void **state, const char *plugin, const char *kernel, const char *some,
                            size_t least)
{
    adamoe_registry *registry = load(ADAMOE_HONEST_DIR, plugin);
    for (size_t i = built_in_count(); i < adamoe_registry_count(registry); ++i) {
        const char *name = adamoe_registry_at(registry, i)->name;
        if (kernel != NULL && strcmp(kernel, name) != 0) {
            continue;
        }
        const finding f = check(state, ADAMOE_HONEST_DIR, plugin, name, some);
        print_message("%s: exit code %d, %zu cases passed\n", name, f.code, f.passed);
        if (f.code != 0 || f.caught || f.passed < least) {
            fail_msg("%s: %s: %s: %s", name, f.tier, f.place, f.detail);
        }
    }
    adamoe_registry_free(registry);
}

#endif
