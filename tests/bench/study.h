/*
 * What tests of `adamoe reproduce --full` share: a toy of a vanilla start, twelve questions and a recipe.
 */
#ifndef ADAMOE_TESTS_BENCH_STUDY_H
#define ADAMOE_TESTS_BENCH_STUDY_H

#include "program.h"

#include <jansson.h>

/* With one thread, which for so little work is as quick as two, and does not wait for the other where tests share
 * processors. */
#define FULL  ADAMOE " reproduce --full --threads 1 --recipe '%s/recipe.json' "
#define TRAIN ADAMOE " train --threads 1 "

static inline json_t *at(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    if (value == NULL) {
        fail_msg("\"%s\" is missing", key);
    }
    return value;
}

/* Options that are objects of the recipe's "fine_tune" too. */
static inline void write_recipe(void **state, const char *name, const char *more)
{
    char text[2048];
    const char *folder = *state;
    (void)snprintf(
        text, sizeof text,
        "{\"start\": \"%s/start\", \"test\": \"%s/few.jsonl\", \"fine_tune\": {\"questions\": "
        "\"%s/few.jsonl\", \"steps\": 3, \"batch\": 4, \"learning-rate\": 0.01, \"balance-alpha\": "
        "[0.02, 0.0001], \"checkpoint-every\": 3%s}}\n",
        folder, folder, folder, more);
    write_text(in_folder(state, name).text, text);
}

/* A vanilla start, twelve questions and a recipe. */
static inline int make_toy(void **state)
{
    if (make_folder(state) != 0) {
        return -1;
    }
    const char *folder = *state;
    expect(run("head -n 12 " QUESTIONS " > '%s/few.jsonl'", folder), 0, "");
    expect(run(TRAIN "--model " MODEL " --questions '%s/few.jsonl' --steps 1 --null-experts 0 --top-k 2 -o "
                     "'%s/start'",
               folder, folder),
           0, "step 1/1");
    write_recipe(state, "recipe.json", "");
    return 0;
}

static inline json_t *load(void **state, const char *name)
{
    json_error_t error;
    json_t *document = json_load_file(in_folder(state, name).text, JSON_REJECT_DUPLICATES, &error);
    if (document == NULL) {
        fail_msg("%s: line %d: %s", name, error.line, error.text);
    }
    return document;
}

#endif
