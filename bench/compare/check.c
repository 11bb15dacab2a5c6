/*
 * Two results of `adamoe check`: what passed must still pass. How near a kernel comes to its bound is shown,
 * and is no regression: up to the bound any rounding is as good as any other.
 */
#include "compare/comparison.h"

#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

/* The entry of `list` whose `key` is `name`, or NULL. */
static const json_t *entry_named(const json_t *list, const char *key, const char *name)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i, entry)
    {
        if (strcmp(text_of(entry, key), name) == 0) {
            return entry;
        }
    }
    return NULL;
}

/* The entries by the names of their cases: a list of thousands is looked at for each of another one. A name
 * that stands twice, in two tiers, has the tier added. NULL where there is no memory. */
static json_t *by_case(const json_t *kernel)
{
    json_t *map = json_object();
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(kernel, "results"), i, entry)
    {
        char key[512];
        (void)snprintf(key, sizeof key, "%.300s", text_of(entry, "case"));
        for (size_t n = 2; json_object_get(map, key) != NULL; ++n) {
            (void)snprintf(key, sizeof key, "%.300s (%.100s, %zu)", text_of(entry, "case"),
                           text_of(entry, "tier"), n);
        }
        if (json_object_set(map, key, entry) != 0) {
            json_decref(map);
            return NULL;
        }
    }
    return map;
}

static adamoe_finding about(const char *kernel, const char *name, const char *base, const char *now)
{
    adamoe_finding f = {.aspect = ADAMOE_ASPECT_CHECK, .measure = "status"};
    (void)snprintf(f.subject, sizeof f.subject, "%.60s%s%.180s", kernel, name[0] == '\0' ? "" : " ", name);
    (void)snprintf(f.base, sizeof f.base, "%s", base);
    (void)snprintf(f.now, sizeof f.now, "%s", now);
    return f;
}

static adamoe_status compare_case(adamoe_result_comparison *comparison, const char *kernel, const char *name,
                                  const json_t *base, const json_t *now)
{
    const char *before = text_of(base, "status"), *after = text_of(now, "status");
    adamoe_finding f = about(kernel, name, before, after);
    (void)snprintf(f.note, sizeof f.note, "%s", text_of(now, "detail"));
    if (strcmp(before, after) == 0) {
        ++comparison->unchanged;
        return adamoe_ok();
    }
    if (now == NULL) {
        f.verdict = ADAMOE_VERDICT_MISSING;
    } else if (strcmp(after, "failed") == 0 || strcmp(before, "passed") == 0) {
        f.verdict = ADAMOE_VERDICT_REGRESSION; /* also what passed and proves nothing now */
    } else {
        f.verdict = strcmp(after, "passed") == 0 ? ADAMOE_VERDICT_IMPROVED : ADAMOE_VERDICT_SAME;
    }
    return adamoe_add_finding(comparison, &f);
}

static adamoe_status compare_cases(adamoe_result_comparison *comparison, const char *kernel, json_t *base,
                                   json_t *now)
{
    const char *name;
    json_t *entry;
    if (base == NULL || now == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "comparison: out of memory");
    }
    json_object_foreach(base, name, entry)
    {
        ADAMOE_TRY(compare_case(comparison, kernel, name, entry, json_object_get(now, name)));
    }
    json_object_foreach(now, name, entry)
    {
        if (json_object_get(base, name) == NULL && strcmp(text_of(entry, "status"), "failed") == 0) {
            ADAMOE_TRY(compare_case(comparison, kernel, name, NULL, entry));
        }
    }
    return adamoe_ok();
}

/* A baseline keeps the number of cases instead of each of them. */
static adamoe_status compare_counts(adamoe_result_comparison *comparison, const char *kernel,
                                    const json_t *base, const json_t *now)
{
    const json_int_t passed = json_integer_value(json_object_get(base, "passed"));
    const json_int_t passes = json_integer_value(json_object_get(now, "passed"));
    const json_int_t failed = json_integer_value(json_object_get(base, "failed"));
    const json_int_t fails = json_integer_value(json_object_get(now, "failed"));
    if (fails <= failed && passes >= passed) {
        ++comparison->unchanged;
        return adamoe_ok();
    }
    adamoe_finding f = about(kernel, "", "", "");
    f.verdict = fails > failed ? ADAMOE_VERDICT_REGRESSION : ADAMOE_VERDICT_MISSING;
    (void)snprintf(f.base, sizeof f.base, "%lld passed, %lld failed", (long long)passed, (long long)failed);
    (void)snprintf(f.now, sizeof f.now, "%lld passed, %lld failed", (long long)passes, (long long)fails);
    return adamoe_add_finding(comparison, &f);
}

static adamoe_status show_ratio(adamoe_result_comparison *comparison, const char *kernel, const json_t *base,
                                const json_t *now)
{
    const double before = json_number_value(json_object_get(base, "largest_ratio"));
    const double after = json_number_value(json_object_get(now, "largest_ratio"));
    if (json_object_get(base, "largest_ratio") == NULL || after <= before) {
        return adamoe_ok();
    }
    adamoe_finding f = about(kernel, "", "", "");
    f.verdict = ADAMOE_VERDICT_SAME;
    (void)snprintf(f.measure, sizeof f.measure, "largest error/bound");
    (void)snprintf(f.base, sizeof f.base, "%.4f", before);
    (void)snprintf(f.now, sizeof f.now, "%.4f", after);
    (void)snprintf(f.note, sizeof f.note, "grown; up to 1 is rounding");
    return adamoe_add_finding(comparison, &f);
}

static adamoe_status compare_kernel(adamoe_result_comparison *comparison, const json_t *base,
                                    const json_t *now)
{
    const char *kernel = text_of(base, "kernel"), *why_not = text_of(now, "why_not");
    if (text_of(base, "why_not")[0] != '\0') {
        return adamoe_ok(); /* it did not run there either */
    }
    if (now == NULL || why_not[0] != '\0') {
        adamoe_finding f = about(kernel, "", text_of(base, "status"), now == NULL ? "" : "skipped");
        f.verdict =
            now == NULL || comparison->same_machine ? ADAMOE_VERDICT_MISSING : ADAMOE_VERDICT_NOT_JUDGED;
        (void)snprintf(f.note, sizeof f.note, "%s", why_not);
        return adamoe_add_finding(comparison, &f);
    }
    if (!json_is_array(json_object_get(base, "results"))) {
        ADAMOE_TRY(compare_counts(comparison, kernel, base, now));
        return show_ratio(comparison, kernel, base, now);
    }
    json_t *before = by_case(base), *after = by_case(now);
    adamoe_status status = compare_cases(comparison, kernel, before, after);
    json_decref(before);
    json_decref(after);
    return status.code == ADAMOE_OK ? show_ratio(comparison, kernel, base, now) : status;
}

adamoe_status adamoe_compare_check(adamoe_result_comparison *comparison, const json_t *base,
                                   const json_t *now)
{
    const json_t *before = json_object_get(base, "kernels"), *after = json_object_get(now, "kernels");
    size_t i;
    const json_t *kernel;
    if (!json_equal(json_object_get(base, "seed"), json_object_get(now, "seed"))) {
        adamoe_add_note(comparison, "The checks had different seeds, and so different data.");
    }
    json_array_foreach(before, i, kernel)
    {
        ADAMOE_TRY(
            compare_kernel(comparison, kernel, entry_named(after, "kernel", text_of(kernel, "kernel"))));
    }
    json_array_foreach(after, i, kernel)
    {
        if (entry_named(before, "kernel", text_of(kernel, "kernel")) == NULL &&
            strcmp(text_of(kernel, "status"), "failed") == 0) {
            adamoe_finding f = about(text_of(kernel, "kernel"), "", "", "failed");
            f.verdict = ADAMOE_VERDICT_REGRESSION;
            ADAMOE_TRY(adamoe_add_finding(comparison, &f));
        }
    }
    return adamoe_ok();
}
