/*
 * Comparisons of two results, as `adamoe compare` and `adamoe gate` write them: what became worse first.
 */
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"
#include "report/values.h"

#include <math.h>
#include <string.h>

/* Words for a verdict that stand out. */
static const char *look_of(const char *verdict)
{
    const bool bad = strcmp(verdict, "regression") == 0 || strcmp(verdict, "missing") == 0;
    return bad ? "bad" : strcmp(verdict, "improved") == 0 ? "good" : "quiet";
}

/* Of speed a ratio of times, else the difference of two fractions in points. */
static void write_effect(FILE *out, const json_t *finding)
{
    const double effect = adamoe_number_in(finding, "effect");
    const json_t *interval = json_object_get(finding, "interval");
    const double low = adamoe_number_at(interval, 0), high = adamoe_number_at(interval, 1);
    (void)fputs("<td class=\"n\">", out);
    if (isnan(effect)) {
        (void)fputs("</td>", out);
    } else if (strcmp(adamoe_text_in(finding, "aspect", ""), "speed") == 0) {
        (void)fprintf(out, "%.3f times (%.3f to %.3f)</td>", effect, low, high);
    } else {
        (void)fprintf(out, "%+.2f points (%+.2f to %+.2f)</td>", 100.0 * effect, 100.0 * low, 100.0 * high);
    }
}

static void write_finding(FILE *out, const json_t *finding)
{
    const char *verdict = adamoe_text_in(finding, "verdict", "?");
    (void)fprintf(out, "<tr><th scope=\"row\" class=\"%s\">", look_of(verdict));
    adamoe_html_text(out, verdict);
    (void)fputs("</th>", out);
    adamoe_html_text_cell(out, adamoe_text_in(finding, "aspect", ""));
    (void)fputs("<td class=\"wrap\">", out);
    adamoe_html_text(out, adamoe_text_in(finding, "subject", ""));
    (void)fputs("</td>", out);
    adamoe_html_text_cell(out, adamoe_text_in(finding, "measure", ""));
    (void)fputs("<td>", out);
    adamoe_html_text(out, adamoe_text_in(finding, "base", ""));
    (void)fputs(" \xe2\x86\x92 ", out);
    adamoe_html_text(out, adamoe_text_in(finding, "new", ""));
    (void)fputs("</td>", out);
    write_effect(out, finding);
    const double p = adamoe_number_in(finding, "adjusted_p");
    adamoe_html_number_cell(out, isnan(p) ? (adamoe_number_text){""} : adamoe_number(p));
    (void)fputs("<td class=\"wrap\">", out);
    adamoe_html_text(out, adamoe_text_in(finding, "note", ""));
    (void)fputs("</td></tr>\n", out);
}

static void write_findings(FILE *out, const json_t *findings)
{
    static const char *const titles[] = {"verdict", "of", "what", "measure", "base \xe2\x86\x92 new",
                                         "effect",  "p",  "note"};
    /* in this order; a verdict that is not among them comes last */
    static const char *const order[] = {"regression", "missing", "not judged", "improved", "same"};
    const size_t known = sizeof order / sizeof *order;
    adamoe_html_table_begin(out, "Findings");
    adamoe_html_head_row(out, titles, sizeof titles / sizeof *titles, 0);
    (void)fputs("<tbody>\n", out);
    for (size_t rank = 0; rank <= known; ++rank) {
        size_t i;
        const json_t *finding;
        json_array_foreach(findings, i, finding)
        {
            size_t own = 0;
            while (own < known && strcmp(adamoe_text_in(finding, "verdict", ""), order[own]) != 0) {
                ++own;
            }
            if (own == rank) {
                write_finding(out, finding);
            }
        }
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
}

static void write_compared(const adamoe_source *source, const json_t *comparison, FILE *out)
{
    const double regressions = adamoe_number_in(comparison, "regressions");
    const json_t *findings = json_object_get(comparison, "findings");
    (void)fputs("<h3>", out);
    adamoe_html_text(out, adamoe_base_name(source->path));
    (void)fprintf(
        out,
        "</h3>\n<p><strong class=\"%s\">%.0f regression%s</strong>, %.0f missing; %.0f deterministic "
        "values are unchanged. %.0f tests at %.3g after Holm's correction.</p>\n",
        regressions > 0.0 ? "bad" : "good", regressions, regressions == 1.0 ? "" : "s",
        adamoe_number_in(comparison, "missing"), adamoe_number_in(comparison, "unchanged"),
        adamoe_number_in(comparison, "tests"), adamoe_number_in(comparison, "alpha"));
    if (adamoe_text_in(comparison, "notes", "")[0] != '\0') {
        (void)fputs("<p class=\"note\">", out);
        adamoe_html_text(out, adamoe_text_in(comparison, "notes", ""));
        (void)fputs("</p>\n", out);
    }
    if (json_array_size(findings) > 0) {
        write_findings(out, findings);
    }
}

void adamoe_report_compared(const adamoe_report *report, FILE *out)
{
    if (report->comparisons == 0) {
        return;
    }
    adamoe_report_section_begin(out, "compared", "Comparison");
    for (size_t i = 0; i < report->comparisons; ++i) {
        write_compared(&report->source[report->compared[i].source], report->compared[i].comparison, out);
    }
    adamoe_report_section_end(out);
}
