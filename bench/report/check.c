/*
 * Checks: for each kernel and tier how many cases passed, failed, were skipped or proved nothing; each
 * failure with the command that repeats it.
 */
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"
#include "report/values.h"

#include <math.h>
#include <string.h>

enum { PASSED, FAILED, VACUOUS, SKIPPED, STATUSES };

static const char *const status_names[STATUSES] = {"passed", "failed", "vacuous", "skipped"};

#define MOST_TIERS 16

typedef struct tally {
    const char *tier;
    size_t count[STATUSES];
    double largest_ratio;
} tally;

static size_t status_of(const json_t *result)
{
    const char *text = adamoe_text_in(result, "status", "");
    for (size_t i = 0; i < STATUSES; ++i) {
        if (strcmp(text, status_names[i]) == 0) {
            return i;
        }
    }
    return SKIPPED;
}

/* Adds a case to the tally of its tier; the last place takes all tiers that find none. */
static void add_case(tally *tallies, size_t *count, const json_t *result)
{
    const char *tier = adamoe_text_in(result, "tier", "");
    size_t i = 0;
    while (i < *count && strcmp(tallies[i].tier, tier) != 0) {
        ++i;
    }
    if (i == *count && i < MOST_TIERS) {
        tallies[(*count)++] = (tally){.tier = tier, .largest_ratio = NAN};
    }
    i = i < MOST_TIERS ? i : MOST_TIERS - 1;
    ++tallies[i].count[status_of(result)];
    tallies[i].largest_ratio = fmax(tallies[i].largest_ratio, adamoe_number_in(result, "largest_ratio"));
}

static void write_counts(FILE *out, const size_t count[STATUSES])
{
    for (size_t i = 0; i < STATUSES; ++i) {
        const char *look = count[i] == 0 ? " quiet" : i == PASSED ? " good" : i == FAILED ? " bad" : "";
        (void)fprintf(out, "<td class=\"n%s\">%zu</td>", look, count[i]);
    }
}

static void write_tally(FILE *out, const char *kernel, const tally *t)
{
    (void)fputs("<tr><th scope=\"row\">", out);
    adamoe_html_text(out, kernel);
    (void)fputs("</th>", out);
    adamoe_html_text_cell(out, t->tier[0] == '\0' ? "all" : t->tier);
    write_counts(out, t->count);
    adamoe_html_number_cell(out, adamoe_number(t->largest_ratio));
    (void)fputs("</tr>\n", out);
}

/* All tiers together: counted where the cases are there, as the file says where they are not. */
static tally summary_of(const json_t *kernel)
{
    tally t = {.tier = "", .largest_ratio = adamoe_number_in(kernel, "largest_ratio")};
    const json_t *results = json_object_get(kernel, "results"), *result;
    size_t at;
    json_array_foreach(results, at, result)
    {
        ++t.count[status_of(result)];
    }
    if (json_array_size(results) > 0) {
        return t;
    }
    for (size_t i = 0; i < STATUSES; ++i) {
        const double count = adamoe_number_in(kernel, status_names[i]);
        t.count[i] = count > 0.0 && count < 1e15 ? (size_t)count : 0;
    }
    return t;
}

static void write_kernel(FILE *out, const json_t *kernel)
{
    tally tallies[MOST_TIERS];
    size_t count = 0, i;
    const json_t *result;
    const char *name = adamoe_text_in(kernel, "kernel", "?"),
               *why_not = adamoe_text_in(kernel, "why_not", NULL);
    if (why_not != NULL || json_is_false(json_object_get(kernel, "supported"))) {
        (void)fputs("<tr><th scope=\"row\">", out);
        adamoe_html_text(out, name);
        (void)fputs("</th><td colspan=\"6\" class=\"quiet\">skipped: ", out);
        adamoe_html_text(out, why_not == NULL ? "cannot run there" : why_not);
        (void)fputs("</td></tr>\n", out);
        return;
    }
    json_array_foreach(json_object_get(kernel, "results"), i, result)
    {
        add_case(tallies, &count, result);
    }
    if (count == 0) {
        tallies[count++] = summary_of(kernel);
    }
    for (size_t t = 0; t < count; ++t) {
        write_tally(out, name, &tallies[t]);
    }
}

/* ----------------------------------------------------------------------------------------------- failures */

#define MOST_FAILURES 50

static void write_failure(FILE *out, const char *kernel, const json_t *result)
{
    (void)fputs("<li><strong>", out);
    adamoe_html_text(out, kernel);
    (void)fputs("</strong> <code>", out);
    adamoe_html_text(out, adamoe_text_in(result, "case", ""));
    (void)fputs("</code><br>", out);
    adamoe_html_text(out, adamoe_text_in(result, "tier", ""));
    (void)fputs(": ", out);
    adamoe_html_text(out, adamoe_text_in(result, "detail", "no reason given"));
    if (json_is_number(json_object_get(result, "expected"))) {
        (void)fprintf(out, "; expected %.9g, got %.9g, bound %.3g", adamoe_number_in(result, "expected"),
                      adamoe_number_in(result, "got"), adamoe_number_in(result, "bound"));
    }
    const char *repeat = adamoe_text_in(result, "repeat", NULL);
    if (repeat != NULL) {
        (void)fputs("<pre><code>", out);
        adamoe_html_text(out, repeat);
        (void)fputs("</code></pre>", out);
    }
    (void)fputs("</li>\n", out);
}

/* Writes the failures of a kernel until the page has enough of them. */
static void write_failures(FILE *out, const json_t *kernel, size_t *written)
{
    size_t i;
    const json_t *result;
    json_array_foreach(json_object_get(kernel, "results"), i, result)
    {
        if (status_of(result) != FAILED) {
            continue;
        }
        if (*written == 0) {
            (void)fputs("<h3>Failures</h3>\n<ol class=\"failures\">\n", out);
        }
        if (*written < MOST_FAILURES) {
            write_failure(out, adamoe_text_in(kernel, "kernel", "?"), result);
        }
        ++*written;
    }
}

/* -------------------------------------------------------------------------------------------- the section */

static void write_checked(const adamoe_source *source, const json_t *kernels, FILE *out)
{
    static const char *const titles[] = {
        "kernel", "tier", "passed", "failed", "vacuous", "skipped", "largest error / bound"};
    size_t i, failures = 0;
    const json_t *kernel;
    (void)fputs("<h3>", out);
    adamoe_html_text(out, adamoe_base_name(source->path));
    (void)fputs(source->kind == ADAMOE_RESULT_REPRODUCE ? ", a look at every eighth case" : "", out);
    (void)fputs("</h3>\n", out);
    adamoe_html_table_begin(out, "Checks by kernel and tier");
    adamoe_html_head_row(out, titles, sizeof titles / sizeof *titles, 5);
    (void)fputs("<tbody>\n", out);
    json_array_foreach(kernels, i, kernel)
    {
        write_kernel(out, kernel);
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
    json_array_foreach(kernels, i, kernel)
    {
        write_failures(out, kernel, &failures);
    }
    if (failures > 0) {
        (void)fputs("</ol>\n", out);
    }
    if (failures > MOST_FAILURES) {
        (void)fprintf(out, "<p>and %zu more in the file.</p>\n", failures - MOST_FAILURES);
    }
}

void adamoe_report_count_checks(const adamoe_report *report, size_t *passed, size_t *failed)
{
    *passed = *failed = 0;
    for (size_t c = 0; c < report->checks; ++c) {
        size_t i;
        const json_t *kernel;
        json_array_foreach(report->checked[c].kernels, i, kernel)
        {
            const tally t = summary_of(kernel);
            *passed += t.count[PASSED];
            *failed += t.count[FAILED];
        }
    }
}

void adamoe_report_checks(const adamoe_report *report, FILE *out)
{
    if (report->checks == 0) {
        return;
    }
    adamoe_report_section_begin(out, "checks", "Checks");
    (void)fputs("<p>Every kernel against the definition, by a bound that is computed from the kernel's own "
                "arithmetic. A vacuous case proves nothing, and does not count as passed.</p>\n",
                out);
    for (size_t c = 0; c < report->checks; ++c) {
        write_checked(&report->source[report->checked[c].source], report->checked[c].kernels, out);
    }
    adamoe_report_section_end(out);
}
