/*
 * What the sections of a report share: heads of sections and figures, the legend, names of files and results.
 */
#include "report/parts.h"
#include "report/html.h"

#include <string.h>

const char *adamoe_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL || slash[1] == '\0' ? path : slash + 1;
}

void adamoe_report_section_begin(FILE *out, const char *id, const char *title)
{
    (void)fprintf(out, "<section id=\"%s\" aria-labelledby=\"%s-title\">\n<h2 id=\"%s-title\">%s</h2>\n", id,
                  id, id, title);
}

void adamoe_report_section_end(FILE *out)
{
    (void)fputs("</section>\n", out);
}

/* Files that brought timings; with one alone its name says nothing. */
static bool has_several_timed(const adamoe_report *report)
{
    return report->timings > 0 && report->timing[0].source != report->timing[report->timings - 1].source;
}

void adamoe_report_figure_begin(FILE *out, const adamoe_report *report, adamoe_panel panel)
{
    const adamoe_timing *first = &report->timing[panel.first];
    (void)fputs("<figure><figcaption>", out);
    adamoe_html_text(out, first->preset);
    (void)fputs(" <span class=\"quiet\">", out);
    adamoe_html_text(out, first->setting);
    if (has_several_timed(report)) {
        (void)fputs(first->setting[0] == '\0' ? "" : ", ", out);
        adamoe_html_text(out, adamoe_base_name(report->source[first->source].path));
    }
    (void)fputs("</span></figcaption>\n", out);
}

void adamoe_report_figure_end(FILE *out)
{
    (void)fputs("</figure>\n", out);
}

size_t adamoe_report_tokens(const adamoe_timing *timing, size_t count, double tokens[ADAMOE_REPORT_TICKS])
{
    size_t used = 0;
    for (size_t i = 0; i < count; ++i) {
        const double value = (double)timing[i].tokens;
        size_t at = 0;
        while (at < used && tokens[at] < value) {
            ++at;
        }
        if (used < ADAMOE_REPORT_TICKS && (at == used || tokens[at] != value)) {
            memmove(tokens + at + 1, tokens + at, (used - at) * sizeof *tokens);
            tokens[at] = value;
            ++used;
        }
    }
    return used;
}

static bool has_time(const adamoe_report *report, const char *kernel)
{
    for (size_t i = 0; i < report->timings; ++i) {
        if (report->timing[i].repetitions > 0 && strcmp(report->timing[i].kernel, kernel) == 0 &&
            report->timing[i].error == NULL && !report->timing[i].saved) {
            return true;
        }
    }
    return false;
}

void adamoe_report_legend(const adamoe_report *report, FILE *out)
{
    (void)fputs("<ul class=\"legend\">", out);
    for (size_t i = 0; i < report->kernels; ++i) {
        if (has_time(report, report->kernel[i])) {
            (void)fputs("<li>", out);
            adamoe_svg_key(out, i);
            adamoe_html_text(out, report->kernel[i]);
            (void)fputs("</li>", out);
        }
    }
    (void)fputs("</ul>\n", out);
}

void adamoe_report_evaluated_name(const adamoe_report *report, const adamoe_evaluated *evaluated, FILE *out)
{
    adamoe_html_text(out, adamoe_base_name(report->source[evaluated->source].path));
    (void)fputs(evaluated->name[0] == '\0' ? "" : ", ", out);
    adamoe_html_text(out, evaluated->name);
}
