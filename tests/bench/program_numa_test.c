/*
 * Placement through the program: a layer under every policy, on the machine's nodes and on nodes given by
 * hand, by every kernel that runs here, gives the same bits as on one node; and the program says where the
 * pages are.
 */
#include "program.h"
#include "machine/placement.h"
#include "registry.h"
#include "safetensors/safetensors.h"

#include <jansson.h>

/* Odd sizes, and matrices of several pages, so that every node has pages of each expert. */
#define TOKENS       4
#define HIDDEN       67
#define INTERMEDIATE 801 /* more than one block of columns of the oneDNN kernels */
#define EXPERTS      5
#define NULL_EXPERTS 2
#define TENSORS      (3 + 3 * EXPERTS)

typedef struct layer_tensors {
    adamoe_tensor tensor[TENSORS];
    char name[TENSORS][64];
    float *data[TENSORS];
    size_t count;
    uint32_t random;
} layer_tensors;

static void add_tensor(layer_tensors *all, const char *name, size_t rows, size_t columns)
{
    float *data = calloc(rows * columns, sizeof *data);
    assert_non_null(data);
    for (size_t i = 0; i < rows * columns; ++i) {
        all->random = all->random * 1664525u + 1013904223u;
        data[i] = (float)(int32_t)all->random * 0x1p-34f;
    }
    (void)snprintf(all->name[all->count], sizeof all->name[0], "%s", name);
    all->data[all->count] = data;
    all->tensor[all->count] = (adamoe_tensor){.name = all->name[all->count],
                                              .dtype = ADAMOE_F32,
                                              .rank = 2,
                                              .shape = {rows, columns},
                                              .elements = rows * columns,
                                              .data = data};
    ++all->count;
}

static void write_layer(const char *path)
{
    layer_tensors *all = calloc(1, sizeof *all);
    assert_non_null(all);
    add_tensor(all, "hidden_states", TOKENS, HIDDEN);
    add_tensor(all, "block_sparse_moe.gate.weight", EXPERTS, HIDDEN);
    add_tensor(all, "block_sparse_moe.gate2.weight", NULL_EXPERTS, HIDDEN);
    for (size_t e = 0; e < EXPERTS; ++e) {
        for (size_t w = 1; w <= 3; ++w) {
            char name[64];
            (void)snprintf(name, sizeof name, "block_sparse_moe.experts.%zu.w%zu.weight", e, w);
            add_tensor(all, name, w == 2 ? HIDDEN : INTERMEDIATE, w == 2 ? INTERMEDIATE : HIDDEN);
        }
    }
    assert_ok(adamoe_safetensors_write(path, all->tensor, all->count, NULL, 0));
    for (size_t i = 0; i < all->count; ++i) {
        free(all->data[i]);
    }
    free(all);
}

/* The bytes of the output tensor, which the caller frees. */
static float *read_output(const char *path)
{
    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_open(path, &file));
    const adamoe_tensor *output = adamoe_safetensors_find(file, "output");
    assert_non_null(output);
    assert_int_equal(output->elements, TOKENS * HIDDEN);
    float *copy = malloc(output->elements * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, output->data, output->elements * sizeof *copy);
    adamoe_safetensors_close(file);
    return copy;
}

typedef struct placed_run {
    const char *layer, *output, *json, *kernel;
} placed_run;

/* Runs the layer, and checks the report of its pages; returns the output. */
static float *run_layer(const placed_run *r, const char *placing)
{
    const outcome *done = run(ADAMOE " layer %s --top-k 3 --kernel %s %s -o %s --json %s", r->layer,
                              r->kernel, placing, r->output, r->json);
    if (done->code != 0) {
        fail_msg("%s %s: exit %d: %s", r->kernel, placing, done->code, done->text);
    }
    json_t *root = json_load_file(r->json, 0, NULL);
    json_t *pages = json_object_get(json_object_get(root, "machine"), "pages");
    assert_non_null(pages);
    assert_int_equal(json_integer_value(json_object_get(pages, "misplaced")), 0);
    if (json_integer_value(json_object_get(pages, "unverified")) > 0) {
        print_message("skipped: pages cannot be verified here: %s\n",
                      json_string_value(json_object_get(pages, "reason")));
    } else if (strstr(placing, "local") == NULL) {
        assert_in_range(json_integer_value(json_object_get(pages, "verified")), EXPERTS,
                        SIZE_MAX); /* not vacuous */
    }
    json_decref(root);
    return read_output(r->output);
}

static void compare_placements(const placed_run *r, const adamoe_topology *machine)
{
    const uint32_t a = machine->node[0].cpu[0], last = machine->nodes - 1,
                   b = machine->node[last].cpu[machine->node[last].cpus - 1];
    float *expected = run_layer(r, "--threads 1 --numa local");
    for (int policy = ADAMOE_NUMA_LOCAL; policy <= ADAMOE_NUMA_SPLIT; ++policy) {
        char placing[3][128];
        const char *name = adamoe_numa_policy_names[policy];
        (void)snprintf(placing[0], sizeof placing[0], "--numa %s", name);
        (void)snprintf(placing[1], sizeof placing[1], "--numa %s --numa-topology %u:%u", name, a, b);
        (void)snprintf(placing[2], sizeof placing[2], "--numa %s --numa-topology %u:%u:%u:%u", name, a, b, a,
                       b);
        for (size_t i = 0; i < 3; ++i) {
            float *got = run_layer(r, placing[i]);
            if (memcmp(got, expected, TOKENS * HIDDEN * sizeof *got) != 0) {
                fail_msg("%s %s: other bits than with one thread on one node", r->kernel, placing[i]);
            }
            free(got);
        }
    }
    free(expected);
}

static void the_same_bits_for_every_placement(void **state)
{
    adamoe_registry *registry = NULL;
    adamoe_topology *machine = NULL;
    const folder_path layer = in_folder(state, "layer.safetensors"),
                      output = in_folder(state, "out.safetensors"), json = in_folder(state, "run.json");
    assert_ok(adamoe_registry_create(&registry));
    assert_ok(adamoe_topology_detect(&machine));
    write_layer(layer.text);
    size_t compared = 0;
    for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        const char *why_not = "";
        if (!kernel->supported(&why_not)) {
            print_message("skipped: %s: %s\n", kernel->name, why_not);
        } else if (strcmp(kernel->name, "reference") == 0) {
            print_message("reference: it knows no placement\n");
        } else if ((kernel->guarantees & ADAMOE_SAME_BITS_PLACEMENT) != 0) {
            const placed_run r = {layer.text, output.text, json.text, kernel->name};
            compare_placements(&r, machine);
            print_message("the same bits for every placement: %s\n", kernel->name);
            ++compared;
        }
    }
    assert_in_range(compared, 1, SIZE_MAX);
    adamoe_topology_free(machine);
    adamoe_registry_free(registry);
}

static void topologies_that_are_refused(void **state)
{
    (void)state;
    expect(run(ADAMOE " layer %s --numa-topology 0:", LAYER), 2,
           "adamoe layer: --numa-topology: node 1, character 3 (`'): expected a processor");
    expect(run(ADAMOE " layer %s --numa-topology 65000", LAYER), 2, "is not one that this process may use");
    expect(run(ADAMOE " check --kernel onednn-f32 --case tokens:33 --numa-topology 0,"), 2,
           "adamoe check: --numa-topology: node 0, character 3 (`'): expected a processor");
    expect(run(ADAMOE " eval --model %s --questions %s --numa-topology x", MODEL, QUESTIONS), 2,
           "adamoe eval: --numa-topology: node 0, character 1 (`x'): expected a processor");
    expect(run(ADAMOE " layer %s --numa everywhere", LAYER), 2,
           "--numa: `everywhere' is not one of: local, interleave, experts, split");
}

static void what_the_program_says(void **state)
{
    (void)state;
    adamoe_topology *machine = NULL;
    char text[64];
    assert_ok(adamoe_topology_detect(&machine));
    (void)snprintf(text, sizeof text, "placement split, 2 threads on 2 nodes (%u:%u) by hand; ",
                   machine->node[0].cpu[0], machine->node[0].cpu[0]);
    expect(run(ADAMOE " layer %s --numa split --numa-topology %u:%u", LAYER, machine->node[0].cpu[0],
               machine->node[0].cpu[0]),
           0, text);
    expect(run(ADAMOE " info"), 0, "NUMA node 0: ");
    const char *flags = getenv("ADAMOE_CHECK_FLAGS"); /* what an emulated machine needs */
    expect(run(ADAMOE " check --kernel onednn-f32 --tier bound --case tokens:33 --numa experts"
                      " --numa-topology %u:%u:%u %s",
               machine->node[0].cpu[0], machine->node[0].cpu[0], machine->node[0].cpu[0],
               flags == NULL ? "" : flags),
           0, " 0 failed");
    adamoe_topology_free(machine);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(the_same_bits_for_every_placement),
        cmocka_unit_test(topologies_that_are_refused),
        cmocka_unit_test(what_the_program_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
