/*
 * What the sections of a report share.
 */
#ifndef ADAMOE_REPORT_PARTS_H
#define ADAMOE_REPORT_PARTS_H

#include "report/results.h"
#include "report/svg.h"

/* Above this a share of the roofline is an error of measurement. */
#define ADAMOE_LARGEST_SHARE 1.02

/* A section with its head, and its end. `id` is what the page's own links point to. */
void adamoe_report_section_begin(FILE *out, const char *id, const char *title);
void adamoe_report_section_end(FILE *out);

/* A figure with the panel's preset and setting as its caption, and its end. */
void adamoe_report_figure_begin(FILE *out, const adamoe_report *report, adamoe_panel panel);
void adamoe_report_figure_end(FILE *out);

/* Which style is which kernel; of the kernels that have a time. */
void adamoe_report_legend(const adamoe_report *report, FILE *out);

/* "reproduce.json, AdaMoE": a name for an evaluation that a reader can find again. */
void adamoe_report_evaluated_name(const adamoe_report *report, const adamoe_evaluated *evaluated, FILE *out);

/* Ticks of an axis of tokens. */
#define ADAMOE_REPORT_TICKS 12

/* The numbers of tokens of some timings, ascending; the first ones met where there are too many. */
size_t adamoe_report_tokens(const adamoe_timing *timing, size_t count, double tokens[ADAMOE_REPORT_TICKS]);

/* The last part of a path. */
const char *adamoe_base_name(const char *path);

#endif
