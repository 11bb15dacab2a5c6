/*
 * The whole page of a report.
 */
#ifndef ADAMOE_REPORT_PAGE_H
#define ADAMOE_REPORT_PAGE_H

#include "report/results.h"

#include <stdio.h>

/* Writes the page of what adamoe_report_read read. Errors of the stream are kept by the stream. */
void adamoe_report_write(const adamoe_report *report, FILE *out);

#endif
