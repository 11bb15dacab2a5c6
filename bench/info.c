/*
 * adamoe info: what this machine is, which libraries the program uses, and which kernels run here.
 */
#include "cpu.h"
#include "json_output.h"
#include "numbers.h"
#include "onednn/adapter.h"
#include "options.h"
#include "team.h"
#include "verbs.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

enum {
    OPTION_JSON = 1,
    OPTION_PLUGIN,
};

typedef struct info_options {
    const char *json, *plugin;
} info_options;

static const struct argp_option options_list[] = {
    {"json", OPTION_JSON, "FILE", 0, "Write JSON, `-' for standard output", 0},
    {"plugin", OPTION_PLUGIN, "FILE.so", 0, "Load kernels from a shared object first", 0},
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
        o->plugin = value;
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

typedef struct library {
    const char *key, *name; /* in JSON, and for people */
    char version[64];
} library;

#define LIBRARIES 5

/* The versions that run; of libnuma and Google Benchmark, which do not tell, those that were built with. */
static void describe_libraries(library list[LIBRARIES])
{
    static const library names[LIBRARIES] = {{.key = "jansson", .name = "jansson"},
                                             {.key = "onednn", .name = "oneDNN"},
                                             {.key = "pcre2", .name = "PCRE2"},
                                             {.key = "libnuma", .name = "libnuma"},
                                             {.key = "google_benchmark", .name = "Google Benchmark"}};
    memcpy(list, names, sizeof names);
    (void)snprintf(list[0].version, sizeof list[0].version, "%s", jansson_version_str());
    onednn_version(list[1].version, sizeof list[1].version);
    (void)pcre2_config(PCRE2_CONFIG_VERSION, list[2].version);
    (void)snprintf(list[3].version, sizeof list[3].version, "%s", ADAMOE_NUMA_VERSION);
    (void)snprintf(list[4].version, sizeof list[4].version, "%s", ADAMOE_BENCHMARK_VERSION);
}

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
    return json_pack("{s:o,s:o,s:b,s:o,s:{s:s,s:s,s:s,s:s},s:b,s:o,s:o}", "name",
                     adamoe_json_text(kernel->name), "summary", adamoe_json_text(kernel->summary),
                     "supported", why_not == NULL, "why_not",
                     why_not == NULL ? json_null() : adamoe_json_text(why_not), "arithmetic", "x",
                     adamoe_arithmetic_name(kernel->x), "h", adamoe_arithmetic_name(kernel->h), "weight",
                     adamoe_arithmetic_name(kernel->weight), "accumulate",
                     adamoe_arithmetic_name(kernel->accumulate), "dense_product", kernel->multiply != NULL,
                     "same_bits", promised, "implementation", adamoe_json_text(implementation));
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

static json_t *libraries_json(void)
{
    library list[LIBRARIES];
    json_t *versions = json_object();
    describe_libraries(list);
    for (size_t i = 0; i < LIBRARIES; ++i) {
        json_object_set_new(versions, list[i].key, adamoe_json_text(list[i].version));
    }
    return versions;
}

static json_t *info_json(const adamoe_cpu *cpu, const adamoe_registry *registry)
{
    json_t *kernels = json_array();
    for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
        json_array_append_new(kernels, kernel_json(adamoe_registry_at(registry, i)));
    }
    return json_pack("{s:s,s:{s:o,s:I,s:I,s:o,s:o},s:o,s:o,s:o}", "version", ADAMOE_VERSION, "cpu", "model",
                     adamoe_json_text(cpu->model), "processors", (json_int_t)adamoe_available_processors(),
                     "numa_nodes", (json_int_t)cpu->numa_nodes, "features", features_json(cpu), "caches",
                     caches_json(cpu), "libraries", libraries_json(), "kernels", kernels, "default_kernel",
                     adamoe_json_text(adamoe_registry_default(registry)->name));
}

static void print_cpu(const adamoe_cpu *cpu)
{
    printf("CPU       %s, %u processors, %zu NUMA node%s\nfeatures ", cpu->model,
           adamoe_available_processors(), cpu->numa_nodes, cpu->numa_nodes == 1 ? "" : "s");
    for (size_t i = 0; i < cpu->features; ++i) {
        printf(" %s", cpu->feature[i]);
    }
    printf("\ncaches   ");
    for (size_t i = 0; i < cpu->caches; ++i) {
        printf(" L%d %s %zu KiB%s", cpu->cache[i].level, cpu->cache[i].type, cpu->cache[i].bytes / 1024,
               i + 1 < cpu->caches ? "," : "");
    }
    putchar('\n');
}

static void print_libraries(void)
{
    library list[LIBRARIES];
    describe_libraries(list);
    printf("libraries");
    for (size_t i = 0; i < LIBRARIES; ++i) {
        printf("%s %s %s", i == 0 ? "" : ",", list[i].name, list[i].version);
    }
    putchar('\n');
}

static void print_kernel(const adamoe_kernel *kernel, bool is_default)
{
    const char *why_not = obstacle(kernel);
    printf("\nkernel    %s%s: %s\n", kernel->name, is_default ? " (default)" : "", kernel->summary);
    char implementation[128];
    describe_implementation(kernel, implementation, sizeof implementation);
    printf("  %s%s%s%s\n",
           why_not == NULL ? "runs here" : "cannot run here: ", why_not == NULL ? "" : why_not,
           implementation[0] == '\0' ? "" : ", on ", implementation);
    printf("  x %s, h %s, weights %s, sums %s%s\n", adamoe_arithmetic_name(kernel->x),
           adamoe_arithmetic_name(kernel->h), adamoe_arithmetic_name(kernel->weight),
           adamoe_arithmetic_name(kernel->accumulate), kernel->multiply == NULL ? "; no dense product" : "");
    printf("  same bits for any:");
    for (size_t i = 0; i < GUARANTEES; ++i) {
        if ((kernel->guarantees & guarantees[i].bit) != 0) {
            printf(" %s", guarantees[i].name);
        }
    }
    printf("%s\n", kernel->guarantees == 0 ? " nothing promised" : "");
}

static adamoe_status report(const info_options *o, const adamoe_registry *registry)
{
    adamoe_cpu cpu;
    adamoe_cpu_describe(&cpu);
    if (adamoe_json_leaves_stdout(o->json)) {
        printf("adamoe    %s\n", ADAMOE_VERSION);
        print_cpu(&cpu);
        print_libraries();
        for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
            const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
            print_kernel(kernel, kernel == adamoe_registry_default(registry));
        }
    }
    return o->json == NULL ? adamoe_ok() : adamoe_json_write(o->json, info_json(&cpu, registry));
}

static adamoe_status run(const info_options *o)
{
    adamoe_registry *registry = NULL;
    ADAMOE_TRY(adamoe_registry_create(&registry));
    adamoe_status status = o->plugin == NULL ? adamoe_ok() : adamoe_registry_load(registry, o->plugin);
    if (status.code == ADAMOE_OK) {
        status = report(o, registry);
    }
    adamoe_registry_free(registry);
    return status;
}

int adamoe_verb_info(int count, char **arguments)
{
    info_options options = {0};
    adamoe_parse(&info_argp, count, arguments, &options);
    return adamoe_finish("info", run(&options));
}
