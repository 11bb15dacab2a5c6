/*
 * Running the program as a user does, for tests of it: what it printed, and its exit code.
 */
#ifndef ADAMOE_PROGRAM_H
#define ADAMOE_PROGRAM_H

#include "temporary_folder.h"

#include <sys/wait.h>

/* What ships with the project. */
#define MODEL_PATH     SOURCE_PATH("tests/golden/generated/random-adamoe")
#define QUESTIONS_PATH SOURCE_PATH("tests/golden/generated/arc-style/questions.jsonl")
#define LAYER_PATH     SOURCE_PATH("tests/golden/layer/small.safetensors")

/* The program and the same files as words of a line for the shell, which more may follow: MODEL "/config.json".
 * The tree may stand in "Mes projets". */
#define SHELL_WORD(path) "'" path "'"
#define ADAMOE           SHELL_WORD(ADAMOE_PROGRAM)
#define MODEL            SHELL_WORD(MODEL_PATH)
#define QUESTIONS        SHELL_WORD(QUESTIONS_PATH)
#define LAYER            SHELL_WORD(LAYER_PATH)

/* What a run printed, both streams together, and how it ended. */
typedef struct outcome {
    int code;
    char text[65536];
} outcome;

__attribute__((format(printf, 1, 2))) static inline outcome *run(const char *format, ...)
{
    static outcome result;
    char line[4096], command[8192];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    (void)snprintf(command, sizeof command, "( %s ) 2>&1", line);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    const size_t length = fread(result.text, 1, sizeof result.text - 1, pipe);
    result.text[length] = '\0';
    const int status = pclose(pipe);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return &result;
}

static inline void expect(const outcome *got, int code, const char *part)
{
    if (got->code != code || strstr(got->text, part) == NULL) {
        fail_msg("exit code %d, expected %d with \"%s\"; printed: %s", got->code, code, part, got->text);
    }
}

static inline bool exists(const char *folder, const char *name)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

#endif
