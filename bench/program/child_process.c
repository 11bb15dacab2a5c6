/*
 * Talking to a program that was started.
 */
#include "program/child_process.h"
#include "machine/clock.h"
#include "machine/spawn.h"
#include "program/held_signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

adamoe_status adamoe_child_start(const char *program, const char *const *arguments, adamoe_child *out)
{
    int to[2], from[2];
    *out = (adamoe_child){.input = -1, .output = -1};
    (void)snprintf(out->name, sizeof out->name, "%s", program);
    if (pipe2(to, O_CLOEXEC) != 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: pipe: %s", program, strerror(errno));
    }
    if (pipe2(from, O_CLOEXEC) != 0) {
        const adamoe_status status =
            adamoe_error(ADAMOE_ENVIRONMENT, "%s: pipe: %s", program, strerror(errno));
        close(to[0]);
        close(to[1]);
        return status;
    }
    const adamoe_passed passed[] = {{to[0], STDIN_FILENO}, {from[1], STDOUT_FILENO}};
    const adamoe_status status = adamoe_spawn(program, arguments, passed, 2, &out->pid);
    close(to[0]);
    close(from[1]);
    out->input = to[1];
    out->output = from[0];
    if (status.code != ADAMOE_OK) {
        out->pid = 0;
        close(out->input);
        close(out->output);
    }
    return status;
}

adamoe_status adamoe_child_say(adamoe_child *child, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    /* Shorter than what a pipe takes at once. */
    if (length < 0 || (size_t)length >= sizeof line || write(child->input, line, (size_t)length) != length) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: it takes no more commands", child->name);
    }
    return adamoe_ok();
}

/* Takes the first line out of what is pending; false where there is no whole one. */
static bool take_line(adamoe_child *child, char *line, size_t size)
{
    const char *end = memchr(child->pending, '\n', child->held);
    if (end == NULL) {
        return false;
    }
    const size_t length = (size_t)(end - child->pending);
    (void)snprintf(line, size, "%.*s", (int)length, child->pending);
    child->held -= length + 1;
    memmove(child->pending, end + 1, child->held);
    return true;
}

/* The child says nothing more: how did it end? */
static adamoe_status gone(adamoe_child *child, bool killed)
{
    char how[64], name[256];
    memcpy(name, child->name, sizeof name);
    (void)adamoe_child_end(child, killed, how, sizeof how);
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s: %s", name, killed ? "it does not answer" : how);
}

adamoe_status adamoe_child_hear(adamoe_child *child, double seconds, char *line, size_t size)
{
    const double end = adamoe_now() + seconds;
    while (!take_line(child, line, size)) {
        const double left = end - adamoe_now();
        struct pollfd waiting = {.fd = child->output, .events = POLLIN};
        const int ready = left <= 0.0 ? 0 : poll(&waiting, 1, (int)(1000.0 * left) + 1);
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        const size_t room = sizeof child->pending - child->held;
        if (ready <= 0 || room == 0) {
            return gone(child, true);
        }
        const ssize_t length = read(child->output, child->pending + child->held, room);
        if (length <= 0) {
            return gone(child, false);
        }
        child->held += (size_t)length;
    }
    return adamoe_ok();
}

/* A signal may come between the question and the wait, so that the wait is short. */
#define LONGEST_WAIT 200 /* ms */

/* Until there is something to read. */
static void wait_for_output(const adamoe_child *child)
{
    struct pollfd waiting = {.fd = child->output, .events = POLLIN};
    bool told = false;
    int ready;
    while ((ready = poll(&waiting, 1, LONGEST_WAIT)) == 0 || (ready < 0 && errno == EINTR)) {
        if (adamoe_signal_is_held() && !told) {
            (void)kill(child->pid, SIGTERM);
            told = true;
        }
    }
}

adamoe_status adamoe_child_read_all(adamoe_child *child, char **text, size_t *length)
{
    size_t capacity = 0;
    *text = NULL;
    *length = 0;
    for (;;) {
        if (*length + 1 >= capacity) {
            capacity = 2 * capacity + 65536;
            char *grown = realloc(*text, capacity);
            if (grown == NULL) {
                free(*text);
                return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory for what it says", child->name);
            }
            *text = grown;
        }
        wait_for_output(child);
        const ssize_t count = read(child->output, *text + *length, capacity - *length - 1);
        if (count > 0) {
            *length += (size_t)count;
        } else if (count == 0 || errno != EINTR) {
            (*text)[*length] = '\0';
            return adamoe_ok();
        }
    }
}

int adamoe_child_end(adamoe_child *child, bool kill_it, char *how, size_t size)
{
    int status = 0;
    if (size > 0) {
        how[0] = '\0';
    }
    if (child->pid == 0) {
        return 0;
    }
    close(child->input);
    close(child->output);
    if (kill_it) {
        (void)kill(child->pid, SIGKILL);
    }
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
    }
    *child = (adamoe_child){.input = -1, .output = -1};
    if (WIFSIGNALED(status)) {
        (void)snprintf(how, size, "it was ended by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
        return -1;
    }
    (void)snprintf(how, size, "it ended with exit code %d", WEXITSTATUS(status));
    return WEXITSTATUS(status);
}
