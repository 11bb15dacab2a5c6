/*
 * The results of `adamoe check` for machines that read JUnit XML or the Test Anything Protocol.
 */
#include "check/print.h"
#include "files/output_file.h"
#include "files/utf8.h"

#include <string.h>

/* --------------------------------------------------------------------------------------------- JUnit XML */

/* Markup is escaped; what XML 1.0 cannot hold, control characters and what is not UTF-8, becomes U+FFFD. */
static void put_xml(FILE *stream, const char *text)
{
    const size_t length = strlen(text);
    for (size_t at = 0; at < length;) {
        uint32_t character;
        const size_t begin = at;
        at += adamoe_utf8_next(text + at, length - at, &character);
        const bool control = character < 0x20 && character != '\n' && character != '\t';
        if (character == ADAMOE_ILL_FORMED || control || character == 0xFFFE || character == 0xFFFF) {
            fputs("\xEF\xBF\xBD", stream);
        } else if (strchr("<>&\"'", (int)character) != NULL || character == '\n') {
            fprintf(stream, "&#%u;", character);
        } else {
            (void)fwrite(text + begin, 1, at - begin, stream);
        }
    }
}

static void put_case(FILE *stream, const adamoe_check_options *options, const adamoe_kernel_check *check,
                     size_t i)
{
    const adamoe_check_result *result = &check->results[i];
    fputs("    <testcase classname=\"", stream);
    put_xml(stream, check->name);
    fputs("\" name=\"", stream);
    put_xml(stream, check->cases[i]);
    if (result->status == ADAMOE_CHECK_PASSED) {
        fputs("\"/>\n", stream);
        return;
    }
    const bool failed = result->status == ADAMOE_CHECK_FAILED;
    fprintf(stream, "\">\n      <%s message=\"", failed ? "failure" : "skipped");
    if (failed) {
        put_xml(stream, adamoe_describe_failure(options, check, i).text);
    } else {
        fprintf(stream, "%s: ", adamoe_check_status_names[result->status]);
        put_xml(stream, result->detail);
    }
    fputs("\"/>\n    </testcase>\n", stream);
}

static void put_suite(FILE *stream, const adamoe_check_options *options, const adamoe_kernel_check *check)
{
    size_t failed = 0, skipped = 0;
    const size_t count = check->why_not != NULL ? 0 : check->count;
    for (size_t i = 0; i < count; ++i) {
        failed += check->results[i].status == ADAMOE_CHECK_FAILED;
        skipped += check->results[i].status >= ADAMOE_CHECK_SKIPPED;
    }
    fputs("  <testsuite name=\"", stream);
    put_xml(stream, check->name);
    if (check->why_not != NULL) {
        fputs("\" tests=\"1\" failures=\"0\" skipped=\"1\">\n    <testcase classname=\"", stream);
        put_xml(stream, check->name);
        fputs("\" name=\"supported\">\n      <skipped message=\"cannot run here: ", stream);
        put_xml(stream, check->why_not);
        fputs("\"/>\n    </testcase>\n", stream);
    } else {
        fprintf(stream, "\" tests=\"%zu\" failures=\"%zu\" skipped=\"%zu\">\n", count, failed, skipped);
    }
    for (size_t i = 0; i < count; ++i) {
        put_case(stream, options, check, i);
    }
    fputs("  </testsuite>\n", stream);
}

static void put_junit(FILE *stream, const adamoe_check_options *options, const adamoe_kernel_checks *checks)
{
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"adamoe check\">\n", stream);
    for (size_t i = 0; i < checks->count; ++i) {
        put_suite(stream, options, &checks->kernel[i]);
    }
    fputs("</testsuites>\n", stream);
}

/* --------------------------------------------------------------------------------------------------- TAP */

/* A diagnostic: every line of it is a comment. */
static void put_comment(FILE *stream, const char *text)
{
    fputs("# ", stream);
    for (; *text != '\0'; ++text) {
        (void)fputc(*text, stream);
        if (*text == '\n') {
            fputs("# ", stream);
        }
    }
    (void)fputc('\n', stream);
}

static void put_point(FILE *stream, const adamoe_check_options *options, const adamoe_kernel_check *check,
                      size_t i, size_t number)
{
    const adamoe_check_result *result = &check->results[i];
    const bool failed = result->status == ADAMOE_CHECK_FAILED;
    const bool skipped = result->status == ADAMOE_CHECK_SKIPPED || result->status == ADAMOE_CHECK_VACUOUS;
    fprintf(stream, "%sok %zu - %s %s", failed ? "not " : "", number, check->name, check->cases[i]);
    if (skipped) {
        fprintf(stream, " # SKIP %s: %s", adamoe_check_status_names[result->status], result->detail);
    }
    (void)fputc('\n', stream);
    if (failed) {
        put_comment(stream, adamoe_describe_failure(options, check, i).text);
    }
}

static void put_tap(FILE *stream, const adamoe_check_options *options, const adamoe_kernel_checks *checks)
{
    size_t number = 0, all = 0;
    for (size_t i = 0; i < checks->count; ++i) {
        all += checks->kernel[i].why_not != NULL ? 1 : checks->kernel[i].count;
    }
    fprintf(stream, "TAP version 13\n1..%zu\n", all);
    for (size_t i = 0; i < checks->count; ++i) {
        const adamoe_kernel_check *check = &checks->kernel[i];
        if (check->why_not != NULL) {
            fprintf(stream, "ok %zu - %s # SKIP cannot run here: %s\n", ++number, check->name,
                    check->why_not);
        }
        for (size_t j = 0; j < check->count && check->why_not == NULL; ++j) {
            put_point(stream, options, check, j, ++number);
        }
    }
}

/* ------------------------------------------------------------------------------------------------- files */

static adamoe_status
write_file(const char *path, const adamoe_check_options *options, const adamoe_kernel_checks *checks,
           void (*put)(FILE *, const adamoe_check_options *, const adamoe_kernel_checks *))
{
    adamoe_output_file *file = NULL;
    if (path == NULL) {
        return adamoe_ok();
    }
    if (strcmp(path, "-") == 0) {
        put(stdout, options, checks);
        return adamoe_flush_output();
    }
    ADAMOE_TRY(adamoe_output_file_open(path, &file));
    put(adamoe_output_file_stream(file), options, checks);
    return adamoe_output_file_commit(file);
}

adamoe_status adamoe_check_write_junit(const adamoe_check_options *options,
                                       const adamoe_kernel_checks *checks)
{
    return write_file(options->junit, options, checks, put_junit);
}

adamoe_status adamoe_check_write_tap(const adamoe_check_options *options, const adamoe_kernel_checks *checks)
{
    return write_file(options->tap, options, checks, put_tap);
}
