/*
 * adamoe report: results of the other verbs as one page that a browser shows without a network.
 */
#include "report/page.h"
#include "report/results.h"
#include "program/held_signals.h"
#include "program/options.h"
#include "files/output_file.h"
#include "program/result_files.h"
#include "verbs.h"

#include <string.h>

/* Files that one page can show. */
#define MOST_FILES 256

typedef struct report_options {
    const char *input[MOST_FILES];
    size_t inputs;
    const char *output;
} report_options;

static const struct argp_option options_list[] = {
    {"output", 'o', "FILE.html", 0, "Write the page there, `-' for standard output (required)", 0},
    {0},
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    report_options *o = state->input;
    switch (key) {
    case 'o':
        o->output = value;
        return 0;
    case ARGP_KEY_ARG:
        if (o->inputs == MOST_FILES) {
            argp_error(state, "more than %d results", MOST_FILES);
        }
        o->input[o->inputs++] = value;
        return 0;
    case ARGP_KEY_END:
        if (o->inputs == 0 || o->output == NULL) {
            argp_error(state, "a result and --output are required");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp report_argp = {
    .options = options_list,
    .parser = parse_option,
    .args_doc = "RESULT.json...",
    .doc =
        "Makes one self-contained page of what the other verbs wrote with --json: bench, check, eval, "
        "reproduce, flops, compare, gate, info and routers, in any mixture. It shows rooflines, throughput, load, "
        "accuracy "
        "against FLOPs, and checks, as pictures and as numbers; it needs no network and no script."
        "\vExample, in the project's folder:\n"
        "  adamoe check --case tokens:7/routing:skewed --json check.json\n"
        "  adamoe bench --kernel onednn-f32 --tokens 1,16 --json bench.json\n"
        "  adamoe report check.json bench.json -o report.html\n",
};

static adamoe_status write_page(const char *path, const adamoe_report *report)
{
    adamoe_output_file *file = NULL;
    if (strcmp(path, "-") == 0) {
        adamoe_report_write(report, stdout);
        return adamoe_flush_output();
    }
    ADAMOE_TRY(adamoe_output_file_open(path, &file));
    adamoe_report_write(report, adamoe_output_file_stream(file));
    return adamoe_output_file_commit(file);
}

static adamoe_status run(const report_options *o)
{
    const adamoe_result_file file = {"--output", o->output};
    adamoe_report report;
    ADAMOE_TRY(adamoe_check_result_files(&file, 1, o->input, o->inputs, NULL));
    adamoe_status status = adamoe_report_read(o->input, o->inputs, &report);
    if (status.code == ADAMOE_OK) {
        adamoe_hold_signals();
        status = write_page(o->output, &report);
        adamoe_release_signals();
    }
    adamoe_report_free(&report);
    return status;
}

int adamoe_verb_report(int count, char **arguments)
{
    report_options options = {.output = NULL};
    adamoe_parse(&report_argp, count, arguments, &options);
    return adamoe_finish("report", run(&options));
}
