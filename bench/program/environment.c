/*
 * Machine, system and program, for results.
 */
#include "program/environment.h"
#include "program/commit.h"
#include "machine/cpu.h"
#include "machine/last_level_cache.h"
#include "files/json_file.h"
#include "program/json_output.h"
#include "machine/team.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* The first line of a file, without blanks at its end; null where there is none. */
static json_t *first_line(const char *path)
{
    char line[256];
    FILE *file = fopen(path, "re");
    const bool read = file != NULL && fgets(line, sizeof line, file) != NULL;
    if (file != NULL) {
        fclose(file);
    }
    if (!read) {
        return json_null();
    }
    size_t length = strlen(line);
    while (length > 0 && isspace((unsigned char)line[length - 1])) {
        line[--length] = '\0';
    }
    return adamoe_json_text(line);
}

/* Of `always [madvise] never` the one that holds. */
static json_t *chosen_in(const char *path)
{
    json_t *line = first_line(path);
    const char *text = json_string_value(line);
    const char *open = text == NULL ? NULL : strchr(text, '[');
    const char *close = open == NULL ? NULL : strchr(open, ']');
    if (close == NULL) {
        return line;
    }
    json_t *chosen = json_stringn(open + 1, (size_t)(close - open) - 1);
    json_decref(line);
    return chosen;
}

/* The value of the first line `key : value` of /proc/cpuinfo; null where there is none. */
static json_t *processor_fact(const char *key)
{
    char line[512];
    json_t *value = NULL;
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file != NULL && value == NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) == 0 && colon != NULL) {
            line[strcspn(line, "\n")] = '\0';
            value = adamoe_json_text(colon + 1 + strspn(colon + 1, " \t"));
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return value == NULL ? json_null() : value;
}

static json_t *system_text(void)
{
    struct utsname name;
    char text[256];
    if (uname(&name) != 0) {
        return json_null();
    }
    (void)snprintf(text, sizeof text, "%.100s %.100s", name.sysname, name.release);
    return adamoe_json_text(text);
}

static json_t *machine_json(void)
{
    adamoe_cpu cpu;
    adamoe_cpu_describe(&cpu);
    return json_pack("{s:o,s:o,s:I,s:I,s:I,s:b,s:o,s:o,s:o,s:o}", "cpu", adamoe_json_text(cpu.model),
                     "microcode", processor_fact("microcode"), "processors",
                     (json_int_t)adamoe_available_processors(), "numa_nodes", (json_int_t)cpu.numa_nodes,
                     "last_level_cache", (json_int_t)adamoe_last_level_cache(), "last_level_cache_by_hand",
                     (int)adamoe_last_level_cache_is_by_hand(), "governor",
                     first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), "numa_balancing",
                     first_line("/proc/sys/kernel/numa_balancing"), "transparent_huge_pages",
                     chosen_in("/sys/kernel/mm/transparent_hugepage/enabled"), "kernel", system_text());
}

static json_t *run_json(const adamoe_load_mark *before)
{
    adamoe_load_mark now;
    adamoe_mark_load(&now);
    const adamoe_disturbance d = adamoe_disturbance_between(before, &now);
    return json_pack("{s:f,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "seconds", d.seconds, "steal_share",
                     adamoe_json_number(d.steal_share), "other_share", adamoe_json_number(d.other_share),
                     "wait_share", adamoe_json_number(d.wait_share), "disk_faults_per_second",
                     adamoe_json_number(d.fault_rate), "load_average_before",
                     adamoe_json_number(before->load_average), "load_average_after",
                     adamoe_json_number(now.load_average), "run_queue", adamoe_json_number(now.running),
                     "disturbed", (int)d.disturbed);
}

json_t *adamoe_environment_json(const adamoe_load_mark *before)
{
    json_t *commit = ADAMOE_COMMIT[0] == '\0' ? json_null() : json_string(ADAMOE_COMMIT);
    json_t *dirty = ADAMOE_DIRTY < 0 ? json_null() : json_boolean(ADAMOE_DIRTY);
    return json_pack("{s:s,s:o,s:o,s:s,s:s,s:o,s:o,s:o}", "version", ADAMOE_VERSION, "commit", commit,
                     "dirty", dirty, "compiler", COMPILER, "build_type", ADAMOE_BUILD_TYPE, "libraries",
                     adamoe_libraries_json(), "machine", machine_json(), "run", run_json(before));
}

adamoe_status adamoe_add_environment(const adamoe_load_mark *before, char **text, size_t *length)
{
    json_t *report = NULL;
    ADAMOE_TRY(adamoe_json_parse("report", *text, *length, &report));
    json_t *context = json_object_get(report, "context");
    char *added = NULL;
    if (json_object_set_new(context, "environment", adamoe_environment_json(before)) == 0) {
        added = json_dumps(report, JSON_INDENT(2));
    }
    json_decref(report);
    if (added == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "report: no context in it, or out of memory");
    }
    free(*text);
    *text = added;
    *length = strlen(added);
    return adamoe_ok();
}
