/*
 * A comparison as text, as Markdown and as JSON.
 */
#include "compare/comparison.h"
#include "program/json_output.h"
#include "files/output_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct effect_text {
    char text[1280]; /* a double may have 309 digits */
} effect_text;

/* What became of a value: both of them, or how much of the first the second is. */
static effect_text describe_effect(const adamoe_finding *f)
{
    effect_text out;
    char *text = out.text;
    const size_t size = sizeof out.text;
    if (f->tested && f->aspect == ADAMOE_ASPECT_SPEED) {
        (void)snprintf(text, size, "%.3f times (%.3f to %.3f)", f->effect, f->interval.low, f->interval.high);
    } else if (f->tested) {
        (void)snprintf(text, size, "%s -> %s, %+.2f points (%+.2f to %+.2f)", f->base, f->now,
                       100.0 * f->effect, 100.0 * f->interval.low, 100.0 * f->interval.high);
    } else if (f->base[0] != '\0' || f->now[0] != '\0') {
        (void)snprintf(text, size, "%s -> %s", f->base[0] == '\0' ? "nothing" : f->base,
                       f->now[0] == '\0' ? "nothing" : f->now);
    } else {
        text[0] = '\0';
    }
    return out;
}

typedef struct p_text {
    char text[48];
} p_text;

static p_text describe_p(const adamoe_finding *f)
{
    p_text out = {""};
    if (f->tested) {
        (void)snprintf(out.text, sizeof out.text, "%.2g", f->adjusted_p);
    }
    return out;
}

/* "3 regressions, 0 missing, ..." */
static void print_summary(const adamoe_result_comparison *c, FILE *stream)
{
    const size_t regressions = adamoe_count_verdict(c, ADAMOE_VERDICT_REGRESSION);
    fprintf(
        stream,
        "%zu regression%s, %zu missing, %zu improved, %zu not judged, %zu deterministic value%s unchanged",
        regressions, regressions == 1 ? "" : "s", adamoe_count_verdict(c, ADAMOE_VERDICT_MISSING),
        adamoe_count_verdict(c, ADAMOE_VERDICT_IMPROVED), adamoe_count_verdict(c, ADAMOE_VERDICT_NOT_JUDGED),
        c->unchanged, c->unchanged == 1 ? "" : "s");
    if (c->tests > 0) {
        fprintf(stream, "; %zu test%s at %g after Holm's correction", c->tests, c->tests == 1 ? "" : "s",
                c->options.alpha);
    }
}

/* The notes come first: they say how to read the rest. */
void adamoe_print_comparison(const adamoe_result_comparison *c)
{
    fputs(c->notes, stdout);
    for (int verdict = 0; verdict < ADAMOE_VERDICTS; ++verdict) {
        for (size_t i = 0; i < c->count; ++i) {
            const adamoe_finding *f = &c->finding[i];
            if ((int)f->verdict != verdict) {
                continue;
            }
            printf("%-10s %-8s %s: %s", adamoe_verdict_names[verdict], adamoe_aspect_names[f->aspect],
                   f->subject, f->measure);
            const effect_text effect = describe_effect(f);
            printf("%s%s", effect.text[0] == '\0' ? "" : " ", effect.text);
            printf("%s%s", f->tested ? ", p " : "", describe_p(f).text);
            printf("%s%s\n", f->note[0] == '\0' ? "" : "; ", f->note);
        }
    }
    print_summary(c, stdout);
    putchar('\n');
}

/* A bar would end a cell, and a new line the table. */
static void print_cell(FILE *stream, const char *text)
{
    fputs("| ", stream);
    for (; *text != '\0'; ++text) {
        if (*text == '|') {
            fputs("\\|", stream);
        } else {
            fputc(*text == '\n' ? ' ' : *text, stream);
        }
    }
    fputc(' ', stream);
}

static void print_row(FILE *stream, const adamoe_finding *f)
{
    const bool bad = f->verdict == ADAMOE_VERDICT_REGRESSION || f->verdict == ADAMOE_VERDICT_MISSING;
    char verdict[64];
    (void)snprintf(verdict, sizeof verdict, "%s%s%s", bad ? "**" : "", adamoe_verdict_names[f->verdict],
                   bad ? "**" : "");
    print_cell(stream, verdict);
    print_cell(stream, adamoe_aspect_names[f->aspect]);
    print_cell(stream, f->subject);
    print_cell(stream, f->measure);
    print_cell(stream, describe_effect(f).text);
    print_cell(stream, describe_p(f).text);
    print_cell(stream, f->note);
    fputs("|\n", stream);
}

static void print_markdown(const adamoe_result_comparison *c, const char *title, FILE *stream)
{
    const adamoe_code outcome = adamoe_comparison_outcome(c).code;
    fprintf(stream, "### %s: %s\n\n", title,
            outcome == ADAMOE_OK           ? "no regression"
            : outcome == ADAMOE_DIFFERENCE ? "regression"
                                           : "nothing could be compared");
    print_summary(c, stream);
    fputs(".\n", stream);
    for (const char *line = c->notes; *line != '\0'; line = strchr(line, '\n') + 1) {
        fprintf(stream, "\n* %.*s\n", (int)strcspn(line, "\n"), line);
    }
    if (c->count > 0) {
        fputs("\n| verdict | of | what | measure | base -> new | p | note |\n"
              "|---|---|---|---|---|---|---|\n",
              stream);
    }
    for (int verdict = 0; verdict < ADAMOE_VERDICTS; ++verdict) {
        for (size_t i = 0; i < c->count; ++i) {
            if ((int)c->finding[i].verdict == verdict) {
                print_row(stream, &c->finding[i]);
            }
        }
    }
}

adamoe_status adamoe_write_markdown(const adamoe_result_comparison *comparison, const char *title,
                                    const char *path)
{
    if (strcmp(path, "-") == 0) {
        print_markdown(comparison, title, stdout);
        return adamoe_ok();
    }
    adamoe_output_file *file = NULL;
    ADAMOE_TRY(adamoe_output_file_open(path, &file));
    print_markdown(comparison, title, adamoe_output_file_stream(file));
    return adamoe_output_file_commit(file);
}

static json_t *finding_json(const adamoe_finding *f)
{
    json_t *entry =
        json_pack("{s:s,s:s,s:o,s:s,s:s,s:s,s:o}", "aspect", adamoe_aspect_names[f->aspect], "verdict",
                  adamoe_verdict_names[f->verdict], "subject", adamoe_json_text(f->subject), "measure",
                  f->measure, "base", f->base, "new", f->now, "note", adamoe_json_text(f->note));
    if (f->tested) {
        json_object_set_new(entry, "effect", adamoe_json_number(f->effect));
        json_object_set_new(
            entry, "interval",
            json_pack("[o,o]", adamoe_json_number(f->interval.low), adamoe_json_number(f->interval.high)));
        json_object_set_new(entry, "p", adamoe_json_number(f->p));
        json_object_set_new(entry, "adjusted_p", adamoe_json_number(f->adjusted_p));
    }
    return entry;
}

json_t *adamoe_comparison_json(const adamoe_result_comparison *c)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < c->count; ++i) {
        if (json_array_append_new(findings, finding_json(&c->finding[i])) != 0) {
            json_decref(findings);
            return NULL;
        }
    }
    return json_pack("{s:I,s:I,s:I,s:f,s:f,s:I,s:o,s:o}", "regressions",
                     (json_int_t)adamoe_count_verdict(c, ADAMOE_VERDICT_REGRESSION), "missing",
                     (json_int_t)adamoe_count_verdict(c, ADAMOE_VERDICT_MISSING), "unchanged",
                     (json_int_t)c->unchanged, "alpha", c->options.alpha, "minimum_effect",
                     c->options.minimum_effect, "tests", (json_int_t)c->tests, "notes",
                     adamoe_json_text(c->notes), "findings", findings);
}
