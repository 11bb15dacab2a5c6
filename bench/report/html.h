/*
 * Writing HTML: text that cannot become markup, and numbers as people read them. Errors of the stream are
 * kept by the stream; who opened it asks at the end.
 */
#ifndef ADAMOE_REPORT_HTML_H
#define ADAMOE_REPORT_HTML_H

#include <stddef.h>
#include <stdio.h>

/* A text as content or as the value of an attribute in double quotes. What is not UTF-8, and characters that
 * HTML forbids, become U+FFFD. */
void adamoe_html_text(FILE *out, const char *text);

/* A number in its own buffer, so that several can stand in one call. */
typedef struct adamoe_number_text {
    char text[32];
} adamoe_number_text;

/* Three significant digits, without exponent from 0.001 to 10^6: 0.0123, 1.50, 26.7, 1340. A dash for NaN. */
adamoe_number_text adamoe_number(double value);

/* As a tick of an axis: no digit more than needed. */
adamoe_number_text adamoe_tick_number(double value);

/* A fraction as percent with so many decimals: "14.55 %". A dash for NaN. */
adamoe_number_text adamoe_percent(double fraction, int decimals);

/* A duration with its unit: "7.68 ms". */
adamoe_number_text adamoe_duration(double seconds);

/* <th> cells of a head row; `numbers` of them, the last ones, are aligned as numbers. */
void adamoe_html_head_row(FILE *out, const char *const *titles, size_t count, size_t numbers);

/* A cell with a number, and one with a text. */
void adamoe_html_number_cell(FILE *out, adamoe_number_text number);
void adamoe_html_text_cell(FILE *out, const char *text);

/* A table in a box of its own that scrolls where the page is narrow; `name` is read out. */
void adamoe_html_table_begin(FILE *out, const char *name);
void adamoe_html_table_end(FILE *out);

#endif
