/*
 * The versions of the libraries that the program uses.
 */
#include "program/environment.h"
#include "program/json_output.h"
#include "onednn/adapter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

void adamoe_describe_libraries(adamoe_library list[ADAMOE_LIBRARIES])
{
    static const adamoe_library names[ADAMOE_LIBRARIES] = {
        {.key = "jansson", .name = "jansson"},
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

json_t *adamoe_libraries_json(void)
{
    adamoe_library list[ADAMOE_LIBRARIES];
    json_t *versions = json_object();
    adamoe_describe_libraries(list);
    for (size_t i = 0; i < ADAMOE_LIBRARIES; ++i) {
        json_object_set_new(versions, list[i].key, adamoe_json_text(list[i].version));
    }
    return versions;
}
