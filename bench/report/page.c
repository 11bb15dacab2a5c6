/*
 * The page: head, summary, and the sections in the order of the questions that a reader has. Nothing in it
 * needs a script, a font or a picture from elsewhere.
 */
#include "report/page.h"
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"
#include "report/values.h"

#include <math.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------------------------------------------------------ summary */

/* A number that a reader should see first: what it is, the number, and what to know about it. */
static void begin_fact(FILE *out, const char *name, const char *value, const char *look)
{
    (void)fprintf(out, "<div><dt>%s</dt><dd class=\"value %s\">%s</dd><dd class=\"under\">", name, look,
                  value);
}

static void end_fact(FILE *out)
{
    (void)fputs("</dd></div>\n", out);
}

static void write_comparison_fact(const adamoe_report *report, FILE *out)
{
    double regressions = 0.0;
    char value[64];
    for (size_t i = 0; i < report->comparisons; ++i) {
        regressions += fmax(adamoe_number_in(report->compared[i].comparison, "regressions"), 0.0);
    }
    if (report->comparisons == 0) {
        return;
    }
    (void)snprintf(value, sizeof value, "%.0f", regressions);
    begin_fact(out, "Regressions", value, regressions > 0.0 ? "bad" : "good");
    (void)fprintf(out, "in %zu comparison%s", report->comparisons, report->comparisons == 1 ? "" : "s");
    end_fact(out);
}

static void write_checks_fact(const adamoe_report *report, FILE *out)
{
    size_t passed, failed;
    char value[64];
    adamoe_report_count_checks(report, &passed, &failed);
    if (passed + failed == 0) {
        return;
    }
    (void)snprintf(value, sizeof value, "%zu %s", failed > 0 ? failed : passed,
                   failed > 0 ? "failed" : "passed");
    begin_fact(out, "Checks", value, failed > 0 ? "bad" : "good");
    (void)fprintf(out, failed > 0 ? "and %zu passed" : "and none failed", passed);
    end_fact(out);
}

/* The timing with the largest share of its roofline, or where none has one with the most GFLOP/s. */
/* A share that is an error of measurement is nobody's best; the table says that it is one. */
static const adamoe_timing *find_best(const adamoe_report *report, bool shares)
{
    const adamoe_timing *best = NULL;
    double most = 0.0;
    for (size_t i = 0; i < report->timings; ++i) {
        const adamoe_timing *t = &report->timing[i];
        const double value = shares ? t->roofline_share : t->gflops;
        if (value > most && !t->saved && !(shares && value > ADAMOE_LARGEST_SHARE)) {
            most = value;
            best = t;
        }
    }
    return best;
}

static void write_speed_fact(const adamoe_report *report, FILE *out, bool shares)
{
    char value[64];
    const adamoe_timing *best = find_best(report, shares);
    if (best == NULL) {
        return;
    }
    (void)snprintf(value, sizeof value, "%.20s%s",
                   shares ? adamoe_percent(best->roofline_share, 1).text : adamoe_number(best->gflops).text,
                   shares ? "" : " GFLOP/s");
    begin_fact(out, shares ? "Nearest to the roofline" : "Highest throughput", value, "");
    adamoe_html_text(out, best->kernel);
    (void)fputs(", ", out);
    adamoe_html_text(out, best->preset);
    (void)fprintf(out, ", %zu token%s", best->tokens, best->tokens == 1 ? "" : "s");
    end_fact(out);
}

static void write_evaluation_fact(const adamoe_report *report, const adamoe_evaluated *e, FILE *out)
{
    const json_t *cost = json_object_get(e->document, "adamoe");
    begin_fact(out, "Accuracy", adamoe_percent(adamoe_number_in(e->scores, "acc,none"), 2).text, "");
    (void)fprintf(out, "\xc2\xb1 %s; load %s, %s of the model's FLOPs saved; ",
                  adamoe_percent(adamoe_number_in(e->scores, "acc_stderr,none"), 2).text,
                  adamoe_number(adamoe_number_in(cost, "load")).text,
                  adamoe_percent(adamoe_number_in(cost, "model_flops_reduction"), 2).text);
    adamoe_report_evaluated_name(report, e, out);
    end_fact(out);
}

/* More of them would be a table, and that comes below. */
#define MOST_EVALUATION_FACTS 4

static void write_summary(const adamoe_report *report, FILE *out)
{
    (void)fputs("<section id=\"summary\" aria-label=\"Summary\">\n<dl class=\"facts\">\n", out);
    write_comparison_fact(report, out);
    write_checks_fact(report, out);
    write_speed_fact(report, out, true);
    write_speed_fact(report, out, false);
    for (size_t i = 0; i < report->evaluations && i < MOST_EVALUATION_FACTS; ++i) {
        write_evaluation_fact(report, &report->evaluated[i], out);
    }
    (void)fputs("</dl>\n</section>\n", out);
}

/* --------------------------------------------------------------------------------------------------- page */

static bool has_kind(const adamoe_report *report, adamoe_result_kind kind)
{
    for (size_t i = 0; i < report->sources; ++i) {
        if (report->source[i].kind == kind) {
            return true;
        }
    }
    return false;
}

static void write_link(FILE *out, bool exists, const char *id, const char *title)
{
    if (exists) {
        (void)fprintf(out, "<a href=\"#%s\">%s</a>\n", id, title);
    }
}

static void write_navigation(const adamoe_report *report, FILE *out)
{
    (void)fputs("<nav aria-label=\"Sections\">\n", out);
    write_link(out, report->comparisons > 0, "compared", "Comparison");
    write_link(out, report->checks > 0, "checks", "Checks");
    write_link(out, adamoe_report_has_throughput(report), "speed", "Speed");
    write_link(out, adamoe_report_has_saved(report), "saved", "FLOPs and time");
    write_link(out, report->evaluations > 0, "accuracy", "Accuracy");
    write_link(out, report->evaluations > 0 || has_kind(report, ADAMOE_RESULT_FLOPS), "flops", "FLOPs");
    write_link(out, adamoe_report_has_stages(report), "stages", "Stages");
    write_link(out, report->evaluations > 0, "load", "Load");
    write_link(out, adamoe_report_has_communication(report), "communication", "Between ranks");
    write_link(out, has_kind(report, ADAMOE_RESULT_ROUTERS), "routers", "Routers");
    write_link(out, has_kind(report, ADAMOE_RESULT_SCALE), "scale", "Ranks");
    write_link(out, true, "environment", "Environment");
    (void)fputs("</nav>\n", out);
}

static void write_head(const adamoe_report *report, FILE *out)
{
    char date[64] = "";
    const time_t now = time(NULL);
    struct tm parts;
    if (gmtime_r(&now, &parts) != NULL) {
        (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &parts);
    }
    (void)fprintf(out,
                  "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                  "<meta name=\"generator\" content=\"adamoe %s\">\n<title>adamoe report</title>\n<style>\n",
                  ADAMOE_VERSION);
    adamoe_report_write_style(out);
    (void)fprintf(out,
                  "</style>\n</head>\n<body>\n<header>\n<h1>adamoe report</h1>\n"
                  "<p class=\"quiet\">%s, adamoe %s, from %zu result%s</p>\n</header>\n",
                  date, ADAMOE_VERSION, report->sources, report->sources == 1 ? "" : "s");
}

void adamoe_report_write(const adamoe_report *report, FILE *out)
{
    write_head(report, out);
    write_navigation(report, out);
    (void)fputs("<main>\n", out);
    write_summary(report, out);
    adamoe_report_compared(report, out);
    adamoe_report_checks(report, out);
    if (adamoe_report_has_throughput(report)) {
        adamoe_report_section_begin(out, "speed", "Speed");
        adamoe_report_roofline(report, out);
        adamoe_report_throughput(report, out);
        adamoe_report_section_end(out);
    }
    adamoe_report_saved(report, out);
    adamoe_report_accuracy(report, out);
    adamoe_report_flops(report, out);
    adamoe_report_stages(report, out);
    adamoe_report_load(report, out);
    adamoe_report_communication(report, out);
    adamoe_report_routers(report, out);
    adamoe_report_scale(report, out);
    adamoe_report_environment(report, out);
    (void)fputs(
        "</main>\n<footer>Every number here is one that the results hold; a dash is a number that they do "
        "not.</footer>\n</body>\n</html>\n",
        out);
}
