/*
 * Running the program over ranks, for tests of it.
 */
#ifndef ADAMOE_TESTS_RANKS_H
#define ADAMOE_TESTS_RANKS_H

#include "program.h"
#include "safetensors/safetensors.h"

#include <jansson.h>

/* As many ranks as a test likes, by any user, on this machine. */
#define MPIRUN                                                                                               \
    "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 "         \
    "OMPI_MCA_hwloc_base_binding_policy=none timeout 60 mpirun -q"
#define TINY_MODEL SHELL_WORD(SOURCE_PATH("datasets/tiny-adamoe"))
#define WORDNET    SHELL_WORD(SOURCE_PATH("datasets/wordnet/test.jsonl"))

#define SKIP_WITHOUT_MPI                                                                                     \
    do {                                                                                                     \
        if (!ADAMOE_HAS_MPI || run("command -v mpirun")->code != 0) {                                        \
            print_message("skipped: this build has no MPI (packages openmpi-bin and libopenmpi-dev)\n");     \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

#define EVAL ADAMOE " eval --model " TINY_MODEL " --questions " WORDNET " --threads 1 --limit 24"

static inline json_int_t whole_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

/* What all say is said once. */
static inline void expect_once(const outcome *got, int code, const char *part)
{
    expect(got, code, part);
    assert_null(strstr(strstr(got->text, part) + 1, part));
}

/* Selections [layers, 15 tokens, 1] of `experts` true experts: 9 tokens select expert 2, 3 expert 1, 2 expert 3, 1 expert 0. */
static inline void write_recording(const char *folder, const char *name, size_t layers, const char *experts)
{
    static const int64_t token[15] = {0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3};
    int64_t id[4 * 15];
    char path[1024];
    assert_true(layers <= 4);
    for (size_t i = 0; i < layers * 15; ++i) {
        id[i] = token[i % 15];
    }
    const adamoe_tensor tensor = {.name = "selected_experts",
                                  .dtype = ADAMOE_I64,
                                  .rank = 3,
                                  .shape = {layers, 15, 1},
                                  .elements = layers * 15,
                                  .data = id};
    const adamoe_metadata metadata[] = {
        {"num_local_experts", experts}, {"num_null_experts", "0"}, {"num_experts_per_tok", "1"}};
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(adamoe_safetensors_write(path, &tensor, 1, metadata, 3));
}

static inline json_t *load_json(const char *folder, const char *name)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *all = json_load_file(path, 0, NULL);
    assert_non_null(all);
    return all;
}

#endif
