/*
 * Starting a program.
 */
#include "machine/spawn.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>

extern char **environ;

static int pass(posix_spawn_file_actions_t *actions, const adamoe_passed *passed, size_t count)
{
    int error = 0;
    for (size_t i = 0; i < count && error == 0; ++i) {
        error = posix_spawn_file_actions_adddup2(actions, passed[i].here, passed[i].there);
    }
    return error;
}

static int use_default_sigpipe(posix_spawnattr_t *attributes)
{
    sigset_t defaults;
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE);
    const int error = posix_spawnattr_setsigdefault(attributes, &defaults);
    return error != 0 ? error : posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF);
}

static int spawn(const char *program, const char *const *arguments, const adamoe_passed *passed, size_t count,
                 pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) {
        return error;
    }
    error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        error = pass(&actions, passed, count);
        error = error != 0 ? error : use_default_sigpipe(&attributes);
        error = error != 0 ? error
                           : posix_spawn(pid, program, &actions, &attributes,
                                         (char *const *)(uintptr_t)arguments, /* it writes to none of them */
                                         environ);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return error;
}

adamoe_status adamoe_spawn(const char *program, const char *const *arguments, const adamoe_passed *passed,
                           size_t count, pid_t *pid)
{
    const int error = spawn(program, arguments, passed, count, pid);
    const bool absent = error == ENOENT || error == ENOTDIR || error == EACCES;
    return error == 0 ? adamoe_ok()
                      : adamoe_error(absent ? ADAMOE_BAD_INPUT : ADAMOE_ENVIRONMENT, "%s: run: %s", program,
                                     strerror(error));
}
