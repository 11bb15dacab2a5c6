/*
 * Running this program once more.
 */
#include "program/child_arguments.h"
#include "program/child_process.h"

#include <stdio.h>
#include <stdlib.h>

#define MOST_ARGUMENTS (sizeof((adamoe_arguments *)NULL)->item / sizeof(char *) - 1)

void adamoe_argument(adamoe_arguments *arguments, const char *format, ...)
{
    char *text = NULL;
    va_list list;
    va_start(list, format);
    const int length = vasprintf(&text, format, list);
    va_end(list);
    if (length < 0 || arguments->count == MOST_ARGUMENTS) {
        arguments->failed = true;
        if (length >= 0) {
            free(text);
        }
        return;
    }
    arguments->item[arguments->count++] = text;
}

void adamoe_arguments_free(adamoe_arguments *arguments)
{
    for (size_t i = 0; i < arguments->count; ++i) {
        free(arguments->item[i]);
    }
    *arguments = (adamoe_arguments){.count = 0};
}

void adamoe_machine_arguments(const adamoe_common_options *o, adamoe_arguments *arguments)
{
    if (o->plugin != NULL) {
        adamoe_argument(arguments, "--plugin=%s", o->plugin);
    }
    for (size_t i = 0; i < o->commands; ++i) {
        adamoe_argument(arguments, "--command=%s", o->command[i]);
    }
    if (o->threads != 0) {
        adamoe_argument(arguments, "--threads=%u", o->threads);
    }
    if (o->numa != ADAMOE_NUMA_LOCAL) {
        adamoe_argument(arguments, "--numa=%s", adamoe_numa_policy_names[o->numa]);
    }
    if (o->topology != NULL) {
        adamoe_argument(arguments, "--numa-topology=%s", o->topology);
    }
}

/* The end of the command, as much as fits into a message. */
static void write_command(const adamoe_arguments *arguments, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < arguments->count && used + 1 < size; ++i) {
        const int length = snprintf(text + used, size - used, "%s%s", i == 0 ? "" : " ", arguments->item[i]);
        used += length < 0 ? 0 : (size_t)length;
    }
}

adamoe_status adamoe_run_itself(const adamoe_arguments *arguments, char **text)
{
    adamoe_child child;
    char how[128], command[300];
    size_t length = 0;
    *text = NULL;
    if (arguments->failed) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "no memory or room for the arguments of a child");
    }
    ADAMOE_TRY(adamoe_child_start("/proc/self/exe", (const char *const *)arguments->item, &child));
    const adamoe_status status = adamoe_child_read_all(&child, text, &length);
    const int code = adamoe_child_end(&child, status.code != ADAMOE_OK, how, sizeof how);
    if (status.code != ADAMOE_OK || code == 0) {
        return status;
    }
    write_command(arguments, command, sizeof command);
    return adamoe_error(code > 0 && code <= (int)ADAMOE_ENVIRONMENT ? (adamoe_code)code : ADAMOE_ENVIRONMENT,
                        "`%s': %s", command, how);
}
