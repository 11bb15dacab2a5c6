/*
 * The flags of Google Benchmark on the command line of `adamoe bench`, and a run of the library with them.
 */
#include "bench/flags.h"
#include "program/environment.h"
#include "gbench/gbench.h"
#include "program/held_signals.h"
#include "files/output_file.h"
#include "program/result_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Eleven repetitions of 50 ms, in turn: enough for an interval, and for the least p that
 * tests of ranks need. */
#define REPETITIONS      11
#define MOST_REPETITIONS 10000
#define LEAST_SECONDS    0.05
#define MOST_SECONDS     3600.0

static const char prefix[] = "--benchmark_";

/* The value of `--benchmark_NAME=value`, or NULL. */
static const char *value_of(const char *argument, const char *name)
{
    const size_t length = strlen(name);
    return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1 : NULL;
}

static adamoe_status read_repetitions(const char *text, size_t *out)
{
    char *end = NULL;
    const unsigned long count = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || count < 1 || count > MOST_REPETITIONS) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--benchmark_repetitions: `%s' is not a whole number from 1 to %d", text,
                            MOST_REPETITIONS);
    }
    *out = count;
    return adamoe_ok();
}

/* "0.01" as Google Benchmark 1.7 wants it, and "0.01s" as later ones do. */
static adamoe_status read_seconds(const char *text, double *out)
{
    char *end = NULL;
    const double seconds = strtod(text, &end);
    if (end != text && strcmp(end, "s") == 0) {
        ++end;
    }
    if (end == text || *end != '\0' || !(seconds >= 0.0 && seconds <= MOST_SECONDS)) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--benchmark_min_time: `%s' is not a number of seconds up to %g", text,
                            MOST_SECONDS);
    }
    *out = seconds;
    return adamoe_ok();
}

static adamoe_status take_flag(char *argument, adamoe_library_flags *out)
{
    const char *value = NULL;
    out->argument[out->count++] = argument;
    if ((value = value_of(argument, "--benchmark_repetitions")) != NULL) {
        return read_repetitions(value, &out->repetitions);
    }
    if ((value = value_of(argument, "--benchmark_min_time")) != NULL) {
        return read_seconds(value, &out->least_seconds);
    }
    out->other = argument;
    if ((value = value_of(argument, "--benchmark_out")) != NULL) {
        out->out = value;
    } else if (value_of(argument, "--benchmark_format") != NULL) {
        out->shows = true;
    }
    return adamoe_ok();
}

static adamoe_status take_environment(adamoe_library_flags *out)
{
    const char *repetitions = getenv("BENCHMARK_REPETITIONS"), *seconds = getenv("BENCHMARK_MIN_TIME");
    if (repetitions != NULL) {
        ADAMOE_TRY(read_repetitions(repetitions, &out->repetitions));
    }
    if (seconds == NULL) {
        return adamoe_ok();
    }
    ADAMOE_TRY(read_seconds(seconds, &out->least_seconds));
    /* As a flag too: the library would complain of a spelling in the environment that is not its own. */
    static char flag[64];
    (void)snprintf(flag, sizeof flag, "--benchmark_min_time=%.17g", out->least_seconds);
    out->argument[out->count++] = flag;
    return adamoe_ok();
}

adamoe_status adamoe_split_flags(int *count, char **arguments, adamoe_library_flags *out)
{
    *out = (adamoe_library_flags){.argument = calloc((size_t)*count + 4, sizeof(char *)),
                                  .count = 1,
                                  .repetitions = REPETITIONS,
                                  .least_seconds = LEAST_SECONDS};
    if (out->argument == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "out of memory");
    }
    static char program[] = "adamoe bench";
    int kept = 1;
    out->argument[0] = program;
    ADAMOE_TRY(take_environment(out));
    for (int i = 1; i < *count; ++i) {
        if (strncmp(arguments[i], prefix, sizeof prefix - 1) == 0) {
            ADAMOE_TRY(take_flag(arguments[i], out));
        } else {
            arguments[kept++] = arguments[i];
        }
    }
    arguments[kept] = NULL;
    *count = kept;
    return adamoe_ok();
}

/* The library is told that there is a file, not which. */
void adamoe_flags_set_json(adamoe_library_flags *flags, const char *path)
{
    static char display[] = "--benchmark_format=json", file[] = "--benchmark_out=json",
                format[] = "--benchmark_out_format=json";
    if (strcmp(path, "-") == 0) {
        flags->argument[flags->count++] = display;
        flags->shows = true;
    } else {
        flags->argument[flags->count++] = file;
        flags->argument[flags->count++] = format;
        flags->out = path;
    }
}

static adamoe_status library_status(gbench_result result, const char *message)
{
    switch (result) {
    case GBENCH_DONE:
        return adamoe_ok();
    case GBENCH_NO_MEMORY:
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s", message);
    default:
        return adamoe_error(ADAMOE_BAD_INPUT, "%s", message);
    }
}

static adamoe_status write_report(const char *path, const gbench_report *report)
{
    adamoe_output_file *file = NULL;
    ADAMOE_TRY(adamoe_output_file_open(path, &file));
    (void)fwrite(report->text, 1, report->length, adamoe_output_file_stream(file));
    return adamoe_output_file_commit(file);
}

adamoe_status adamoe_run_library(adamoe_library_flags *flags)
{
    const adamoe_result_file file = {"--benchmark_out", flags->out};
    gbench_report report;
    adamoe_load_mark before;
    ADAMOE_TRY(adamoe_check_result_files(&file, 1, &flags->recorded, 1,
                                         flags->kernels)); /* before the hours, not after */
    adamoe_mark_load(&before);
    const gbench_result result = gbench_run(flags->count, flags->argument, &report);
    adamoe_status status = library_status(result, report.message);
    if (status.code == ADAMOE_OK && report.text != NULL && report.text[0] == '{') {
        status = adamoe_add_environment(&before, &report.text, &report.length);
    }
    if (status.code == ADAMOE_OK && report.text != NULL) {
        adamoe_hold_signals();
        status = write_report(flags->out, &report);
        adamoe_release_signals();
    }
    gbench_report_free(&report);
    return status;
}
