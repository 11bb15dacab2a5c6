/*
 * What evaluations over several ranks sent between them, measured: rows and bytes of each rank, and what its time in the
 * expert layers went into. What the numbers mean: kernels/mpi/README.md.
 */
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"
#include "report/values.h"

/* Ranks that a page can hold. */
#define MOST_RANKS 256

static const json_t *communication_of(const adamoe_evaluated *e)
{
    return json_object_get(json_object_get(e->document, "adamoe"), "communication");
}

bool adamoe_report_has_communication(const adamoe_report *report)
{
    for (size_t i = 0; i < report->evaluations; ++i) {
        if (json_is_object(communication_of(&report->evaluated[i]))) {
            return true;
        }
    }
    return false;
}

static adamoe_number_text megabytes(const json_t *object, const char *key)
{
    return adamoe_number(1e-6 * adamoe_number_in(object, key));
}

static void write_ranks(const json_t *ranks, FILE *out)
{
    static const char *const titles[] = {"machine",          "rank",    "rows kept",   "sent",
                                         "served",           "MB sent", "MB received", "exchanges",
                                         "of it arithmetic", "waiting", "overlap"};
    const size_t count = sizeof titles / sizeof *titles;
    adamoe_html_table_begin(out, "Rows, bytes and time of each rank");
    adamoe_html_head_row(out, titles, count, count - 1);
    (void)fputs("<tbody>\n", out);
    for (size_t r = 0; r < json_array_size(ranks) && r < MOST_RANKS; ++r) {
        const json_t *rank = json_array_get(ranks, r);
        (void)fputs("<tr>", out);
        adamoe_html_text_cell(out, adamoe_text_in(rank, "machine", "?"));
        (void)fprintf(out, "<td class=\"n\">%zu</td>", r);
        adamoe_html_number_cell(out, adamoe_number(adamoe_number_in(rank, "rows_kept")));
        adamoe_html_number_cell(out, adamoe_number(adamoe_number_in(rank, "rows_sent")));
        adamoe_html_number_cell(out, adamoe_number(adamoe_number_in(rank, "rows_served")));
        adamoe_html_number_cell(out, megabytes(rank, "bytes_sent"));
        adamoe_html_number_cell(out, megabytes(rank, "bytes_received"));
        adamoe_html_number_cell(out, adamoe_duration(adamoe_number_in(rank, "exchange_seconds")));
        adamoe_html_number_cell(out, adamoe_duration(adamoe_number_in(rank, "arithmetic_seconds")));
        adamoe_html_number_cell(out, adamoe_duration(adamoe_number_in(rank, "waiting_seconds")));
        adamoe_html_number_cell(out, adamoe_percent(adamoe_number_in(rank, "overlap_share"), 1));
        (void)fputs("</tr>\n", out);
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
}

static void write_evaluated(const adamoe_report *report, const adamoe_evaluated *e, FILE *out)
{
    const json_t *c = communication_of(e);
    const double bytes = adamoe_number_in(c, "bytes"), predicted = adamoe_number_in(c, "predicted_bytes");
    (void)fputs("<h3>", out);
    adamoe_report_evaluated_name(report, e, out);
    (void)fprintf(out, "</h3>\n<p>%.0f ranks, experts by ", adamoe_number_in(c, "ranks"));
    adamoe_html_text(out, adamoe_text_in(c, "experts", "?"));
    (void)fputs(", inputs in ", out);
    adamoe_html_text(out, adamoe_text_in(c, "inputs_travel_as", "?"));
    (void)fprintf(
        out,
        ": %s MB travelled, %s; %s of the rows stayed. Against top-k0 by the same logits %s of the bytes "
        "were saved, and %s of the experts' FLOPs. The largest load of a rank was %s of the mean.</p>\n",
        megabytes(c, "bytes").text,
        bytes == predicted ? "as the routing predicts, to the byte" : "which the routing does not predict",
        adamoe_percent(adamoe_number_in(c, "kept_share"), 1).text,
        adamoe_percent(adamoe_number_in(c, "bytes_reduction"), 2).text,
        adamoe_percent(adamoe_number_in(json_object_get(e->document, "adamoe"), "expert_flops_reduction"), 2)
            .text,
        adamoe_number(adamoe_number_in(c, "largest_over_mean_load")).text);
    write_ranks(json_object_get(c, "by_rank"), out);
}

void adamoe_report_communication(const adamoe_report *report, FILE *out)
{
    if (!adamoe_report_has_communication(report)) {
        return;
    }
    adamoe_report_section_begin(out, "communication", "Between ranks");
    for (size_t i = 0; i < report->evaluations; ++i) {
        if (json_is_object(communication_of(&report->evaluated[i]))) {
            write_evaluated(report, &report->evaluated[i], out);
        }
    }
    adamoe_report_section_end(out);
}
