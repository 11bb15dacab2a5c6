/*
 * A process that brings kernels: see process.h.
 *
 * It is forked and not spawned, since nothing but prctl ties its life to this one's; between fork and exec there are
 * system calls alone, so that other threads do not matter.
 */
#include "remote/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* The descriptor that the process finds its socket at. */
#define SOCKET_THERE 3

/* How long one that has nothing more to do may take to end. */
#define SECONDS_TO_END 2

/* ------------------------------------------------------------------------------------------------- starting */

/* Never returns. */
static void become(char *line, char *const *environment, int socket, int output, pid_t parent)
{
    char *const arguments[] = {(char[]){"sh"}, (char[]){"-c"}, line, NULL};
    const int nothing = open("/dev/null", O_RDONLY);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 ||
        dup2(output, STDOUT_FILENO) < 0 || dup2(socket, SOCKET_THERE) < 0) {
        _exit(126);
    }
    /* What others of this process have left open is not for it. */
    (void)close_range(SOCKET_THERE + 1, ~0u, 0);
    (void)execve("/bin/sh", arguments, environment);
    _exit(126);
}

/* This one's, and where the socket is. */
static char **make_environment(void)
{
    static char where[] = "ADAMOE_KERNEL_SOCKET=3";
    const size_t name = strcspn(where, "=") + 1;
    size_t count = 0, kept = 0;
    while (environ[count] != NULL) {
        ++count;
    }
    char **environment = calloc(count + 2, sizeof *environment);
    for (size_t i = 0; i < count && environment != NULL; ++i) {
        if (strncmp(environ[i], where, name) != 0) {
            environment[kept++] = environ[i];
        }
    }
    if (environment != NULL) {
        environment[kept] = where;
    }
    return environment;
}

/* The shell reads the words and becomes the program: what stays between would outlive neither well. */
static char *make_line(const char *command)
{
    const size_t size = strlen(command) + sizeof "exec ";
    char *line = malloc(size);
    if (line != NULL) {
        (void)snprintf(line, size, "exec %s", command);
    }
    return line;
}

static adamoe_status cannot(const char *command, const char *what)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "--command: %.150s: %s: %s", command, what, strerror(errno));
}

/* Above the descriptors that the process has at fixed places, so that no dup2 hits one that is still needed. */
static bool lift(int *descriptor)
{
    const int high = fcntl(*descriptor, F_DUPFD_CLOEXEC, SOCKET_THERE + 1);
    (void)close(*descriptor);
    *descriptor = high;
    return high >= 0;
}

static adamoe_status start(const char *command, int sockets[2], int outputs[2], pid_t *id)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        return cannot(command, "socket");
    }
    if (pipe2(outputs, O_CLOEXEC | O_NONBLOCK) != 0) {
        return cannot(command, "pipe");
    }
    if (!lift(&sockets[1]) || !lift(&outputs[1]) || fcntl(outputs[1], F_SETFL, 0) != 0) {
        return cannot(command, "descriptor");
    }
    char **environment = make_environment(), *line = make_line(command);
    if (environment == NULL || line == NULL) {
        free(environment);
        free(line);
        return adamoe_error(ADAMOE_ENVIRONMENT, "--command: %.150s: out of memory", command);
    }
    const pid_t parent = getpid();
    *id = fork();
    if (*id == 0) {
        become(line, environment, sockets[1], outputs[1], parent);
    }
    const adamoe_status status = *id < 0 ? cannot(command, "fork") : adamoe_ok();
    free(environment);
    free(line);
    return status;
}

static void close_if_open(int descriptor)
{
    if (descriptor >= 0) {
        (void)close(descriptor);
    }
}

adamoe_status adamoe_remote_start(const char *command, adamoe_remote_process *out)
{
    int sockets[2] = {-1, -1}, outputs[2] = {-1, -1};
    pid_t id = 0;
    const adamoe_status status = start(command, sockets, outputs, &id);
    close_if_open(sockets[1]);
    close_if_open(outputs[1]);
    *out = (adamoe_remote_process){.command = command, .socket = -1, .output = -1};
    if (status.code != ADAMOE_OK) {
        close_if_open(sockets[0]);
        close_if_open(outputs[0]);
        return status;
    }
    (void)setpgid(id, id); /* whoever of the two comes first */
    out->id = id;
    out->socket = sockets[0];
    out->output = outputs[0];
    return adamoe_ok();
}

/* --------------------------------------------------------------------------------------------------- ending */

/* True where it has ended; it is waited for at most so long. */
static bool wait_for_end(pid_t id, double seconds, int *status)
{
    const struct timespec nap = {0, 1000000};
    for (double waited = 0.0;; waited += 1e-3) {
        const pid_t ended = waitpid(id, status, WNOHANG);
        if (ended == id || (ended < 0 && errno != EINTR)) {
            return true;
        }
        if (waited >= seconds) {
            return false;
        }
        (void)nanosleep(&nap, NULL);
    }
}

/* False where it had to be killed; `status` is waitpid's. */
static bool end_process(adamoe_remote_process *process, double seconds, int *status)
{
    *status = 0;
    (void)close(process->socket);
    const bool ended = wait_for_end(process->id, seconds, status);
    (void)kill(-process->id, SIGKILL);
    if (!ended) {
        while (waitpid(process->id, status, 0) < 0 && errno == EINTR) {
        }
    }
    (void)close(process->output);
    process->id = 0;
    process->socket = process->output = -1;
    return ended;
}

void adamoe_remote_end(adamoe_remote_process *process)
{
    int status;
    if (process->id != 0) {
        (void)end_process(process, SECONDS_TO_END, &status);
    }
}

static adamoe_status refusal(const char *command, const char *doing, adamoe_code code, const char *reason)
{
    return adamoe_error(code, "--command: %.150s: %.100s: %.230s", command, doing, reason);
}

adamoe_status adamoe_remote_refuse(adamoe_remote_process *process, const char *doing, const char *format, ...)
{
    char reason[256];
    int status;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    if (process->id != 0) {
        (void)end_process(process, 0.0, &status);
    }
    return refusal(process->command, doing, ADAMOE_BAD_INPUT, reason);
}

static bool comes_from_outside(int signal_number)
{
    return signal_number == SIGKILL || signal_number == SIGTERM || signal_number == SIGINT ||
           signal_number == SIGHUP;
}

/* It has closed its end of the socket, which it does by ending. */
static adamoe_status gone(adamoe_remote_process *process, const char *doing)
{
    char reason[200];
    adamoe_code code = ADAMOE_BAD_INPUT;
    int status;
    if (!end_process(process, SECONDS_TO_END, &status)) {
        (void)snprintf(reason, sizeof reason, "it closed its socket and went on");
    } else if (WIFSIGNALED(status)) {
        const int number = WTERMSIG(status);
        code = comes_from_outside(number) ? ADAMOE_ENVIRONMENT : ADAMOE_BAD_INPUT;
        (void)snprintf(reason, sizeof reason, "it was ended by signal %d (%s)%s", number, strsignal(number),
                       number == SIGKILL ? ", by somebody or for want of memory" : "");
    } else {
        const int exit_code = WEXITSTATUS(status);
        (void)snprintf(reason, sizeof reason, "it ended with exit code %d%s", exit_code,
                       exit_code == 127   ? ": the shell found no such program"
                       : exit_code == 126 ? ": the shell cannot run it"
                                          : "");
    }
    return refusal(process->command, doing, code, reason);
}

/* ----------------------------------------------------------------------------------------------- messages */

adamoe_status adamoe_remote_send(adamoe_remote_process *process, const char *message, size_t length,
                                 const int *descriptor, size_t descriptors)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(ADAMOE_REMOTE_DESCRIPTORS * sizeof(int))];
    struct iovec data = {(void *)(uintptr_t)message, length};
    struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};
    if (descriptors > 0) {
        memset(control, 0, sizeof control);
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
        struct cmsghdr *attached = CMSG_FIRSTHDR(&header);
        attached->cmsg_level = SOL_SOCKET;
        attached->cmsg_type = SCM_RIGHTS;
        attached->cmsg_len = CMSG_LEN(descriptors * sizeof(int));
        memcpy(CMSG_DATA(attached), descriptor, descriptors * sizeof(int));
    }
    ssize_t sent;
    while ((sent = sendmsg(process->socket, &header, MSG_NOSIGNAL)) < 0 && errno == EINTR) {
    }
    if (sent == (ssize_t)length) {
        return adamoe_ok();
    }
    return errno == EPIPE || errno == ECONNRESET
               ? gone(process, "since the call before")
               : adamoe_remote_refuse(process, "send", "%s", strerror(errno));
}

void adamoe_remote_patience(adamoe_remote_process *process, unsigned seconds)
{
    const struct timeval limit = {.tv_sec = (time_t)seconds};
    (void)setsockopt(process->socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

/* The begin of what it printed, on one line. False where it printed nothing. */
static bool printed(const adamoe_remote_process *process, char *text, size_t size)
{
    const ssize_t got = read(process->output, text, size - 1);
    if (got <= 0) {
        return false;
    }
    text[got] = '\0';
    for (char *c = text; *c != '\0'; ++c) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = ' ';
        }
    }
    return true;
}

static adamoe_status refuse_text(adamoe_remote_process *process, const char *doing, const char *text)
{
    return adamoe_remote_refuse(process, doing, "it wrote to its standard output, which is not for it: `%s'",
                                text);
}

adamoe_status adamoe_remote_look(adamoe_remote_process *process, const char *doing)
{
    char text[80];
    struct pollfd socket = {.fd = process->socket, .events = POLLIN};
    if (process->id == 0) {
        return adamoe_ok();
    }
    if (printed(process, text, sizeof text)) {
        return refuse_text(process, doing, text);
    }
    if (poll(&socket, 1, 0) <= 0) {
        return adamoe_ok();
    }
    return (socket.revents & POLLHUP) != 0 ? gone(process, doing)
                                           : adamoe_remote_refuse(process, doing, "it speaks unasked");
}

static adamoe_status silent(adamoe_remote_process *process, const char *doing)
{
    struct timeval limit = {0};
    socklen_t size = sizeof limit;
    (void)getsockopt(process->socket, SOL_SOCKET, SO_RCVTIMEO, &limit, &size);
    return adamoe_remote_refuse(process, doing, "no answer in %lld s", (long long)limit.tv_sec);
}

adamoe_status adamoe_remote_receive(adamoe_remote_process *process, const char *doing, char *message,
                                    size_t *length)
{
    char text[80];
    ssize_t got;
    while ((got = recv(process->socket, message, ADAMOE_REMOTE_MESSAGE, MSG_TRUNC)) < 0 && errno == EINTR) {
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return silent(process, doing);
    }
    if (got <= 0) {
        return gone(process, doing);
    }
    if (printed(process, text, sizeof text)) {
        return refuse_text(process, doing, text);
    }
    if (got > ADAMOE_REMOTE_MESSAGE) {
        return adamoe_remote_refuse(process, doing, "a message of %zd bytes; the longest has %d", got,
                                    ADAMOE_REMOTE_MESSAGE);
    }
    message[got] = '\0';
    *length = (size_t)got;
    return adamoe_ok();
}
