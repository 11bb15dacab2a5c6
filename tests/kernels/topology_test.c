/*
 * The nodes of a machine from trees of files as the system shows them: two nodes, processors and memory that
 * the process may not use, nodes without processors or without memory; and nodes given by hand, good and bad.
 */
#include "temporary_folder.h"
#include "machine/team.h"
#include "machine/topology.h"

#define NODE "sys/devices/system/node/"

static void put_folder(void **state, const char *name)
{
    folder_path path = in_folder(state, name);
    for (char *slash = strchr(path.text + strlen(*state) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        assert_true(mkdir(path.text, 0700) == 0 || access(path.text, W_OK) == 0);
        *slash = '/';
    }
}

static void put(void **state, const char *name, const char *text)
{
    put_folder(state, name);
    write_text(in_folder(state, name).text, text);
}

static void put_node(void **state, unsigned number, const char *cpus, const char *distance,
                     unsigned kilobytes)
{
    char name[64], text[128];
    (void)snprintf(name, sizeof name, NODE "node%u/cpulist", number);
    put(state, name, cpus);
    (void)snprintf(name, sizeof name, NODE "node%u/distance", number);
    put(state, name, distance);
    (void)snprintf(name, sizeof name, NODE "node%u/meminfo", number);
    (void)snprintf(text, sizeof text, "Node %u MemTotal: %8u kB\nNode %u MemFree:  %8u kB\n", number,
                   kilobytes, number, kilobytes / 4);
    put(state, name, text);
}

static void put_status(void **state, const char *cpus, const char *memory)
{
    char text[256];
    (void)snprintf(text, sizeof text, "Name:\tx\nCpus_allowed_list:\t%s\nMems_allowed_list:\t%s\n", cpus,
                   memory);
    put(state, "proc/self/status", text);
}

/* Two nodes of four processors each, the second one farther and with other numbers. */
static adamoe_topology *two_nodes(void **state)
{
    adamoe_topology *topology = NULL;
    put(state, NODE "online", "0,2\n");
    put_node(state, 0, "0-1,8-9\n", "10 21\n", 4000);
    put_node(state, 2, "2-5\n", "21 10\n", 8000);
    put_status(state, "0-15", "0-3");
    assert_ok(adamoe_topology_detect_under(*state, &topology));
    return topology;
}

static void assert_described(const adamoe_topology *topology, const char *expected)
{
    char text[256];
    adamoe_topology_describe(topology, text, sizeof text);
    assert_string_equal(text, expected);
}

static void a_machine_of_two_nodes(void **state)
{
    adamoe_topology *topology = two_nodes(state);
    assert_described(topology, "0-1,8-9:2-5");
    assert_false(topology->by_hand);
    assert_int_equal(topology->node[0].machine_node, 0);
    assert_int_equal(topology->node[1].machine_node, 2);
    assert_int_equal(topology->node[0].memory_bytes, 4000 * 1024);
    assert_int_equal(topology->node[1].free_bytes, 2000 * 1024);
    assert_int_equal(topology->distance[0][0], 10);
    assert_int_equal(topology->distance[0][1], 21);
    assert_int_equal(topology->distance[1][0], 21);
    adamoe_topology_free(topology);
}

static void processors_that_may_not_be_used(void **state)
{
    adamoe_topology *topology = NULL;
    adamoe_topology_free(two_nodes(state));
    put_status(state, "1,3-4", "0-3");
    assert_ok(adamoe_topology_detect_under(*state, &topology));
    assert_described(topology, "1:3-4");
    adamoe_topology_free(topology);
    put_status(state, "3", "0-3");
    assert_ok(adamoe_topology_detect_under(*state, &topology));
    assert_described(topology, "3");
    assert_int_equal(topology->node[0].machine_node, 2);
    assert_int_equal(topology->distance[0][0], 10);
    adamoe_topology_free(topology);
}

/* Node 1 has processors only, node 3 memory only; the nearest memory of node 1 is on node 3, then on 2. */
static void nodes_without_memory_or_processors(void **state)
{
    adamoe_topology *topology = NULL;
    put(state, NODE "online", "0-3\n");
    put_node(state, 0, "0\n", "10 30 30 30\n", 1000);
    put_node(state, 1, "1\n", "30 10 20 15\n", 0);
    put_node(state, 2, "2\n", "30 20 10 30\n", 3000);
    put_node(state, 3, "\n", "30 15 30 10\n", 4000);
    put_status(state, "0-3", "0-3");
    assert_ok(adamoe_topology_detect_under(*state, &topology));
    assert_described(topology, "0:1:2");
    assert_int_equal(topology->node[0].machine_node, 0);
    assert_int_equal(topology->node[1].machine_node, 3);
    assert_int_equal(topology->node[2].machine_node, 2);
    assert_int_equal(topology->distance[1][2], 20);
    adamoe_topology_free(topology);
    put_status(state, "0-3", "0-2");
    assert_ok(adamoe_topology_detect_under(*state, &topology));
    assert_int_equal(topology->node[1].machine_node, 2);
    adamoe_topology_free(topology);
}

static void no_nodes_known(void **state)
{
    adamoe_topology *topology = NULL;
    put_status(state, "0,4-6", "0");
    assert_ok(adamoe_topology_detect_under(*state, &topology));
    assert_described(topology, "0,4-6");
    assert_int_equal(topology->distance[0][0], 10);
    adamoe_topology_free(topology);
}

static void nothing_known(void **state)
{
    adamoe_topology *topology = NULL;
    assert_ok(adamoe_topology_detect_under(*state, &topology));
    assert_int_equal(topology->nodes, 1);
    assert_int_equal(topology->node[0].cpus, adamoe_available_processors());
    adamoe_topology_free(topology);
}

static void hostile_files(void **state)
{
    adamoe_topology *topology = NULL;
    put(state, NODE "online", "0-99999\n");
    put_status(state, "0-1,x", "0");
    assert_ok(adamoe_topology_detect_under(*state, &topology));
    assert_described(topology, "0-1");
    adamoe_topology_free(topology);
    put(state, NODE "online", "0-9999\n");
    put_node(state, 7, "1\n", "ten\n", 1);
    assert_ok(adamoe_topology_detect_under(*state, &topology));
    assert_described(topology, "1");
    assert_int_equal(topology->distance[0][0], 10);
    adamoe_topology_free(topology);
}

static void the_machine_itself(void **state)
{
    (void)state;
    adamoe_topology *topology = NULL;
    uint32_t cpus = 0;
    assert_ok(adamoe_topology_detect(&topology));
    assert_in_range(topology->nodes, 1, ADAMOE_MAX_NODES);
    for (uint32_t n = 0; n < topology->nodes; ++n) {
        assert_in_range(topology->node[n].cpus, 1, UINT32_MAX);
        cpus += topology->node[n].cpus;
    }
    assert_in_range(cpus, 1, adamoe_available_processors());
    adamoe_topology_free(topology);
}

static void assert_parsed(const adamoe_topology *machine, const char *text, const char *expected)
{
    adamoe_topology *topology = NULL;
    assert_ok(adamoe_topology_parse(text, machine, &topology));
    assert_described(topology, expected);
    assert_true(topology->by_hand);
    adamoe_topology_free(topology);
}

static void nodes_by_hand(void **state)
{
    adamoe_topology *machine = two_nodes(state), *topology = NULL;
    assert_parsed(machine, "0", "0");
    assert_parsed(machine, "9,0:3", "0,9:3");
    assert_parsed(machine, "2-4,5:0-1:8-9", "2-5:0-1:8-9");
    assert_parsed(machine, "0:0:0:0", "0:0:0:0");
    assert_ok(adamoe_topology_parse("5:0:4:1", machine, &topology));
    assert_int_equal(topology->node[0].machine_node, 2);
    assert_int_equal(topology->node[1].machine_node, 0);
    assert_int_equal(topology->node[1].memory_bytes, 4000 * 1024);
    assert_int_equal(topology->distance[0][2], 10);
    assert_int_equal(topology->distance[0][1], 21);
    assert_int_equal(topology->distance[3][0], 21);
    adamoe_topology_free(topology);
    adamoe_topology_free(machine);
}

static void refused_by_hand(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "node 0, character 1 (`'): expected a processor"},
        {"x", "node 0, character 1 (`x'): expected a processor"},
        {"0:", "node 1, character 3 (`'): expected a processor"},
        {":0", "node 0, character 1 (`:0'): expected a processor"},
        {"0,", "node 0, character 3 (`'): expected a processor"},
        {"0-", "node 0, character 3 (`'): expected a processor"},
        {"1-0", "node 0, character 3 (`0'): expected a processor"},
        {"-1", "node 0, character 1 (`-1'): expected a processor"},
        {"0 :1", "node 0, character 2 (` :1'): expected `,' and a processor, or `:'"},
        {"0|2", "node 0, character 2 (`|2'): expected `,' and a processor, or `:'"},
        {"0:77", "node 1, character 3 (`77'): processor 77 is not one that this process may use"},
        {"0-4294967295", "node 0, character 3 (`4294967295'): expected a processor"},
        {"99999999999999999999", "node 0, character 1 (`999999999999'): expected a processor"},
        {"0,8,0", "node 0, character 5 (`0'): processor 0 is named twice in this node"},
        {"0-1,0-1", "node 0, character 5 (`0-1'): processor 0 is named twice in this node"},
        {"0:1-2",
         "node 1, character 3 (`1-2'): processor 2 is of the machine's node 2, those before it are of 0"},
    };
    adamoe_topology *machine = two_nodes(state), *topology = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        assert_error(adamoe_topology_parse(cases[i].text, machine, &topology), ADAMOE_BAD_INPUT,
                     cases[i].message);
    }
    char many[2 * ADAMOE_MAX_NODES + 2];
    for (size_t i = 0; i < sizeof many; ++i) {
        many[i] = i % 2 == 0 ? '0' : ':';
    }
    many[sizeof many - 1] = '\0';
    assert_error(adamoe_topology_parse(many, machine, &topology), ADAMOE_BAD_INPUT, "too many nodes");
    many[2 * ADAMOE_MAX_NODES - 1] = '\0';
    assert_parsed(machine, many, many);
    adamoe_topology_free(machine);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_machine_of_two_nodes),
        IN_FOLDER(processors_that_may_not_be_used),
        IN_FOLDER(nodes_without_memory_or_processors),
        IN_FOLDER(no_nodes_known),
        IN_FOLDER(nothing_known),
        IN_FOLDER(hostile_files),
        cmocka_unit_test(the_machine_itself),
        IN_FOLDER(nodes_by_hand),
        IN_FOLDER(refused_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
