/*
 * The times of `adamoe bench` as tables for a person.
 */
#ifndef ADAMOE_BENCH_TABLE_H
#define ADAMOE_BENCH_TABLE_H

#include "bench/layer.h"

/* One table for each group, on standard output. */
void adamoe_bench_table(const adamoe_bench_view *view);

/* Seconds in a unit that suits them, as "12.3 us"; returns the text. */
const char *adamoe_format_seconds(double seconds, char *text, size_t size);

#endif
