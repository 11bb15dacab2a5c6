/*
 * What `adamoe check` says about a kernel: as text, and as JSON.
 */
#include "check_report.h"
#include "json_output.h"
#include "statistics.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool proves_something(const adamoe_check_result *result)
{
    return result->has_element && result->status != ADAMOE_CHECK_VACUOUS;
}

adamoe_status adamoe_summarise_check(const adamoe_kernel_check *check, adamoe_check_summary *out)
{
    double *ratio = calloc(check->count + 1, sizeof *ratio);
    size_t ratios = 0;
    if (ratio == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "check: out of memory");
    }
    *out = (adamoe_check_summary){0};
    for (size_t i = 0; i < check->count; ++i) {
        const adamoe_check_result *result = &check->results[i];
        ++out->count[result->status];
        if (proves_something(result)) {
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

/* The command line that repeats case i; the names of cases have no character that a shell would change. */
static void repeat_command(const adamoe_kernel_check *check, size_t i, char *text, size_t size)
{
    const char *plugin = check->options->plugin;
    (void)snprintf(text, size, "adamoe check --kernel %s%s%s%s --case %s --seed %" PRIu64 " --threads %u",
                   check->kernel->name, plugin == NULL ? "" : " --plugin '", plugin == NULL ? "" : plugin,
                   plugin == NULL ? "" : "'", adamoe_name_case(&check->cases[i]).text, check->options->seed,
                   check->threads);
}

void adamoe_print_failure(const adamoe_kernel_check *check, size_t i)
{
    const adamoe_check_result *result = &check->results[i];
    char command[4096];
    printf("FAILED %s %s: %s: %s\n", check->kernel->name, adamoe_name_case(&check->cases[i]).text,
           result->tier, result->detail);
    if (result->has_element) {
        printf("  index [%zu, %zu], expected %.9g, got %.9g, bound %.3g, error/bound %.3g, rms %.3g, seed "
               "%" PRIu64 "\n",
               result->row, result->column, result->expected, (double)result->got, result->bound,
               result->largest_ratio, result->rms_ratio, check->options->seed);
    }
    repeat_command(check, i, command, sizeof command);
    printf("  repeat: %s\n", command);
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
            printf("  %s %zu: %s\n", adamoe_check_status_names[status], same, results[i].detail);
        }
    }
}

void adamoe_print_check(const adamoe_kernel_check *check, const adamoe_check_summary *summary)
{
    if (check->why_not != NULL) {
        printf("%-12s skipped: cannot run here: %s\n", check->kernel->name, check->why_not);
        return;
    }
    printf("%-12s %zu cases: %zu passed, %zu failed, %zu vacuous, %zu skipped", check->kernel->name,
           check->count, summary->count[ADAMOE_CHECK_PASSED], summary->count[ADAMOE_CHECK_FAILED],
           summary->count[ADAMOE_CHECK_VACUOUS], summary->count[ADAMOE_CHECK_SKIPPED]);
    if (summary->count[ADAMOE_CHECK_PASSED] + summary->count[ADAMOE_CHECK_FAILED] > 0) {
        printf("; error/bound %.3f largest, %.3f median; rms %.3f largest", summary->largest_ratio,
               summary->median_ratio, summary->largest_rms_ratio);
    }
    printf("\n");
    print_reasons(check, ADAMOE_CHECK_SKIPPED);
    print_reasons(check, ADAMOE_CHECK_VACUOUS);
}

static json_t *result_json(const adamoe_kernel_check *check, size_t i)
{
    const adamoe_check_result *result = &check->results[i];
    json_t *entry = json_pack("{s:s,s:s,s:s}", "case", adamoe_name_case(&check->cases[i]).text, "status",
                              adamoe_check_status_names[result->status], "tier", result->tier);
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
        json_object_set_new(entry, "got", adamoe_json_number((double)result->got));
        json_object_set_new(entry, "bound", adamoe_json_number(result->bound));
    }
    char command[4096];
    repeat_command(check, i, command, sizeof command);
    json_object_set_new(entry, "repeat", adamoe_json_text(command));
    return entry;
}

json_t *adamoe_check_json(const adamoe_kernel_check *check, const adamoe_check_summary *summary)
{
    json_t *results = json_array();
    for (size_t i = 0; i < check->count; ++i) {
        if (json_array_append_new(results, result_json(check, i)) != 0) {
            json_decref(results);
            return NULL;
        }
    }
    const adamoe_check_status status = check->why_not != NULL                     ? ADAMOE_CHECK_SKIPPED
                                       : summary->count[ADAMOE_CHECK_FAILED] > 0  ? ADAMOE_CHECK_FAILED
                                       : summary->count[ADAMOE_CHECK_PASSED] > 0  ? ADAMOE_CHECK_PASSED
                                       : summary->count[ADAMOE_CHECK_VACUOUS] > 0 ? ADAMOE_CHECK_VACUOUS
                                                                                  : ADAMOE_CHECK_SKIPPED;
    return json_pack(
        "{s:o,s:s,s:o,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "kernel", adamoe_json_text(check->kernel->name),
        "status", adamoe_check_status_names[status], "why_not",
        check->why_not == NULL ? json_null() : adamoe_json_text(check->why_not), "cases",
        (json_int_t)check->count, "passed", (json_int_t)summary->count[ADAMOE_CHECK_PASSED], "failed",
        (json_int_t)summary->count[ADAMOE_CHECK_FAILED], "vacuous",
        (json_int_t)summary->count[ADAMOE_CHECK_VACUOUS], "skipped",
        (json_int_t)summary->count[ADAMOE_CHECK_SKIPPED], "largest_ratio",
        adamoe_json_number(summary->largest_ratio), "median_ratio", adamoe_json_number(summary->median_ratio),
        "largest_rms_ratio", adamoe_json_number(summary->largest_rms_ratio), "results", results);
}
