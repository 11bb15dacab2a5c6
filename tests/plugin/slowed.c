/*
 * A kernel that takes longer than it must: the program's own default kernel, each call of which is followed
 * by SLOWED_BY percent of its time in a loop that waits. For tests of `adamoe gate': the same source with 0
 * and with 5 gives two plugins that differ in nothing else.
 *
 * Unlike a real plugin it is linked with the kernels' library, to have something fast to slow down.
 */
#include "machine/clock.h"
#include "registry.h"

/* Kept for as long as the plugin is loaded. */
static adamoe_registry *registry;

static const adamoe_kernel *inner(void)
{
    if (registry == NULL && adamoe_registry_create(&registry).code != ADAMOE_OK) {
        return NULL;
    }
    return adamoe_registry_default(registry);
}

__attribute__((destructor)) static void unload(void)
{
    adamoe_registry_free(registry);
}

static bool supported(const char **why_not)
{
    *why_not = "there is no memory";
    return inner() != NULL;
}

static adamoe_status prepare(const adamoe_host *host, const adamoe_layer *layer,
                             const adamoe_placement *placement, adamoe_prepared **out)
{
    return inner()->prepare(host, layer, placement, out);
}

static void release(adamoe_prepared *prepared)
{
    inner()->release(prepared);
}

static size_t work_bytes(const adamoe_prepared *prepared, size_t rows, size_t tokens)
{
    return inner()->work_bytes(prepared, rows, tokens);
}

static adamoe_status experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                             const adamoe_plan *plan, float *y)
{
    const double start = adamoe_now();
    const adamoe_status status = inner()->experts(prepared, run, x, plan, y);
    const double end = adamoe_now(), until = end + (end - start) * SLOWED_BY / 100.0;
    while (adamoe_now() < until) {
    }
    return status;
}

static const adamoe_kernel slowed = {
    .abi = ADAMOE_ABI,
    .struct_size = sizeof(adamoe_kernel),
    .name = "slowed",
    .summary = "the default kernel, slowed down on purpose",
    .x = ADAMOE_FLOAT32,
    .h = ADAMOE_FLOAT32,
    .weight = ADAMOE_FLOAT32,
    .accumulate = ADAMOE_FLOAT32,
    .silu_error = 4.0f,
    .supported = supported,
    .prepare = prepare,
    .release = release,
    .work_bytes = work_bytes,
    .experts = experts,
};

static const adamoe_kernel *const kernels[] = {&slowed};

const adamoe_plugin adamoe_plugin_export = {
    .abi = ADAMOE_ABI,
    .struct_size = sizeof(adamoe_plugin),
    .count = 1,
    .kernel = kernels,
};
