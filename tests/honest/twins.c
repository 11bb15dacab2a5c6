/*
 * Honest twins of wrong kernels: they do what those do wrong, and do it right. A check that accuses one of them looks
 * for the habit instead of the bug.
 */
#include "honest/honest_route.h"

#include <fcntl.h>
#include <fenv.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TWIN(symbol, title, text, ...)                                                                       \
    KERNEL_OF_PIECES(symbol, title, text, ADAMOE_FLOAT32, (.route = NULL), __VA_ARGS__)

/* ------------------------------------------------------------------------- long blocks, declared (tiles.c) */

static float dot_in_blocks(const kernel_call *c, size_t row, const packed_matrix *matrix, size_t r,
                           const operand *x)
{
    enum { DEPTH = 1024 };
    const float *weight = matrix->value + r * matrix->columns;
    float total = 0.0f;
    (void)c;
    (void)row;
    for (size_t first = 0; first < matrix->columns; first += DEPTH) {
        float sum = 0.0f;
        for (size_t i = first; i < matrix->columns && i < first + DEPTH; ++i) {
            sum = fmaf(weight[i], x->value[i], sum);
        }
        total = first == 0 ? sum : total + sum;
    }
    return total;
}
TILED_KERNEL(long_blocks, "honest-long-blocks", "each block of 1024 terms is a sum of its own",
             ADAMOE_FLOAT32, (.rows = 128, .columns = 2048, .depth = 1024), (.route = NULL),
             .dot = dot_in_blocks);

/* ---------------------------------------------------- what is kept from call to call, and looked at (lifetime.c) */

enum { MOST_KEPT = 4096 };

typedef struct kept_input {
    size_t count;
    float value[MOST_KEPT];
} kept_input;

/* The copy serves where it is the same to the last bit. */
static void run_on_equal_input(kernel_call *c)
{
    kept_input *kept = c->prepared->own;
    const size_t count = c->plan->inputs * c->prepared->hidden_size;
    kernel_call call = *c;
    if (count > 0 && count <= MOST_KEPT) {
        if (kept->count != count || memcmp(kept->value, c->x, count * sizeof *c->x) != 0) {
            kept->count = count;
            memcpy(kept->value, c->x, count * sizeof *c->x);
        }
        call.x = kept->value;
    }
    honest_run(&call);
}
TWIN(input_kept, "honest-input-kept", "a copy of x is kept and compared with x before it serves",
     .run = run_on_equal_input, .own_bytes = sizeof(kept_input));

/* --------------------------------------------------------------- the process, left as it was (process.c) */

static void *volatile used;

static void run_and_restore(kernel_call *c)
{
    sigset_t all, signals;
    cpu_set_t processors;
    fenv_t modes;
    const int descriptor = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    const int had_processors = sched_getaffinity(0, sizeof processors, &processors);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &signals);
    (void)fegetenv(&modes);
    (void)fesetround(FE_TOWARDZERO);
    used = malloc(4096);
    free(used);
#if defined(__x86_64__)
    __asm__ volatile("pxor %%mm0, %%mm0\n\temms" ::: "mm0");
#endif
    (void)fesetenv(&modes);
    honest_run(c);
    if (had_processors == 0) {
        (void)sched_setaffinity(0, sizeof processors, &processors);
    }
    (void)pthread_sigmask(SIG_SETMASK, &signals, NULL);
    if (descriptor >= 0) {
        (void)close(descriptor);
    }
}
TWIN(restores, "honest-restores", "what it changes in the process it puts back", .run = run_and_restore);

/* ------------------------------------------------------------------- memory, and stages (services.c) */

/* Two allocations, of which either may fail; and what a number of rows that was not met before needs, which the
 * contract allows to keep with the object: here a table for each power of two. */
typedef struct further_memory {
    float *copy, *table[32];
} further_memory;

static void give_back(const adamoe_host *host, void *memory)
{
    if (memory != NULL) {
        host->release(host->context, memory);
    }
}

static void release_all(adamoe_prepared *prepared)
{
    if (prepared != NULL) {
        const further_memory *further = prepared->own;
        give_back(&prepared->host, further->copy);
        for (size_t i = 0; i < 32; ++i) {
            give_back(&prepared->host, further->table[i]);
        }
        honest_release(prepared);
    }
}

static void run_with_tables(kernel_call *c)
{
    further_memory *further = c->prepared->own;
    const adamoe_host *host = &c->prepared->host;
    size_t power = 0;
    while (power < 31 && (size_t)1 << power < c->plan->rows) {
        ++power;
    }
    if (further->table[power] == NULL) {
        further->table[power] = host->allocate(host->context, 256, 64);
    }
    honest_run(c);
    for (size_t i = 0; i < ADAMOE_STAGES && c->run->stage_seconds != NULL; ++i) {
        c->run->stage_seconds[i] += 1e-6;
    }
}

KERNEL_PIECES(further, ADAMOE_FLOAT32, .run = run_with_tables, .own_bytes = sizeof(further_memory));
KERNEL_PREPARES_MATRIX(further)

static adamoe_status further_prepare(const adamoe_host *host, const adamoe_layer *layer,
                                     const adamoe_placement *placement, adamoe_prepared **out)
{
    adamoe_prepared *prepared = NULL;
    ADAMOE_TRY(prepare_pieces(&further_pieces, host, layer, placement, &prepared));
    further_memory *memory = prepared->own;
    memory->copy = host->allocate(host->context, layer->hidden_size * sizeof(float), 64);
    if (memory->copy == NULL) {
        release_all(prepared);
        return adamoe_error(ADAMOE_ENVIRONMENT, "prepare: out of memory");
    }
    *out = prepared;
    return adamoe_ok();
}
KERNEL_TABLE(further, "honest-further-memory",
             "several allocations, each checked; adds to the stages it is asked for", ADAMOE_FLOAT32,
             (.tiles = {4, 8, 4}, .silu_error = 4.0f, .release = release_all,
              .release_matrix = honest_release_matrix));

/* --------------------------------------------------------------- attention over time (../wrong/attention.c) */

/* Packed keys serve again where they are the same to the last bit. */
static struct {
    size_t count;
    float key[MOST_KEPT];
} kept_keys;

static void attend_to_equal_keys(const attention_pass *pass)
{
    adamoe_attention_call call = *pass->call;
    attention_pass copy = *pass;
    size_t rows = 0;
    for (size_t s = 0; s < call.spans; ++s) {
        const size_t end = call.span[s].first_key + call.span[s].count;
        rows = end > rows ? end : rows;
    }
    const size_t count = rows * call.key_value_heads * call.head_dim;
    if (count <= MOST_KEPT) {
        if (kept_keys.count != count || memcmp(kept_keys.key, call.key, count * sizeof *call.key) != 0) {
            kept_keys.count = count;
            memcpy(kept_keys.key, call.key, count * sizeof *call.key);
        }
        call.key = kept_keys.key;
        copy.call = &call;
    }
    honest_attention_run(&copy);
}

static adamoe_status attention_with_kept_keys(const adamoe_run *run, const adamoe_attention_call *call)
{
    static const attention_pieces given = {.run = attend_to_equal_keys};
    return attend_by_pieces(&given, run, call);
}

/* A table of the process that the first call makes, and that goes with the plugin. */
static float *table;

__attribute__((destructor)) static void free_table(void)
{
    free(table);
}

static void route_with_table(const route_pass *pass)
{
    table = table == NULL ? calloc(256, sizeof *table) : table;
    honest_route_run(pass);
}

static adamoe_status route_and_keep_table(const adamoe_run *run, adamoe_routing *routing)
{
    static const route_pieces given = {.run = route_with_table};
    return route_by_pieces(&given, run, routing);
}

KERNEL_OF_PIECES(keys_kept, "honest-keys-kept",
                 "keys are kept and compared before they serve; the router keeps a table", ADAMOE_FLOAT32,
                 (.attention_work_bytes = honest_attention_work, .attention = attention_with_kept_keys,
                  .route = route_and_keep_table),
                 .run = honest_run);

EXPORT_KERNELS(&long_blocks, &input_kept, &restores, &further, &keys_kept);
