/*
 * adamoe info: what this machine is, which libraries the program uses, and which kernels run here.
 */
#include "machine/cpu.h"
#include "machine/last_level_cache.h"
#include "program/environment.h"
#include "machine/huge_pages.h"
#include "program/json_output.h"
#include "program/machine_json.h"
#include "numbers.h"
#include "onednn/adapter.h"
#include "onednn/faults.h"
#include "program/options.h"
#include "program/result_files.h"
#include "ranks/agreement.h"
#include "ranks/layout.h"
#include "ranks/options.h"
#include "machine/team.h"
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPTION_JSON = 1,
    OPTION_PLUGIN,
    OPTION_COMMAND,
};

typedef struct info_options {
    int count; /* the command line */
    char **arguments;
    adamoe_ranks *ranks;
    adamoe_rank_place *place; /* [ranks] on rank 0; NULL: alone */
    char mpi[96];
    adamoe_common_options common; /* plugin and commands */
    const char *json;
} info_options;

static const struct argp_option options_list[] = {
    {"json", OPTION_JSON, "FILE", 0, "Write JSON, `-' for standard output", 0},
    {"plugin", OPTION_PLUGIN, "FILE.so", 0, "Load kernels from a shared object first", 0},
    {"command", OPTION_COMMAND, "'PROGRAM ...'", 0, ADAMOE_COMMAND_HELP, 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    info_options *o = state->input;
    switch (key) {
    case OPTION_JSON:
        o->json = value;
        return 0;
    case OPTION_PLUGIN:
        o->common.plugin = value;
        return 0;
    case OPTION_COMMAND:
        adamoe_add_command(state, value, &o->common);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp info_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc = "What this machine is, and which kernels run on it."
           "\vExample:\n  adamoe info --json -\n",
};

typedef struct guarantee {
    uint32_t bit;
    const char *name;
} guarantee;

static const guarantee guarantees[] = {
    {ADAMOE_SAME_BITS_RUNS, "runs"},
    {ADAMOE_SAME_BITS_THREADS, "threads"},
    {ADAMOE_SAME_BITS_BATCH, "batch"},
    {ADAMOE_SAME_BITS_PLACEMENT, "placement"},
};

#define GUARANTEES (sizeof guarantees / sizeof *guarantees)

/* Why a kernel cannot run here; NULL where it can. */
static const char *obstacle(const adamoe_kernel *kernel)
{
    const char *why_not = NULL;
    if (kernel->supported(&why_not)) {
        return NULL;
    }
    return why_not == NULL ? "no reason given" : why_not;
}

/* What a library chose to compute the kernel's products with; empty where the kernel is its own code. */
static void describe_implementation(const adamoe_kernel *kernel, char *text, size_t size)
{
    text[0] = '\0';
    if (kernel->implementation != NULL && obstacle(kernel) == NULL) {
        kernel->implementation(NULL, text, size);
    }
}

/* By its name: what a library or a plugin computes with is its own code, which this
 * build does not emulate. */
static bool is_emulated(const adamoe_kernel *kernel)
{
    static const char *const prefixes[] = {"avx512-", "amx-"};
    bool ours = false;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; ++i) {
        ours = ours || strncmp(kernel->name, prefixes[i], strlen(prefixes[i])) == 0;
    }
    return ours && adamoe_cpu_emulates_avx512();
}

static json_t *kernel_json(const adamoe_kernel *kernel)
{
    char implementation[128];
    describe_implementation(kernel, implementation, sizeof implementation);
    const char *why_not = obstacle(kernel);
    json_t *promised = json_array();
    for (size_t i = 0; i < GUARANTEES; ++i) {
        if ((kernel->guarantees & guarantees[i].bit) != 0) {
            json_array_append_new(promised, json_string(guarantees[i].name));
        }
    }
    return json_pack("{s:o,s:o,s:b,s:b,s:o,s:{s:s,s:s,s:s,s:s,s:s,s:s,s:s},s:b,s:o,s:o}", "name",
                     adamoe_json_text(kernel->name), "summary", adamoe_json_text(kernel->summary),
                     "supported", why_not == NULL, "emulated", is_emulated(kernel), "why_not",
                     why_not == NULL ? json_null() : adamoe_json_text(why_not), "arithmetic", "x",
                     adamoe_arithmetic_name(kernel->x), "h", adamoe_arithmetic_name(kernel->h), "weight",
                     adamoe_arithmetic_name(kernel->weight), "accumulate",
                     adamoe_arithmetic_name(kernel->accumulate), "up", adamoe_arithmetic_name(kernel->up),
                     "down", adamoe_arithmetic_name(kernel->down), "y", adamoe_arithmetic_name(kernel->y),
                     "dense_product", kernel->multiply != NULL, "same_bits", promised, "implementation",
                     adamoe_json_text(implementation));
}

static json_t *caches_json(const adamoe_cpu *cpu)
{
    json_t *list = json_array();
    for (size_t i = 0; i < cpu->caches; ++i) {
        json_array_append_new(list, json_pack("{s:i,s:s,s:I}", "level", cpu->cache[i].level, "type",
                                              cpu->cache[i].type, "bytes", (json_int_t)cpu->cache[i].bytes));
    }
    return list;
}

static json_t *features_json(const adamoe_cpu *cpu)
{
    json_t *list = json_array();
    for (size_t i = 0; i < cpu->features; ++i) {
        json_array_append_new(list, json_string(cpu->feature[i]));
    }
    return list;
}

static const adamoe_arithmetic onednn_types[] = {ADAMOE_FLOAT32, ADAMOE_BFLOAT16};

#define ONEDNN_TYPES (sizeof onednn_types / sizeof *onednn_types)

/* What oneDNN computes wrong here, by its own small products. */
static json_t *onednn_json(void)
{
    char version[32];
    json_t *faults = json_array();
    for (size_t i = 0; i < ONEDNN_TYPES; ++i) {
        const onednn_findings *found = onednn_find_faults(onednn_types[i]);
        for (onednn_fault f = 0; f < ONEDNN_FAULTS; ++f) {
            if (found->fault[f]) {
                json_array_append_new(faults, json_pack("{s:s,s:s,s:s,s:s}", "arithmetic",
                                                        adamoe_arithmetic_name(onednn_types[i]), "fault",
                                                        onednn_fault_name(f), "text", onednn_fault_text(f),
                                                        "remedy", onednn_fault_remedy(f)));
            }
        }
    }
    onednn_version(version, sizeof version);
    return json_pack("{s:s,s:o}", "version", version, "faults", faults);
}

/* What an emulated build computes with is no processor's. */
static bool tiles_of_the_processor(void)
{
    return adamoe_cpu_tiles_obstacle() == NULL && !adamoe_cpu_emulates_avx512();
}

/* Whether the tiles can be used, and why not. */
static json_t *amx_json(void)
{
    const char *obstacle = adamoe_cpu_tiles_obstacle();
    return json_pack("{s:b,s:b,s:o}", "supported", obstacle == NULL, "emulated",
                     (int)adamoe_cpu_emulates_avx512(), "why_not",
                     obstacle == NULL ? json_null() : json_string(obstacle));
}

static json_t *info_json(const adamoe_cpu *cpu, const adamoe_topology *topology,
                         const adamoe_registry *registry)
{
    json_t *kernels = json_array();
    for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
        json_array_append_new(kernels, kernel_json(adamoe_registry_at(registry, i)));
    }
    return json_pack("{s:s,s:{s:o,s:I,s:I,s:o,s:b,s:o},s:o,s:o,s:b,s:o,s:o,s:o,s:o,s:o}", "version",
                     ADAMOE_VERSION, "cpu", "model", adamoe_json_text(cpu->model), "processors",
                     (json_int_t)adamoe_available_processors(), "numa_nodes", (json_int_t)cpu->numa_nodes,
                     "features", features_json(cpu), "avx512_emulated", (int)cpu->avx512_emulated, "caches",
                     caches_json(cpu), "numa", adamoe_topology_json(topology), "transparent_huge_pages",
                     adamoe_huge_pages_json(), "amx_through_onednn", (int)tiles_of_the_processor(), "amx",
                     amx_json(), "libraries", adamoe_libraries_json(), "onednn", onednn_json(), "kernels",
                     kernels, "default_kernel", adamoe_json_text(adamoe_registry_default(registry)->name));
}

static void print_cpu(const adamoe_cpu *cpu)
{
    printf("CPU       %s, %u processors, %zu NUMA node%s\nfeatures ", cpu->model,
           adamoe_available_processors(), cpu->numa_nodes, cpu->numa_nodes == 1 ? "" : "s");
    for (size_t i = 0; i < cpu->features; ++i) {
        printf(" %s", cpu->feature[i]);
    }
    if (cpu->avx512_emulated) {
        printf(
            "\nemulated  AVX-512 and AMX, in software: this build tests its kernels, and no time of theirs means "
            "anything");
    }
    printf("\ncaches   ");
    for (size_t i = 0; i < cpu->caches; ++i) {
        printf(" L%d %s %zu KiB%s", cpu->cache[i].level, cpu->cache[i].type, cpu->cache[i].bytes / 1024,
               i + 1 < cpu->caches ? "," : "");
    }
    if (adamoe_last_level_cache_is_by_hand()) {
        printf("; measured as if the last level held %zu KiB (%s)", adamoe_last_level_cache() / 1024,
               ADAMOE_LAST_LEVEL_CACHE_VARIABLE);
    }
    putchar('\n');
}

static void print_nodes(const adamoe_topology *topology)
{
    char policy[32];
    for (uint32_t n = 0; n < topology->nodes; ++n) {
        const adamoe_topology_node *node = &topology->node[n];
        printf("%s %u: %u processor%s, memory of the machine's node %u: %zu MiB, %zu free; distances",
               n == 0 ? "NUMA node" : "         ", n, node->cpus, node->cpus == 1 ? "" : "s",
               node->machine_node, node->memory_bytes >> 20, node->free_bytes >> 20);
        for (uint32_t other = 0; other < topology->nodes; ++other) {
            printf(" %u", topology->distance[n][other]);
        }
        putchar('\n');
    }
    adamoe_huge_page_policy(policy, sizeof policy);
    printf("huge pages %s (transparent)\n", policy);
}

static void print_amx(void)
{
    const char *obstacle = adamoe_cpu_tiles_obstacle();
    if (obstacle != NULL) {
        printf("AMX       cannot be used here: %s\n", obstacle);
    } else if (tiles_of_the_processor()) {
        printf(
            "AMX       is there: the amx kernels use it, and the oneDNN kernels where the code that they run on, "
            "below, says so\n");
    }
}

static void print_libraries(void)
{
    adamoe_library list[ADAMOE_LIBRARIES];
    adamoe_describe_libraries(list);
    printf("libraries");
    for (size_t i = 0; i < ADAMOE_LIBRARIES; ++i) {
        printf("%s %s %s", i == 0 ? "" : ",", list[i].name, list[i].version);
    }
    putchar('\n');
}

static void print_onednn(void)
{
    size_t count = 0;
    for (size_t i = 0; i < ONEDNN_TYPES; ++i) {
        const onednn_findings *found = onednn_find_faults(onednn_types[i]);
        for (onednn_fault f = 0; f < ONEDNN_FAULTS; ++f) {
            if (found->fault[f]) {
                printf("%s %s: %s; %s\n", count++ == 0 ? "oneDNN   " : "         ",
                       adamoe_arithmetic_name(onednn_types[i]), onednn_fault_text(f), onednn_fault_remedy(f));
            }
        }
    }
    if (count == 0) {
        printf("oneDNN    none of the known faults shows in its products here\n");
    }
}

/* What is rounded besides operands, of those kernels that do so. */
static void print_rounded_results(const adamoe_kernel *kernel)
{
    const adamoe_arithmetic kinds[] = {kernel->up, kernel->down, kernel->y};
    static const char *const names[] = {"w1 x and w3 x", "w2 h", "y"};
    const char *separator = "; rounded to bfloat16 too: ";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
        if (kinds[i] == ADAMOE_BFLOAT16) {
            printf("%s%s", separator, names[i]);
            separator = ", ";
        }
    }
}

static void print_kernel(const adamoe_kernel *kernel, bool is_default)
{
    const char *why_not = obstacle(kernel);
    printf("\nkernel    %s%s: %s\n", kernel->name, is_default ? " (default)" : "", kernel->summary);
    char implementation[128];
    describe_implementation(kernel, implementation, sizeof implementation);
    printf("  %s%s%s%s%s\n",
           why_not == NULL ? "runs here" : "cannot run here: ", why_not == NULL ? "" : why_not,
           is_emulated(kernel) ? ", emulated" : "", implementation[0] == '\0' ? "" : ", on ", implementation);
    printf("  x %s, h %s, weights %s, sums %s", adamoe_arithmetic_name(kernel->x),
           adamoe_arithmetic_name(kernel->h), adamoe_arithmetic_name(kernel->weight),
           adamoe_arithmetic_name(kernel->accumulate));
    print_rounded_results(kernel);
    printf("%s\n", kernel->multiply == NULL ? "; no dense product" : "");
    printf("  same bits for any:");
    for (size_t i = 0; i < GUARANTEES; ++i) {
        if ((kernel->guarantees & guarantees[i].bit) != 0) {
            printf(" %s", guarantees[i].name);
        }
    }
    printf("%s\n", kernel->guarantees == 0 ? " nothing promised" : "");
}

static adamoe_status report_on(const info_options *o, const adamoe_topology *topology,
                               const adamoe_registry *registry)
{
    adamoe_cpu cpu;
    adamoe_cpu_describe(&cpu);
    const uint32_t ranks = adamoe_ranks_world(o->ranks)->ranks;
    if (adamoe_json_leaves_stdout(o->json)) {
        printf("adamoe    %s\n", ADAMOE_VERSION);
        print_cpu(&cpu);
        print_nodes(topology);
        if (ranks > 1) {
            adamoe_rank_places_print(o->place, ranks, o->mpi);
        }
        print_amx();
        print_libraries();
        print_onednn();
        for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
            const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
            print_kernel(kernel, kernel == adamoe_registry_default(registry));
        }
    }
    if (o->json == NULL) {
        return adamoe_ok();
    }
    json_t *all = info_json(&cpu, topology, registry);
    if (all != NULL && ranks > 1) {
        (void)json_object_set_new(all, "ranks", adamoe_rank_places_json(o->place, ranks, o->mpi));
    }
    return adamoe_json_write(o->json, all);
}

/* Of several ranks the first one reports, on all of them. */
static adamoe_status report_ranks(info_options *o, const adamoe_topology *topology,
                                  const adamoe_registry *registry)
{
    const adamoe_world *world = adamoe_ranks_world(o->ranks);
    o->place = calloc(world->ranks, sizeof *o->place);
    if (o->place == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "info: out of memory");
    }
    adamoe_ranks_describe(o->ranks, o->mpi, sizeof o->mpi);
    ADAMOE_TRY(adamoe_rank_places_gather(world, topology, o->place));
    return world->rank == 0 ? report_on(o, topology, registry) : adamoe_ok();
}

static adamoe_status report(info_options *o, const adamoe_registry *registry)
{
    adamoe_topology *topology = NULL;
    ADAMOE_TRY(adamoe_topology_detect(&topology));
    const adamoe_status status = report_ranks(o, topology, registry);
    adamoe_topology_free(topology);
    return status;
}

/* Rank 0 looks after the file of the results. */
static adamoe_status begin(const info_options *o, adamoe_registry **registry)
{
    const adamoe_result_file file = {"--json", o->json};
    if (adamoe_ranks_world(o->ranks)->rank == 0) {
        ADAMOE_TRY(adamoe_check_result_files(&file, 1, NULL, 0, &o->common));
    }
    ADAMOE_TRY(adamoe_registry_create(registry));
    return adamoe_load_kernels(&o->common, *registry);
}

/* Every verb begins with the same messages, so that one that runs on some of the ranks alone is named. */
static adamoe_status agree(const info_options *o, adamoe_status status)
{
    const adamoe_world *world = adamoe_ranks_world(o->ranks);
    adamoe_rank_facts facts = {.count = 0};
    if (status.code == ADAMOE_OK && world->ranks > 1) {
        status = adamoe_rank_fact_program(&facts);
    }
    if (status.code == ADAMOE_OK && world->ranks > 1) {
        status = adamoe_rank_fact_options(&facts, &info_argp, o->count, o->arguments);
    }
    return adamoe_rank_agree(world, status, &facts);
}

static adamoe_status run(info_options *o)
{
    adamoe_registry *registry = NULL;
    adamoe_status status = agree(o, begin(o, &registry));
    if (status.code == ADAMOE_OK) {
        status = report(o, registry);
    }
    adamoe_registry_free(registry);
    return status;
}

int adamoe_verb_info(int count, char **arguments)
{
    info_options options = {.count = count, .arguments = arguments};
    adamoe_parse(&info_argp, count, arguments, &options);
    adamoe_status status = adamoe_ranks_open(ADAMOE_PATIENCE, &options.ranks);
    if (status.code == ADAMOE_OK) {
        status = run(&options);
    }
    free(options.place);
    return adamoe_rank_finish("info", options.ranks, status);
}
