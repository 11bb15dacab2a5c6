/*
 * The time of the two sides, from processes that are started anew.
 */
#include "program/child_arguments.h"
#include "reproduce/sides/side_by_side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_arguments(const adamoe_side_options *o, const adamoe_common_options *common, size_t rounds,
                          adamoe_arguments *arguments)
{
    adamoe_argument(arguments, "adamoe");
    adamoe_argument(arguments, "reproduce");
    adamoe_argument(arguments, "--time-sides");
    adamoe_argument(arguments, "--model=%s", o->model);
    adamoe_argument(arguments, "--questions=%s", o->questions);
    adamoe_argument(arguments, "--rounds=%zu", rounds);
    if (o->baseline != NULL) {
        adamoe_argument(arguments, "--baseline=%s", o->baseline);
    }
    if (common->kernel != NULL) {
        adamoe_argument(arguments, "--kernel=%s", common->kernel);
    }
    adamoe_machine_arguments(common, arguments);
}

/* Reads `count` numbers behind `word`, and moves on to the next line; false where the line is another one. */
static bool read_line(const char **text, const char *word, size_t count, double *number)
{
    const size_t length = strlen(word);
    if (strncmp(*text, word, length) != 0) {
        return false;
    }
    const char *at = *text + length;
    for (size_t i = 0; i < count; ++i) {
        char *end = NULL;
        number[i] = strtod(at, &end);
        if (end == at || !(number[i] >= 0.0)) {
            return false;
        }
        at = end;
    }
    *text = at + 1;
    return *at == '\n';
}

static bool read_stages(const char **text, adamoe_side *side)
{
    double seconds[ADAMOE_FORWARD_STAGES];
    if (!read_line(text, "stages", ADAMOE_FORWARD_STAGES, seconds)) {
        return false;
    }
    for (size_t i = 0; i < ADAMOE_FORWARD_STAGES; ++i) {
        side->stage_seconds[i] += seconds[i];
    }
    return true;
}

/* Three lines for each round. */
static adamoe_status read_times(const char *text, adamoe_side_by_side *sides, size_t first)
{
    for (size_t i = 0; i < sides->rounds; ++i) {
        double seconds[2] = {0.0, 0.0};
        if (text == NULL || !read_line(&text, "seconds", 2, seconds) || !(seconds[0] > 0.0) ||
            !(seconds[1] > 0.0) || !read_stages(&text, &sides->vanilla) ||
            !read_stages(&text, &sides->adaptive)) {
            return adamoe_error(ADAMOE_ENVIRONMENT, "a process that times the sides: `%.100s' is no time",
                                text == NULL ? "" : text);
        }
        sides->vanilla.seconds[first + i] = seconds[0];
        sides->adaptive.seconds[first + i] = seconds[1];
    }
    return adamoe_ok();
}

adamoe_status adamoe_side_by_side_time_all(const adamoe_side_options *options,
                                           const adamoe_common_options *common, adamoe_side_by_side *sides)
{
    adamoe_arguments arguments = {.count = 0};
    adamoe_status status = adamoe_ok();
    adamoe_load_mark before, after;
    adamoe_side_by_side_count(options, sides);
    add_arguments(options, common, sides->rounds, &arguments);
    adamoe_mark_load(&before);
    for (size_t p = 0; p < sides->processes && status.code == ADAMOE_OK; ++p) {
        char *text = NULL;
        status = adamoe_run_itself(&arguments, &text);
        if (status.code == ADAMOE_OK) {
            status = read_times(text, sides, p * sides->rounds);
        }
        free(text);
    }
    adamoe_mark_load(&after);
    sides->time.disturbance = adamoe_disturbance_between(&before, &after);
    adamoe_arguments_free(&arguments);
    return status.code == ADAMOE_OK ? adamoe_side_by_side_judge_time(sides) : status;
}
