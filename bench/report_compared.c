/*
 * Comparisons of two results, as compare and gate write them.
 */
#include "report.h"

void adamoe_report_compared(const adamoe_report *report, FILE *out)
{
    (void)report;
    (void)out;
}
void adamoe_report_saved(const adamoe_report *report, FILE *out)
{
    (void)report;
    (void)out;
}
