/*
 * A client that misbehaves in the way that its first argument says, once it has answered as many calls as its second one
 * says (none). It computes nothing: y stays what it is, unless "zeros" is what it does.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKET 3

static const char *misdeed = "zeros";
static long calls_before; /* it misbehaves */
static int regions[2];    /* the last that came */

static bool does(const char *what)
{
    return strcmp(what, misdeed) == 0 && calls_before <= 0;
}

static void say(const char *text, size_t length)
{
    (void)send(SOCKET, text, length, MSG_NOSIGNAL);
}

static bool hear(char *text, size_t size)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof regions)];
    struct iovec data = {text, size - 1};
    struct msghdr header = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    const ssize_t length = recvmsg(SOCKET, &header, 0);
    const struct cmsghdr *attached = length > 0 ? CMSG_FIRSTHDR(&header) : NULL;
    if (attached != NULL) {
        memcpy(regions, CMSG_DATA(attached), attached->cmsg_len - CMSG_LEN(0));
    }
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

static size_t number(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at == NULL ? 0 : (size_t)strtoull(at + strlen(key), NULL, 10);
}

static void announce(void)
{
    char text[512];
    const int length = snprintf(
        text, sizeof text,
        "{\"adamoe\":%d,\"kernels\":[{\"name\":\"%s\",\"x\":\"%s\",\"h\":\"float32\","
        "\"weight\":\"float32\",\"accumulate\":\"%s\",\"silu_error\":%s,\"guarantees\":[\"%s\"]%s%s}]}",
        does("version") ? 2 : 1, does("name") ? "Two Words" : "broken",
        does("arithmetic") ? "float8" : "float32", does("sums") ? "int32" : "float32",
        does("silu") ? "-1" : "4", does("promise") ? "speed" : "runs",
        does("cannot") ? ",\"why_not\":\"no such device\"" : "", does("result") ? ",\"y\":\"int8\"" : "");
    if (does("no-kernels")) {
        say("{\"adamoe\":1,\"kernels\":[]}", 25);
    } else if (does("no-json")) {
        say("hello", 5);
    } else {
        say(text, (size_t)length);
    }
}

/* Bytes at `from`, counted from the begin of y. */
static void write_output(const char *text, size_t y, long from, size_t count, int byte)
{
    const size_t bytes = (size_t)strtoull(strchr(strstr(text, "\"regions\":"), ',') + 1, NULL, 10);
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, regions[1], 0);
    if (memory != MAP_FAILED) {
        memset(memory + (long)y + from, byte, count);
        (void)munmap(memory, bytes);
    }
}

/* The message that brought the regions is kept: later ones do not say how large they are. */
static void compute(const char *text, size_t hidden_size)
{
    static char first[4096];
    const size_t y = number(text, "\"y\":"),
                 bytes = number(text, "\"tokens\":") * hidden_size * sizeof(float);
    if (strstr(text, "\"regions\":") != NULL) {
        (void)snprintf(first, sizeof first, "%s", text);
    }
    if (!does("lazy")) {
        write_output(first, y, 0, bytes, 0);
    }
    if (does("behind")) {
        write_output(first, y, (long)bytes, 1, 0);
    } else if (does("before")) {
        write_output(first, y, -1, 1, 0);
    }
}

/* The answer to a call, or what comes instead. */
static void answer_call(void)
{
    static const char garbage[] = "Segmentation fault", told[] = "{\"error\":\"no more tiles\"}",
                      skipped[] = "{\"error\":\"no such size\",\"code\":\"not supported\"}",
                      no_seconds[] = "{\"ok\":true}", good[] = "{\"ok\":true,\"seconds\":0.5}";
    static char long_text[70000];
    if (does("exit")) {
        _exit(3);
    } else if (does("crash")) {
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer has a handler, and exits with a code */
        (void)raise(SIGSEGV);
    } else if (does("killed")) {
        (void)raise(SIGKILL);
    } else if (does("hang")) {
        (void)pause();
    } else if (does("print")) {
        (void)!write(STDOUT_FILENO, "loss: 0.1\n", 10);
    }
    memset(long_text, 'x', sizeof long_text);
    const char *text = does("garbage")      ? garbage
                       : does("error")      ? told
                       : does("skip")       ? skipped
                       : does("no-seconds") ? no_seconds
                                            : good;
    say(does("long") ? long_text : text, does("long") ? sizeof long_text : strlen(text));
    if (does("between")) {
        _exit(4);
    }
    --calls_before;
}

/* An input that is mapped for writing must not exist. */
static void try_to_write(void)
{
    static const char can[] = "{\"error\":\"inputs can be written\"}",
                      cannot[] = "{\"error\":\"inputs are read-only\"}";
    const bool mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, regions[0], 0) != MAP_FAILED;
    const bool grown = ftruncate(regions[0], 1 << 20) == 0 || ftruncate(regions[0], 0) == 0;
    say(mapped || grown ? can : cannot, mapped || grown ? sizeof can - 1 : sizeof cannot - 1);
}

int main(int count, char **arguments)
{
    static char text[65537];
    size_t hidden_size = 0;
    misdeed = count > 1 ? arguments[1] : misdeed;
    calls_before = count > 2 ? strtol(arguments[2], NULL, 10) : 0;
    if (does("start")) {
        return 7;
    } else if (does("mute")) {
        (void)pause();
    }
    announce();
    while (hear(text, sizeof text)) {
        if (strstr(text, "\"do\":\"experts\"") == NULL) {
            hidden_size =
                strstr(text, "\"hidden_size\":") != NULL ? number(text, "\"hidden_size\":") : hidden_size;
            if (does("release") && strstr(text, "\"release\"") != NULL) {
                return 5;
            }
            say("{\"ok\":true}", 11);
        } else if (does("write-x")) {
            try_to_write();
        } else {
            compute(text, hidden_size);
            answer_call();
        }
    }
    return does("stay") ? pause() : 0;
}
