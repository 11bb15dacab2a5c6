/*
 * What computes, and the models that it computes, as facts of a run: see facts.h.
 */
#include "ranks/facts.h"
#include "adapters.h"
#include "fnv1a.h"
#include "ranks/fingerprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char blanks[] = " \t\n'\"";

/* Mixes a file into the hash. What cannot be read is not known. */
static bool mix_file(const char *path, uint64_t *hash)
{
    struct stat facts;
    uint64_t print = 0;
    if (stat(path, &facts) != 0 || !S_ISREG(facts.st_mode) ||
        adamoe_fingerprint(path, &print).code != ADAMOE_OK) {
        return false;
    }
    *hash = adamoe_fnv1a_mix(*hash, print);
    return true;
}

/* The program of a command, where the shell finds it. */
static void mix_program(const char *name, uint64_t *hash)
{
    const char *search = getenv("PATH");
    char *folders = search == NULL || strchr(name, '/') != NULL ? NULL : strdup(search), *rest = NULL;
    if (folders == NULL) {
        (void)mix_file(name, hash);
        return;
    }
    for (char *folder = strtok_r(folders, ":", &rest); folder != NULL; folder = strtok_r(NULL, ":", &rest)) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        if (access(path, X_OK) == 0 && mix_file(path, hash)) {
            break;
        }
    }
    free(folders);
}

static adamoe_status mix_command(const char *command, uint64_t *hash)
{
    char *words = strdup(command), *rest = NULL;
    if (words == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "--command: out of memory");
    }
    char *word = strtok_r(words, blanks, &rest);
    if (word != NULL) {
        mix_program(word, hash);
    }
    while (word != NULL) {
        word = strtok_r(NULL, blanks, &rest);
        if (word != NULL && mix_file(word, hash)) {
            break;
        }
    }
    free(words);
    return adamoe_ok();
}

/* All of them are one fact. */
static adamoe_status add_commands(adamoe_rank_facts *facts, const adamoe_common_options *from)
{
    char text[1024] = "";
    uint64_t lines = ADAMOE_FNV1A_START, content = ADAMOE_FNV1A_START;
    for (size_t i = 0; i < from->commands; ++i) {
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%s%s", i == 0 ? "" : "; ", from->command[i]);
        lines = adamoe_fnv1a(lines, from->command[i], strlen(from->command[i]) + 1);
        ADAMOE_TRY(mix_command(from->command[i], &content));
    }
    adamoe_rank_fact_add(facts, "command", "%s", text);
    facts->fact[facts->count - 1].whole = lines; /* of the lines in full */
    facts->fact[facts->count - 1].content = content;
    return adamoe_ok();
}

adamoe_status adamoe_rank_fact_kernels(adamoe_rank_facts *facts, const adamoe_common_options *from,
                                       const adamoe_kernel *kernel)
{
    if (kernel != NULL) {
        adamoe_rank_fact_add(facts, "kernel", "%s", kernel->name);
    }
    if (from->plugin != NULL) {
        ADAMOE_TRY(adamoe_rank_fact_file(facts, "plugin", from->plugin));
    }
    return from->commands == 0 ? adamoe_ok() : add_commands(facts, from);
}

adamoe_status adamoe_rank_fact_model(adamoe_rank_facts *facts, const char *name, const char *path)
{
    adamoe_adapters *adapters = NULL;
    char base[64];
    ADAMOE_TRY(adamoe_rank_fact_file(facts, name, path));
    if (!adamoe_adapters_in(path)) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_adapters_open(path, &adapters));
    (void)snprintf(base, sizeof base, "base of %s", name);
    const adamoe_status status = adamoe_rank_fact_file(facts, base, adamoe_adapters_base(adapters));
    adamoe_adapters_close(adapters);
    return status;
}
