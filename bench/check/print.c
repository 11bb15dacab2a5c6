/*
 * What `adamoe check` says about a kernel: as text, and as JSON.
 */
#include "check/print.h"
#include "check/surroundings.h"
#include "program/json_output.h"
#include "statistics/statistics.h"
#include "machine/team.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Compared by a bound, not by bits or by ids. */
static bool has_ratio(const adamoe_check_result *result)
{
    return result->has_element && result->status != ADAMOE_CHECK_VACUOUS && result->bound > 0.0;
}

adamoe_status adamoe_summarise_check(const adamoe_kernel_check *check, adamoe_check_summary *out)
{
    double *ratio = calloc(check->count + 1, sizeof *ratio);
    size_t ratios = 0;
    if (ratio == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    *out = (adamoe_check_summary){0};
    for (size_t i = 0; i < check->count && check->why_not == NULL; ++i) {
        const adamoe_check_result *result = &check->results[i];
        ++out->count[result->status];
        if (has_ratio(result)) {
            ratio[ratios++] = result->largest_ratio;
            out->largest_rms_ratio = fmax(out->largest_rms_ratio, result->rms_ratio);
        }
    }
    adamoe_sort(ratio, ratios);
    if (ratios > 0) {
        out->largest_ratio = ratio[ratios - 1];
        out->median_ratio = adamoe_median(ratio, ratios);
    }
    free(ratio);
    return adamoe_ok();
}

bool adamoe_check_ran_nothing(const adamoe_check_options *options, const adamoe_kernel_check *check,
                              const char **reason)
{
    size_t skipped = 0;
    if (options->part != NULL || options->tiers != 0 || check->why_not != NULL || check->not_loaded) {
        return false;
    }
    for (size_t i = 0; i < check->count; ++i) {
        if (strstr(check->cases[i], "/experts/") != NULL) {
            if (check->results[i].status != ADAMOE_CHECK_SKIPPED) {
                return false;
            }
            *reason = skipped++ == 0 ? check->results[i].detail : *reason;
        }
    }
    return skipped > 0;
}

const char *adamoe_check_tier_text(const adamoe_kernel_check *check, size_t i)
{
    return check->not_loaded ? "load" : adamoe_tier_names[check->results[i].tier];
}

__attribute__((format(printf, 2, 3))) static void append(adamoe_failure_text *text, const char *format, ...)
{
    const size_t used = strlen(text->text);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text->text + used, sizeof text->text - used, format, arguments);
    va_end(arguments);
}

/* As a shell reads it back. */
static void append_quoted(adamoe_failure_text *text, const char *word)
{
    append(text, "'");
    for (const char *c = word; *c != '\0'; ++c) {
        append(text, *c == '\'' ? "'\\''" : "%c", *c);
    }
    append(text, "'");
}

/* Where placement was asked for, the number of threads that is not given is the nodes' matter. */
static void append_machine(adamoe_failure_text *text, const adamoe_common_options *common)
{
    const bool placed = common->numa != ADAMOE_NUMA_LOCAL || common->topology != NULL;
    if (common->threads != 0 || !placed) {
        append(text, " --threads %u", common->threads != 0 ? common->threads : adamoe_available_processors());
    }
    if (placed) {
        append(text, " --numa %s", adamoe_numa_policy_names[common->numa]);
    }
    if (common->topology != NULL) {
        append(text, " --numa-topology '%.200s'", common->topology);
    }
}

/* The command line that repeats case i; the names of cases have no character that a shell would change. */
static adamoe_failure_text repeat_command(const adamoe_check_options *options,
                                          const adamoe_kernel_check *check, size_t i)
{
    const char *plugin = options->common.plugin;
    adamoe_failure_text text = {"adamoe check"};
    if (!check->not_loaded) {
        append(&text, " --kernel %s", check->name);
    }
    if (plugin != NULL) {
        append(&text, " --plugin '%.2000s'", plugin);
    }
    for (size_t c = 0; c < options->common.commands; ++c) {
        if (check->command == c || check->command == ADAMOE_ANY_COMMAND) {
            append(&text, " --command ");
            append_quoted(&text, options->common.command[c]);
        }
    }
    if (!check->not_loaded) {
        append(&text, " --case %s --seed %" PRIu64, check->cases[i], options->common.seed);
        append_machine(&text, &options->common);
    }
    if (options->readable_guards) {
        append(&text, " --readable-guards");
    }
    return text;
}

adamoe_failure_text adamoe_describe_failure(const adamoe_check_options *options,
                                            const adamoe_kernel_check *check, size_t i)
{
    const adamoe_check_result *result = &check->results[i];
    adamoe_failure_text text = {""};
    append(&text, "%s: %s", adamoe_check_tier_text(check, i), result->detail);
    if (result->has_element) {
        append(&text, "\n  index [%zu, %zu], expected %.9g, got %.9g, bound %.3g, error/bound %.3g, rms %.3g",
               result->row, result->column, result->expected, result->got, result->bound,
               result->largest_ratio, result->rms_ratio);
        append(&text, ", seed %" PRIu64, options->common.seed);
    }
    append(&text, "\n  repeat: %s", repeat_command(options, check, i).text);
    return text;
}

void adamoe_print_failure(const adamoe_check_options *options, const adamoe_kernel_check *check, size_t i)
{
    enum { SHOWN = 3 }; /* of a kernel: the first say most */
    size_t failed = 0;
    for (size_t j = 0; j < check->count; ++j) {
        failed += check->results[j].status == ADAMOE_CHECK_FAILED;
    }
    printf("FAILED %s %s: %s\n", check->name, check->cases[i],
           adamoe_describe_failure(options, check, i).text);
    if (failed <= SHOWN) {
        adamoe_print_surroundings(&check->results[i]);
    }
}

/* Prints each reason for `status` once, with the number of its cases. */
static void print_reasons(const adamoe_kernel_check *check, adamoe_check_status status)
{
    const adamoe_check_result *results = check->results;
    for (size_t i = 0; i < check->count; ++i) {
        size_t same = 0, before = 0;
        for (size_t j = 0; j < check->count && results[i].status == status; ++j) {
            const bool equal =
                results[j].status == status && strcmp(results[j].detail, results[i].detail) == 0;
            same += equal;
            before += equal && j < i;
        }
        if (same > 0 && before == 0) {
            printf("  %s %zu%s: %s\n", adamoe_check_status_names[status], same,
                   status == ADAMOE_CHECK_VACUOUS ? " (nothing wrong, little proved)" : "",
                   results[i].detail);
        }
    }
}

static void print_tiers(const adamoe_kernel_check *check)
{
    for (size_t tier = 0; tier < ADAMOE_TIERS; ++tier) {
        size_t count[ADAMOE_CHECK_STATUSES] = {0}, all = 0;
        for (size_t i = 0; i < check->count; ++i) {
            const size_t length = strlen(adamoe_tier_names[tier]);
            if (strncmp(check->cases[i], adamoe_tier_names[tier], length) == 0) {
                ++count[check->results[i].status];
                ++all;
            }
        }
        if (all > 0) {
            printf("  %-9s %5zu passed %3zu failed %3zu vacuous %3zu skipped\n", adamoe_tier_names[tier],
                   count[ADAMOE_CHECK_PASSED], count[ADAMOE_CHECK_FAILED], count[ADAMOE_CHECK_VACUOUS],
                   count[ADAMOE_CHECK_SKIPPED]);
        }
    }
}

/* One line, however much it is. */
static void print_not_tried(const adamoe_kernel_check *check)
{
    const size_t count = json_array_size(check->not_tried);
    for (size_t i = 0; i < count; ++i) {
        printf("%s%s%s", i == 0 ? "  not tried: " : "; ",
               json_string_value(json_array_get(check->not_tried, i)), i + 1 == count ? "\n" : "");
    }
}

void adamoe_print_check(const adamoe_kernel_check *check, const adamoe_check_summary *summary, int widest)
{
    if (check->why_not != NULL) {
        printf("%-*s skipped: cannot run here: %s\n", widest, check->name, check->why_not);
        return;
    }
    printf("%-*s %zu cases: %zu passed, %zu failed, %zu vacuous, %zu skipped", widest, check->name,
           check->count, summary->count[ADAMOE_CHECK_PASSED], summary->count[ADAMOE_CHECK_FAILED],
           summary->count[ADAMOE_CHECK_VACUOUS], summary->count[ADAMOE_CHECK_SKIPPED]);
    if (summary->largest_ratio > 0.0) {
        printf("; error/bound %.3f largest, %.3f median; rms %.3f largest", summary->largest_ratio,
               summary->median_ratio, summary->largest_rms_ratio);
    }
    printf("\n");
    print_tiers(check);
    print_reasons(check, ADAMOE_CHECK_SKIPPED);
    print_reasons(check, ADAMOE_CHECK_VACUOUS);
    print_not_tried(check);
}

static json_t *result_json(const adamoe_check_options *options, const adamoe_kernel_check *check, size_t i)
{
    const adamoe_check_result *result = &check->results[i];
    json_t *entry =
        json_pack("{s:s,s:s,s:s}", "case", check->cases[i], "status",
                  adamoe_check_status_names[result->status], "tier", adamoe_check_tier_text(check, i));
    if (result->detail[0] != '\0') {
        json_object_set_new(entry, "detail", adamoe_json_text(result->detail));
    }
    if (result->has_element) {
        json_object_set_new(entry, "largest_ratio", adamoe_json_number(result->largest_ratio));
        json_object_set_new(entry, "rms_ratio", adamoe_json_number(result->rms_ratio));
    }
    if (result->status != ADAMOE_CHECK_FAILED) {
        return entry;
    }
    if (result->has_element) {
        json_object_set_new(entry, "index",
                            json_pack("[I,I]", (json_int_t)result->row, (json_int_t)result->column));
        json_object_set_new(entry, "expected", adamoe_json_number(result->expected));
        json_object_set_new(entry, "got", adamoe_json_number(result->got));
        json_object_set_new(entry, "bound", adamoe_json_number(result->bound));
        if (result->around.rows > 0) {
            json_object_set_new(entry, "around", adamoe_surroundings_json(result));
        }
    }
    json_object_set_new(entry, "repeat", adamoe_json_text(repeat_command(options, check, i).text));
    return entry;
}

json_t *adamoe_check_json(const adamoe_check_options *options, const adamoe_kernel_check *check,
                          const adamoe_check_summary *summary)
{
    json_t *results = json_array();
    for (size_t i = 0; i < check->count && check->why_not == NULL; ++i) {
        if (json_array_append_new(results, result_json(options, check, i)) != 0) {
            json_decref(results);
            return NULL;
        }
    }
    const char *reason = "";
    const bool nothing = adamoe_check_ran_nothing(options, check, &reason);
    const adamoe_check_status status = check->why_not != NULL                     ? ADAMOE_CHECK_SKIPPED
                                       : summary->count[ADAMOE_CHECK_FAILED] > 0  ? ADAMOE_CHECK_FAILED
                                       : nothing                                  ? ADAMOE_CHECK_SKIPPED
                                       : summary->count[ADAMOE_CHECK_PASSED] > 0  ? ADAMOE_CHECK_PASSED
                                       : summary->count[ADAMOE_CHECK_VACUOUS] > 0 ? ADAMOE_CHECK_VACUOUS
                                                                                  : ADAMOE_CHECK_SKIPPED;
    return json_pack("{s:o,s:s,s:o,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:O*,s:o}", "kernel",
                     adamoe_json_text(check->name), "status", adamoe_check_status_names[status], "why_not",
                     check->why_not == NULL ? json_null() : adamoe_json_text(check->why_not), "cases",
                     (json_int_t)(check->why_not != NULL ? 0 : check->count), "passed",
                     (json_int_t)summary->count[ADAMOE_CHECK_PASSED], "failed",
                     (json_int_t)summary->count[ADAMOE_CHECK_FAILED], "vacuous",
                     (json_int_t)summary->count[ADAMOE_CHECK_VACUOUS], "skipped",
                     (json_int_t)summary->count[ADAMOE_CHECK_SKIPPED], "largest_ratio",
                     adamoe_json_number(summary->largest_ratio), "median_ratio",
                     adamoe_json_number(summary->median_ratio), "largest_rms_ratio",
                     adamoe_json_number(summary->largest_rms_ratio), "not_tried", check->not_tried, "results",
                     results);
}
