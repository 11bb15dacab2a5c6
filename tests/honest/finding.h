/*
 * `adamoe check` on one kernel of a plugin, as a test of the check asks for it, and what came out.
 */
#ifndef HONEST_FINDING_H
#define HONEST_FINDING_H

#include "program.h"
#include "registry.h"

#include <jansson.h>

/* How one run of `adamoe check` on one kernel ended. */
typedef struct finding {
    int code;         /* of the program; -1 where it did not end by itself */
    size_t passed;    /* cases */
    bool caught;      /* a failed case is in the results */
    char tier[16];    /* that found the first failed case */
    char place[256];  /* its name */
    char detail[256]; /* what it says */
} finding;

static inline void copy_text(char *to, size_t size, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    (void)snprintf(to, size, "%s", text == NULL ? "" : text);
}

static inline void read_finding(const char *path, finding *out)
{
    json_t *root = json_load_file(path, 0, NULL);
    const json_t *kernel = json_array_get(json_object_get(root, "kernels"), 0);
    const json_t *results = json_object_get(kernel, "results");
    out->passed = (size_t)json_integer_value(json_object_get(kernel, "passed"));
    for (size_t i = 0; i < json_array_size(results) && !out->caught; ++i) {
        const json_t *result = json_array_get(results, i);
        const char *status = json_string_value(json_object_get(result, "status"));
        if (status != NULL && strcmp(status, "failed") == 0) {
            out->caught = true;
            copy_text(out->tier, sizeof out->tier, result, "tier");
            copy_text(out->place, sizeof out->place, result, "case");
            copy_text(out->detail, sizeof out->detail, result, "detail");
        }
    }
    json_decref(root);
}

/* Two threads, whatever machine it is: some of the bugs need a second one. */
static inline finding check(void **state, const char *folder, const char *plugin, const char *kernel,
                            const char *options)
{
    finding result = {.code = -1};
    char command[2048];
    const folder_path json = in_folder(state, "result.json");
    (void)remove(json.text);
    (void)snprintf(command, sizeof command,
                   "timeout 500 '%s' check --plugin '%s/%s.so' --kernel %s --threads 2 %s --json '%s' "
                   "> /dev/null 2>&1",
                   ADAMOE_PROGRAM, folder, plugin, kernel, options, json.text);
    const int status = system(command);
    if (WIFEXITED(status) && WEXITSTATUS(status) < 124) { /* above are timeout's own, and signals */
        result.code = WEXITSTATUS(status);
    }
    read_finding(json.text, &result);
    return result;
}

static inline adamoe_registry *load(const char *folder, const char *plugin)
{
    char path[1024];
    adamoe_registry *registry = NULL;
    (void)snprintf(path, sizeof path, "%s/%s.so", folder, plugin);
    assert_ok(adamoe_registry_create(&registry));
    assert_ok(adamoe_registry_load(registry, path));
    return registry;
}

/* A plugin's kernels come after the built-in ones. */
static inline size_t built_in_count(void)
{
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    const size_t count = adamoe_registry_count(registry);
    adamoe_registry_free(registry);
    return count;
}

#endif
