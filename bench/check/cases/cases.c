/*
 * The name of a case.
 */
#include "check/cases/kind.h"

#include <string.h>

const char *const adamoe_tier_names[ADAMOE_TIERS] = {"exact",    "bound",   "bitwise",
                                                     "property", "routing", "model"};

const char *const adamoe_property_names[ADAMOE_PROPERTIES] = {
    "permuted-tokens", "permuted-experts", "split-batch",    "unused-null-experts", "scaled-combine",
    "poisoned-token",  "refused-memory",   "repeated-calls", "several-objects"};

const char *const adamoe_guarantee_names[ADAMOE_GUARANTEES] = {"runs", "threads", "batch", "placement"};

void adamoe_name_append(adamoe_case_name *name, const char *format, ...)
{
    const size_t used = strlen(name->text);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(name->text + used, sizeof name->text - used, format, arguments);
    va_end(arguments);
}

adamoe_case_name adamoe_name_case(const adamoe_case *c)
{
    adamoe_case_name name = {""};
    adamoe_name_append(&name, "%s/", adamoe_tier_names[c->tier]);
    if (c->tier == ADAMOE_TIER_PROPERTY) {
        adamoe_name_append(&name, "%s/", adamoe_property_names[c->property]);
    }
    if (c->tier == ADAMOE_TIER_BITWISE) {
        adamoe_name_append(&name, "%s/", adamoe_guarantee_names[c->guarantee]);
    }
    adamoe_name_append(&name, "%s", c->kind->name);
    c->kind->print(c, &name);
    return name;
}
