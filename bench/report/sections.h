/*
 * The sections of the page, each in a file of its name. Errors of the stream are kept by the stream.
 */
#ifndef ADAMOE_REPORT_SECTIONS_H
#define ADAMOE_REPORT_SECTIONS_H

#include "report/results.h"

#include <stdio.h>

/* Each writes nothing where the report has nothing for it. */
void adamoe_report_checks(const adamoe_report *report, FILE *out);
void adamoe_report_roofline(const adamoe_report *report, FILE *out);
void adamoe_report_throughput(const adamoe_report *report, FILE *out);
void adamoe_report_saved(const adamoe_report *report, FILE *out);
void adamoe_report_load(const adamoe_report *report, FILE *out);
void adamoe_report_accuracy(const adamoe_report *report, FILE *out);
void adamoe_report_flops(const adamoe_report *report, FILE *out);
void adamoe_report_stages(const adamoe_report *report, FILE *out);
void adamoe_report_compared(const adamoe_report *report, FILE *out);
void adamoe_report_communication(const adamoe_report *report, FILE *out);
void adamoe_report_routers(const adamoe_report *report, FILE *out);
void adamoe_report_scale(const adamoe_report *report, FILE *out);
void adamoe_report_environment(const adamoe_report *report, FILE *out);

/* Whether an evaluation tells where its time went. */
bool adamoe_report_has_stages(const adamoe_report *report);

/* Whether an evaluation ran over several ranks. */
bool adamoe_report_has_communication(const adamoe_report *report);

/* Cases of all files that passed and that failed. */
void adamoe_report_count_checks(const adamoe_report *report, size_t *passed, size_t *failed);

/* The style sheet of the page: light, dark, narrow and printed. */
void adamoe_report_write_style(FILE *out);

#endif
