/*
 * A second client of the protocol of kernels/remote/README.md, in C and with nothing but the C library: the layer in
 * plain float32. It shows the least that a client needs; it is not fast, and takes float32 weights only.
 *
 *     cc -std=c17 -D_GNU_SOURCE -O2 client.c -o client -lm && adamoe check --command ./client --kernel c-client
 */
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SOCKET = 3, MOST_OBJECTS = 64 }; /* the socket is where ADAMOE_KERNEL_SOCKET says */

typedef struct object {
    unsigned long number; /* 0: none */
    size_t d, ff, bytes;
    const char *memory;
    const float *w13, *w2;
} object;

typedef struct message {
    char text[65536 + 1]; /* the longest */
    int descriptor[2];
} message;

static object objects[MOST_OBJECTS];
static const char *inputs;
static char *outputs;
static size_t sizes[2]; /* of inputs and outputs */

static void say(const char *text)
{
    (void)send(SOCKET, text, strlen(text), MSG_NOSIGNAL);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool hear(message *m)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof m->descriptor)];
    struct iovec data = {m->text, sizeof m->text - 1};
    struct msghdr header = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    const ssize_t length = recvmsg(SOCKET, &header, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *attached = length > 0 ? CMSG_FIRSTHDR(&header) : NULL;
    if (attached != NULL) {
        memcpy(m->descriptor, CMSG_DATA(attached), attached->cmsg_len - CMSG_LEN(0));
    }
    m->text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

/* What follows "key": in the message, which has no blanks; NULL where the key is not there. */
static const char *find(const message *m, const char *key)
{
    char quoted[40];
    (void)snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(m->text, quoted);
    return at == NULL ? NULL : at + strlen(quoted);
}

static size_t number(const message *m, const char *key)
{
    const char *at = find(m, key);
    return at == NULL ? 0 : (size_t)strtoull(at, NULL, 10);
}

static object *object_of(unsigned long wanted)
{
    object *o = objects;
    for (; o < objects + MOST_OBJECTS - 1 && o->number != wanted; ++o) {
    }
    return o;
}

static void *map(int descriptor, size_t bytes, int protection)
{
    void *memory = mmap(NULL, bytes, protection, MAP_SHARED, descriptor, 0);
    (void)close(descriptor);
    return memory == MAP_FAILED ? NULL : memory;
}

static void prepare(const message *m)
{
    object *o = object_of(0);
    o->number = number(m, "object");
    o->d = number(m, "hidden_size");
    o->ff = number(m, "intermediate_size");
    o->bytes = number(m, "bytes");
    o->memory = map(m->descriptor[0], o->bytes, PROT_READ);
    o->w13 = (const float *)(const void *)(o->memory + number(m, "w13"));
    o->w2 = (const float *)(const void *)(o->memory + number(m, "w2"));
    say("{\"ok\":true}");
}

static float dot(const float *row, const float *x, size_t count, float scale)
{
    float sum = 0.0f;
    for (size_t i = 0; i < count; ++i) {
        sum = fmaf(row[i], x[i] * scale, sum);
    }
    return sum;
}

/* y += combine * E(scale * x) */
static void add_expert(const object *o, size_t e, const float *x, float scale, float combine, float *h,
                       float *y)
{
    const float *w1 = o->w13 + 2 * e * o->ff * o->d, *w3 = w1 + o->ff * o->d, *w2 = o->w2 + e * o->d * o->ff;
    for (size_t i = 0; i < o->ff; ++i) {
        const float gate = dot(w1 + i * o->d, x, o->d, scale), t = expf(-fabsf(gate));
        h[i] = (gate >= 0.0f ? gate : gate * t) / (1.0f + t) * dot(w3 + i * o->d, x, o->d, scale);
    }
    for (size_t i = 0; i < o->d; ++i) {
        y[i] = fmaf(combine, dot(w2 + i * o->ff, h, o->ff, 1.0f), y[i]);
    }
}

#define ARRAY(type, key) (find(m, key) == NULL ? NULL : (const type *)(const void *)(inputs + number(m, key)))

static void compute(const message *m, const object *o)
{
    const float *x = ARRAY(float, "x"), *combine = ARRAY(float, "combine"),
                *self = ARRAY(float, "self_scale");
    const float *dispatch = ARRAY(float, "dispatch");
    const uint32_t *offset = ARRAY(uint32_t, "offset"), *input = ARRAY(uint32_t, "input");
    const uint32_t *token_offset = ARRAY(uint32_t, "token_offset"), *row_of = ARRAY(uint32_t, "token_row");
    float *y = (float *)(void *)(outputs + number(m, "y")), *h = malloc((o->ff + 1) * sizeof *h);
    for (size_t t = 0; t < number(m, "tokens") && h != NULL; ++t, y += o->d) {
        for (size_t i = 0; i < o->d; ++i) {
            y[i] = self == NULL ? 0.0f : self[t] * x[t * o->d + i];
        }
        for (size_t place = token_offset[t], e = 0; place < token_offset[t + 1]; ++place) {
            const uint32_t row = row_of[place];
            for (e = 0; offset[e + 1] <= row; ++e) {
            }
            add_expert(o, e, x + input[row] * o->d, dispatch == NULL ? 1.0f : dispatch[row], combine[place],
                       h, y);
        }
    }
    free(h);
}

/* New regions come with a call; the ones before them are of no more use. */
static void take_regions(const message *m)
{
    char *end = NULL;
    const char *list = find(m, "regions");
    if (list != NULL) {
        (void)munmap((void *)(uintptr_t)inputs, sizes[0]);
        (void)munmap(outputs, sizes[1]);
        sizes[0] = (size_t)strtoull(list + 1, &end, 10);
        sizes[1] = (size_t)strtoull(end + 1, NULL, 10);
        inputs = map(m->descriptor[0], sizes[0], PROT_READ);
        outputs = map(m->descriptor[1], sizes[1], PROT_READ | PROT_WRITE);
    }
}

static void experts(const message *m)
{
    char text[80];
    const double start = now();
    take_regions(m);
    compute(m, object_of((unsigned long)number(m, "object")));
    (void)snprintf(text, sizeof text, "{\"ok\":true,\"seconds\":%.9f}", now() - start);
    say(text);
}

static void release(const message *m)
{
    object *o = object_of((unsigned long)number(m, "object"));
    (void)munmap((void *)(uintptr_t)o->memory, o->bytes);
    *o = (object){0};
    say("{\"ok\":true}");
}

int main(void)
{
    static message m;
    say("{\"adamoe\":1,\"kernels\":[{\"name\":\"c-client\",\"summary\":\"plain C, one thread\",\"x\":\"float32\","
        "\"h\":\"float32\",\"weight\":\"float32\",\"accumulate\":\"float32\",\"silu_error\":4,"
        "\"guarantees\":[\"runs\",\"threads\",\"batch\",\"placement\"],\"implementation\":\"plain C 17\"}]}");
    while (hear(&m)) {
        const char what = find(&m, "do")[1];
        (what == 'p' ? prepare : what == 'r' ? release : experts)(&m);
    }
    return 0;
}
