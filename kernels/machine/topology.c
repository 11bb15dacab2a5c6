/*
 * The NUMA nodes that this process may use, from the files of the system, or given by hand. Which processors
 * and nodes the process may use is read from /proc/self/status, whose lists have the form of those in /sys.
 * Left out: caches and cores that share one, which no placement here asks for.
 */
#include "machine/topology.h"
#include "machine/system_file.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beyond what Linux can be built for. */
#define MAX_NUMBER      65535u
#define LOCAL_DISTANCE  10u
#define REMOTE_DISTANCE 20u

#define OUT_OF_MEMORY adamoe_error(ADAMOE_ENVIRONMENT, "topology: out of memory")

/* -------------------------------------------------------------------------------------- lists of numbers */

/* Reads NUMBER or NUMBER-NUMBER and moves on behind it. False, with *at where it goes wrong, for anything
 * else. */
static bool read_range(const char **at, uint32_t *first, uint32_t *last)
{
    for (uint32_t *number = first;; number = last) {
        const char *start = *at;
        uint32_t value = 0;
        for (; **at >= '0' && **at <= '9'; ++*at) {
            value = value * 10 + (uint32_t)(**at - '0');
            if (value > MAX_NUMBER) {
                *at = start;
                return false;
            }
        }
        if (*at == start) {
            return false;
        }
        *number = value;
        if (number == last) {
            *at = *last < *first ? start : *at;
            return *last >= *first;
        }
        if (**at != '-') {
            *last = *first;
            return true;
        }
        ++*at;
    }
}

/* Numbers in ascending order. */
typedef struct number_list {
    uint32_t *number;
    uint32_t count;
} number_list;

static bool contains(const number_list *list, uint32_t number)
{
    for (uint32_t i = 0; i < list->count; ++i) {
        if (list->number[i] == number) {
            return true;
        }
    }
    return false;
}

/* A list of the system's, which ascends; what cannot be read ends it. */
static adamoe_status read_list(const char *text, number_list *out)
{
    *out = (number_list){.number = calloc(MAX_NUMBER + 1, sizeof *out->number)};
    if (out->number == NULL) {
        return OUT_OF_MEMORY;
    }
    uint32_t first = 0, last = 0;
    while (read_range(&text, &first, &last)) {
        for (uint32_t i = first; i <= last && out->count <= MAX_NUMBER; ++i) {
            out->number[out->count++] = i;
        }
        text += *text == ',';
    }
    return adamoe_ok();
}

/* The list that stands behind `key` in a file; empty where there is none. */
static adamoe_status read_file_list(const char *root, const char *name, const char *key, number_list *out)
{
    char text[4096];
    return read_list(adamoe_system_file_text(root, name, key, text, sizeof text) ? text : "", out);
}

/* ------------------------------------------------------------------------------------------ the machine */

/* What the system tells, before nodes are made of it. */
typedef struct system_lists {
    const char *root;
    number_list nodes;  /* online */
    number_list cpus;   /* that this process may use */
    number_list memory; /* nodes that this process may take memory from */
} system_lists;

static void free_lists(system_lists *lists)
{
    free(lists->nodes.number);
    free(lists->cpus.number);
    free(lists->memory.number);
}

static adamoe_status read_lists(const char *root, system_lists *out)
{
    *out = (system_lists){.root = root};
    ADAMOE_TRY(read_file_list(root, "sys/devices/system/node/online", "", &out->nodes));
    ADAMOE_TRY(read_file_list(root, "proc/self/status", "Cpus_allowed_list:", &out->cpus));
    return read_file_list(root, "proc/self/status", "Mems_allowed_list:", &out->memory);
}

static void node_file(char path[96], uint32_t number, const char *name)
{
    (void)snprintf(path, 96, "sys/devices/system/node/node%u/%s", number, name);
}

/* From the i-th online node to the j-th: the file has one number for each. */
static uint32_t system_distance(const system_lists *lists, uint32_t i, uint32_t j)
{
    char path[96], text[4096];
    node_file(path, lists->nodes.number[i], "distance");
    if (adamoe_system_file_text(lists->root, path, "", text, sizeof text)) {
        char *at = text, *end = NULL;
        for (uint32_t n = 0; n <= j; ++n, at = end) {
            const unsigned long value = strtoul(at, &end, 10);
            if (end == at || value == 0 || value > MAX_NUMBER) {
                break;
            }
            if (n == j) {
                return (uint32_t)value;
            }
        }
    }
    return i == j ? LOCAL_DISTANCE : REMOTE_DISTANCE;
}

static size_t node_memory(const system_lists *lists, uint32_t number, const char *what)
{
    char path[96], key[64];
    node_file(path, number, "meminfo");
    (void)snprintf(key, sizeof key, "Node %u %s:", number, what);
    const size_t bytes = adamoe_system_file_number(lists->root, path, key);
    return bytes == SIZE_MAX ? 0 : bytes;
}

/* The i-th online node itself, or the nearest with memory for this process; itself where nothing is known. */
static uint32_t memory_node(const system_lists *lists, uint32_t i)
{
    uint32_t best = lists->nodes.number[i], best_distance = UINT32_MAX;
    for (uint32_t j = 0; j < lists->nodes.count; ++j) {
        const uint32_t number = lists->nodes.number[j];
        if (!contains(&lists->memory, number) || node_memory(lists, number, "MemTotal") == 0) {
            continue;
        }
        const uint32_t distance = system_distance(lists, i, j);
        if (distance < best_distance) {
            best = number;
            best_distance = distance;
        }
    }
    return best;
}

/* The processors of the i-th online node that this process may use; an empty node for none. */
static adamoe_status read_node(const system_lists *lists, uint32_t i, adamoe_topology_node *out)
{
    char path[96];
    number_list cpus;
    node_file(path, lists->nodes.number[i], "cpulist");
    *out = (adamoe_topology_node){0};
    ADAMOE_TRY(read_file_list(lists->root, path, "", &cpus));
    out->cpu = calloc(cpus.count + 1, sizeof *out->cpu);
    for (uint32_t c = 0; c < cpus.count && out->cpu != NULL; ++c) {
        if (contains(&lists->cpus, cpus.number[c])) {
            out->cpu[out->cpus++] = cpus.number[c];
        }
    }
    free(cpus.number);
    if (out->cpus > 0) {
        out->machine_node = memory_node(lists, i);
        out->memory_bytes = node_memory(lists, out->machine_node, "MemTotal");
        out->free_bytes = node_memory(lists, out->machine_node, "MemFree");
    }
    return out->cpu != NULL ? adamoe_ok() : OUT_OF_MEMORY;
}

static adamoe_status read_nodes(const system_lists *lists, adamoe_topology *topology)
{
    uint32_t index[ADAMOE_MAX_NODES]; /* among the online nodes */
    for (uint32_t i = 0; i < lists->nodes.count && topology->nodes < ADAMOE_MAX_NODES; ++i) {
        adamoe_topology_node *node = &topology->node[topology->nodes];
        const adamoe_status status = read_node(lists, i, node);
        if (status.code != ADAMOE_OK || node->cpus == 0) {
            free(node->cpu);
            ADAMOE_TRY(status);
            continue;
        }
        index[topology->nodes++] = i;
    }
    for (uint32_t a = 0; a < topology->nodes; ++a) {
        for (uint32_t b = 0; b < topology->nodes; ++b) {
            topology->distance[a][b] = system_distance(lists, index[a], index[b]);
        }
    }
    return adamoe_ok();
}

/* Where no node is known: all processors on one. */
static adamoe_status make_one_node(const system_lists *lists, adamoe_topology *topology)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    const bool told = lists->cpus.count > 0 || sched_getaffinity(0, sizeof set, &set) == 0;
    adamoe_topology_node *node = topology->node;
    node->cpu = calloc((size_t)lists->cpus.count + CPU_SETSIZE, sizeof *node->cpu);
    if (node->cpu == NULL) {
        return OUT_OF_MEMORY;
    }
    topology->nodes = 1;
    for (uint32_t i = 0; i < lists->cpus.count; ++i) {
        node->cpu[node->cpus++] = lists->cpus.number[i];
    }
    for (uint32_t i = 0; lists->cpus.count == 0 && told && i < CPU_SETSIZE; ++i) {
        if (CPU_ISSET(i, &set)) {
            node->cpu[node->cpus++] = i;
        }
    }
    node->cpus += node->cpus == 0; /* processor 0: something runs this */
    topology->distance[0][0] = LOCAL_DISTANCE;
    return adamoe_ok();
}

static adamoe_status detect(const system_lists *lists, adamoe_topology *topology)
{
    ADAMOE_TRY(read_nodes(lists, topology));
    return topology->nodes > 0 ? adamoe_ok() : make_one_node(lists, topology);
}

adamoe_status adamoe_topology_detect_under(const char *root, adamoe_topology **out)
{
    system_lists lists;
    adamoe_topology *topology = calloc(1, sizeof *topology);
    adamoe_status status = read_lists(root, &lists);
    if (status.code == ADAMOE_OK) {
        status = topology == NULL ? OUT_OF_MEMORY : detect(&lists, topology);
    }
    free_lists(&lists);
    if (status.code != ADAMOE_OK) {
        adamoe_topology_free(topology);
        return status;
    }
    *out = topology;
    return status;
}

adamoe_status adamoe_topology_detect(adamoe_topology **out)
{
    return adamoe_topology_detect_under("", out);
}

void adamoe_topology_free(adamoe_topology *topology)
{
    for (uint32_t n = 0; topology != NULL && n < topology->nodes; ++n) {
        free(topology->node[n].cpu);
    }
    free(topology);
}

/* ---------------------------------------------------------------------------------------------- by hand */

/* The node of the machine that has the processor, or NULL. */
static const adamoe_topology_node *find_cpu(const adamoe_topology *machine, uint32_t cpu)
{
    for (uint32_t n = 0; n < machine->nodes; ++n) {
        const number_list list = {machine->node[n].cpu, machine->node[n].cpus};
        if (contains(&list, cpu)) {
            return &machine->node[n];
        }
    }
    return NULL;
}

/* Where in the text a processor is named, for messages. */
typedef struct text_place {
    const char *text, *at;
    uint32_t node;
} text_place;

static adamoe_status refuse(const text_place *place, const char *why)
{
    return adamoe_error(ADAMOE_BAD_INPUT, "node %u, character %zu (`%.12s'): %s", place->node,
                        (size_t)(place->at - place->text) + 1, place->at, why);
}

static int compare_numbers(const void *a, const void *b)
{
    const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static adamoe_status add_cpu(const text_place *place, const adamoe_topology *machine, uint32_t cpu,
                             adamoe_topology_node *node)
{
    const adamoe_topology_node *owner = find_cpu(machine, cpu);
    const number_list named = {node->cpu, node->cpus};
    char why[96];
    if (owner == NULL) {
        (void)snprintf(why, sizeof why, "processor %u is not one that this process may use", cpu);
        return refuse(place, why);
    }
    if (contains(&named, cpu)) {
        (void)snprintf(why, sizeof why, "processor %u is named twice in this node", cpu);
        return refuse(place, why);
    }
    if (node->cpus > 0 && node->machine_node != owner->machine_node) {
        (void)snprintf(why, sizeof why, "processor %u is of the machine's node %u, those before it are of %u",
                       cpu, owner->machine_node, node->machine_node);
        return refuse(place, why);
    }
    uint32_t *grown = realloc(node->cpu, (node->cpus + 1) * sizeof *grown);
    if (grown == NULL) {
        return OUT_OF_MEMORY;
    }
    grown[node->cpus] = cpu;
    *node = (adamoe_topology_node){.machine_node = owner->machine_node,
                                   .cpus = node->cpus + 1,
                                   .cpu = grown,
                                   .memory_bytes = owner->memory_bytes,
                                   .free_bytes = owner->free_bytes};
    return adamoe_ok();
}

/* One node: ranges separated by commas. Leaves place->at at the colon or the end behind it. */
static adamoe_status parse_node(text_place *place, const adamoe_topology *machine, adamoe_topology_node *node)
{
    for (;; ++place->at) {
        uint32_t first = 0, last = 0;
        const char *end = place->at;
        if (!read_range(&end, &first, &last)) {
            place->at = end;
            return refuse(place, "expected a processor, as 0, or a range of them, as 0-3");
        }
        for (uint32_t cpu = first; cpu <= last; ++cpu) {
            ADAMOE_TRY(add_cpu(place, machine, cpu, node));
        }
        place->at = end;
        if (*end != ',') {
            break;
        }
    }
    qsort(node->cpu, node->cpus, sizeof *node->cpu, compare_numbers);
    return *place->at == ':' || *place->at == '\0'
               ? adamoe_ok()
               : refuse(place, "expected `,' and a processor, or `:' and the next node");
}

static adamoe_status parse_nodes(const char *text, const adamoe_topology *machine, adamoe_topology *topology)
{
    text_place place = {.text = text, .at = text};
    for (;; ++place.at) {
        if (topology->nodes == ADAMOE_MAX_NODES) {
            return refuse(&place, "too many nodes");
        }
        place.node = topology->nodes++;
        ADAMOE_TRY(parse_node(&place, machine, &topology->node[place.node]));
        if (*place.at == '\0') {
            return adamoe_ok();
        }
    }
}

/* Between nodes by hand: what lies between the machine's nodes that their memory is on. */
static void copy_distances(const adamoe_topology *machine, adamoe_topology *topology)
{
    uint32_t index[ADAMOE_MAX_NODES] = {0};
    for (uint32_t n = 0; n < topology->nodes; ++n) {
        while (find_cpu(machine, topology->node[n].cpu[0]) != &machine->node[index[n]]) {
            ++index[n];
        }
    }
    for (uint32_t a = 0; a < topology->nodes; ++a) {
        for (uint32_t b = 0; b < topology->nodes; ++b) {
            topology->distance[a][b] = machine->distance[index[a]][index[b]];
        }
    }
}

adamoe_status adamoe_topology_parse(const char *text, const adamoe_topology *machine, adamoe_topology **out)
{
    adamoe_topology *topology = calloc(1, sizeof *topology);
    if (topology == NULL) {
        return OUT_OF_MEMORY;
    }
    topology->by_hand = true;
    const adamoe_status status = parse_nodes(text, machine, topology);
    if (status.code != ADAMOE_OK) {
        adamoe_topology_free(topology);
        return status;
    }
    copy_distances(machine, topology);
    *out = topology;
    return status;
}

void adamoe_topology_describe(const adamoe_topology *topology, char *text, size_t size)
{
    text[0] = '\0';
    for (uint32_t n = 0; n < topology->nodes; ++n) {
        const adamoe_topology_node *node = &topology->node[n];
        for (uint32_t i = 0, end = 0; i < node->cpus; i = end) {
            for (end = i + 1; end < node->cpus && node->cpu[end] == node->cpu[end - 1] + 1;) {
                ++end;
            }
            const size_t used = strlen(text);
            const char *between = i > 0 ? "," : n > 0 ? ":" : "";
            if (end - i == 1) {
                (void)snprintf(text + used, size - used, "%s%u", between, node->cpu[i]);
            } else {
                (void)snprintf(text + used, size - used, "%s%u-%u", between, node->cpu[i],
                               node->cpu[end - 1]);
            }
        }
    }
}
