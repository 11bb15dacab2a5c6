/*
 * The recipe of the study: hyper-parameters as the options of `adamoe train' that they are.
 */
#include "files/json_file.h"
#include "program/shipped.h"
#include "reproduce/study/study.h"

#include <stdlib.h>
#include <string.h>

static bool is_one_of(const char *key, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        if (strcmp(key, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Those that the study itself sets: a recipe with them would be one thing and do another. */
static bool is_reserved(const char *part, const char *key)
{
    static const char *const always[] = {"output", "resume", "threads"};
    static const char *const tuning[] = {"model", "config",       "seed",   "top-k", "null-experts",
                                         "norm",  "balance-loss", "router", "set"};
    return is_one_of(key, always, sizeof always / sizeof *always) ||
           (strcmp(part, "fine_tune") == 0 && is_one_of(key, tuning, sizeof tuning / sizeof *tuning));
}

static bool is_path(const char *key)
{
    static const char *const paths[] = {"model", "config", "tokenizer", "corpus", "questions"};
    return is_one_of(key, paths, sizeof paths / sizeof *paths);
}

static adamoe_status refuse(const adamoe_recipe *recipe, const char *part, const char *key,
                            const char *reason)
{
    return adamoe_error(ADAMOE_BAD_INPUT, "%.200s: %s%s%.60s: %.200s", recipe->path, part == NULL ? "" : part,
                        part == NULL ? "" : ".", key, reason);
}

adamoe_status adamoe_recipe_path(const adamoe_recipe *recipe, const char *part, const char *key, char **out)
{
    const json_t *object = part == NULL ? recipe->document : json_object_get(recipe->document, part);
    const char *name = json_string_value(json_object_get(object, key));
    adamoe_shipped_file file;
    if (name == NULL) {
        return refuse(recipe, part, key, "a path is expected");
    }
    if (adamoe_find_shipped(name, &file).code != ADAMOE_OK) {
        char reason[256];
        (void)snprintf(reason, sizeof reason, "%.160s: neither here nor installed with the program", name);
        return refuse(recipe, part, key, reason);
    }
    *out = strdup(file.path);
    return *out != NULL ? adamoe_ok() : adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", recipe->path);
}

/* False where the value is neither number nor text. */
static bool write_value(const json_t *value, char *text, size_t size)
{
    int length = -1;
    if (json_is_integer(value)) {
        length = snprintf(text, size, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        length = snprintf(text, size, "%.17g", json_real_value(value));
    } else if (json_is_string(value)) {
        length = snprintf(text, size, "%s", json_string_value(value));
    }
    return length >= 0 && (size_t)length < size;
}

/* Numbers of a list become one argument, with commas. */
static bool write_values(const json_t *value, char *text, size_t size)
{
    size_t i, used = 0;
    const json_t *one;
    if (!json_is_array(value)) {
        return write_value(value, text, size);
    }
    json_array_foreach(value, i, one)
    {
        if (i > 0 && used + 1 < size) {
            text[used++] = ',';
        }
        if (!json_is_number(one) || !write_value(one, text + used, size - used)) {
            return false;
        }
        used += strlen(text + used);
    }
    return used > 0;
}

static adamoe_status add_option(const adamoe_recipe *recipe, const char *part, const char *key,
                                const json_t *value, adamoe_arguments *arguments)
{
    char text[256], *path = NULL;
    if (is_reserved(part, key)) {
        return refuse(recipe, part, key, "the study sets it itself");
    }
    if (is_path(key)) {
        ADAMOE_TRY(adamoe_recipe_path(recipe, part, key, &path));
        adamoe_argument(arguments, "--%s=%s", key, path);
        free(path);
    } else if (!write_values(value, text, sizeof text)) {
        return refuse(recipe, part, key, "a number, a text or a list of numbers is expected");
    } else {
        adamoe_argument(arguments, "--%s=%s", key, text);
    }
    return adamoe_ok();
}

adamoe_status adamoe_recipe_arguments(const adamoe_recipe *recipe, const char *part,
                                      adamoe_arguments *arguments)
{
    const char *key;
    json_t *value, *options = json_object_get(recipe->document, part);
    if (!json_is_object(options)) {
        return refuse(recipe, NULL, part, "an object of options of `adamoe train' is expected");
    }
    json_object_foreach(options, key, value)
    {
        ADAMOE_TRY(add_option(recipe, part, key, value, arguments));
    }
    return adamoe_ok();
}

adamoe_status adamoe_recipe_open(const char *path, adamoe_recipe *out)
{
    *out = (adamoe_recipe){.path = path};
    return adamoe_json_read(path, &out->document);
}
