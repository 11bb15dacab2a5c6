/*
 * A network between namespaces for kernels without netem: reads packets from one tun device of each, holds every packet
 * for the delay, and hands it on at the rate. Built and started by emulate_network.sh, which has the addresses.
 *
 *     network_relay relay DELAY_US MBIT NAMESPACE...   node i is 10.77.0.(i+1), on the device net0 of its namespace
 *     network_relay echo PORT                          answers bytes, takes bulk; until it is killed
 *     network_relay measure HOST PORT                  prints "round_trip_us R" and "bulk_mbit B" of TCP
 *
 * A node has a link to a switch, which sends and receives `rate` at once. A packet occupies the sender's link for
 * bytes / rate, travels for the delay, and occupies the receiver's link for bytes / rate, cut through: the two overlap
 * where both are free. A link holds QUEUE_BYTES; what comes on top is dropped, and counted. Left out: more than one
 * switch, errors, reordering.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_NODES  64
#define MOST_BYTES  65536
#define QUEUE_BYTES (4u << 20)

static void fail(const char *what)
{
    fprintf(stderr, "network_relay: %s: %s\n", what, strerror(errno));
    exit(4);
}

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* -------------------------------------------------------------------------------------------------- relay */

typedef struct packet {
    int64_t due;
    uint64_t number; /* of equal times the older one goes first */
    uint32_t bytes;
    uint32_t from, to;
    bool received; /* its place on the receiver's link is known: `due' is its end */
    unsigned char *data;
} packet;

typedef struct node {
    int tun;
    int64_t out_free, in_free; /* when its link ends what it was given */
    uint64_t passed, dropped, queued_bytes;
} node;

static node nodes[MOST_NODES];
static uint32_t node_count;
static int64_t delay_ns;
static double ns_of_byte;

static packet *heap;
static size_t heap_count, heap_room;
static uint64_t packet_number;

static bool is_before(const packet *a, const packet *b)
{
    return a->due != b->due ? a->due < b->due : a->number < b->number;
}

static void push(packet p)
{
    if (heap_count == heap_room) {
        heap_room = heap_room * 2 + 1024;
        heap = realloc(heap, heap_room * sizeof *heap);
        if (heap == NULL) {
            fail("memory");
        }
    }
    size_t at = heap_count++;
    for (; at > 0 && is_before(&p, &heap[(at - 1) / 2]); at = (at - 1) / 2) {
        heap[at] = heap[(at - 1) / 2];
    }
    heap[at] = p;
}

static packet pop(void)
{
    const packet first = heap[0], last = heap[--heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < heap_count; at = child) {
        child += child + 1 < heap_count && is_before(&heap[child + 1], &heap[child]);
        if (!is_before(&heap[child], &last)) {
            break;
        }
        heap[at] = heap[child];
    }
    heap[at] = last;
    return first;
}

static int open_tun(const char *namespace)
{
    char path[256];
    (void)snprintf(path, sizeof path, "/run/netns/%s", namespace);
    const int place = open(path, O_RDONLY | O_CLOEXEC);
    if (place < 0 || setns(place, CLONE_NEWNET) != 0) {
        fail(path);
    }
    (void)close(place);
    const int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    (void)snprintf(request.ifr_name, sizeof request.ifr_name, "net0");
    if (tun < 0 || ioctl(tun, TUNSETIFF, &request) != 0) {
        fail("/dev/net/tun");
    }
    return tun;
}

static int64_t link_time(uint32_t bytes)
{
    return (int64_t)(ns_of_byte * (double)bytes);
}

/* The receiver, by the last byte of an IPv4 packet's destination; node_count where it is none of ours. */
static uint32_t receiver_of(const unsigned char *data, uint32_t bytes)
{
    const bool ours = bytes >= 20 && data[0] >> 4 == 4 && data[16] == 10 && data[17] == 77 && data[18] == 0;
    const uint32_t to = ours ? data[19] - 1u : node_count;
    return to < node_count ? to : node_count;
}

static void take(node *from, const unsigned char *data, uint32_t bytes)
{
    const int64_t now = now_ns();
    const uint32_t to = receiver_of(data, bytes);
    if (to == node_count) {
        return;
    }
    if (from->queued_bytes + bytes > QUEUE_BYTES) {
        ++from->dropped;
        return;
    }
    packet p = {.number = packet_number++,
                .bytes = bytes,
                .from = (uint32_t)(from - nodes),
                .to = to,
                .data = malloc(bytes)};
    if (p.data == NULL) {
        fail("memory");
    }
    memcpy(p.data, data, bytes);
    from->out_free = (from->out_free > now ? from->out_free : now) + link_time(bytes);
    from->queued_bytes += bytes;
    p.due = from->out_free + delay_ns;
    push(p);
}

static void read_all(node *from)
{
    static unsigned char data[MOST_BYTES];
    for (int burst = 0; burst < 64; ++burst) {
        const ssize_t bytes = read(from->tun, data, sizeof data);
        if (bytes <= 0) {
            return;
        }
        take(from, data, (uint32_t)bytes);
    }
}

static void deliver_due(void)
{
    while (heap_count > 0 && heap[0].due <= now_ns()) {
        packet p = pop();
        node *to = &nodes[p.to];
        if (!p.received) {
            const int64_t begin = p.due - link_time(p.bytes);
            p.received = true;
            to->in_free = (to->in_free > begin ? to->in_free : begin) + link_time(p.bytes);
            if (to->in_free > p.due) {
                p.due = to->in_free;
                push(p);
                continue;
            }
        }
        const ssize_t written = write(to->tun, p.data, p.bytes);
        to->passed += written == (ssize_t)p.bytes;
        to->dropped += written != (ssize_t)p.bytes;
        nodes[p.from].queued_bytes -= p.bytes;
        free(p.data);
    }
}

static volatile sig_atomic_t ended;

static void end(int number)
{
    (void)number;
    ended = 1;
}

static int relay(int count, char **arguments)
{
    struct pollfd wait[MOST_NODES];
    delay_ns = (int64_t)(1e3 * strtod(arguments[0], NULL));
    ns_of_byte = 8e3 / strtod(arguments[1], NULL);
    node_count = (uint32_t)(count - 2);
    for (uint32_t i = 0; i < node_count; ++i) {
        nodes[i].tun = open_tun(arguments[2 + i]);
        wait[i] = (struct pollfd){.fd = nodes[i].tun, .events = POLLIN};
    }
    const struct sched_param first = {.sched_priority = 10};
    (void)sched_setscheduler(0, SCHED_FIFO, &first); /* what computes meanwhile must not hold packets back */
    (void)prctl(PR_SET_TIMERSLACK, 1);
    const struct sigaction action = {.sa_handler = end};
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    printf("ready\n");
    (void)fflush(stdout);
    while (!ended) {
        const int64_t left = heap_count == 0 ? INT64_C(200000000) : heap[0].due - now_ns();
        const struct timespec time = {left > 0 ? left / 1000000000 : 0, left > 0 ? left % 1000000000 : 0};
        if (ppoll(wait, node_count, &time, NULL) < 0 && errno != EINTR) {
            fail("ppoll");
        }
        deliver_due();
        for (uint32_t i = 0; i < node_count; ++i) {
            if (wait[i].revents & POLLIN) {
                read_all(&nodes[i]);
            }
        }
    }
    for (uint32_t i = 0; i < node_count; ++i) {
        fprintf(stderr, "node %u: %llu packets delivered, %llu dropped\n", i,
                (unsigned long long)nodes[i].passed, (unsigned long long)nodes[i].dropped);
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------ measure */

static void no_delay(int connection)
{
    const int on = 1;
    (void)setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Every connection begins with a letter: p, then each byte is sent back; b, then everything is swallowed, and one byte
 * sent at the end. */
static void answer(int connection)
{
    static char data[1 << 18];
    char kind;
    no_delay(connection);
    if (read(connection, &kind, 1) != 1) {
        return;
    }
    ssize_t bytes;
    while ((bytes = read(connection, data, kind == 'p' ? 1 : sizeof data)) > 0) {
        if (kind == 'p' && write(connection, data, 1) != 1) {
            return;
        }
    }
    (void)!write(connection, data, 1);
}

_Noreturn static void echo(const char *port)
{
    const int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (const struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 8) != 0) {
        fail("listen");
    }
    for (;;) {
        const int connection = accept(listener, NULL, NULL);
        if (connection >= 0) {
            answer(connection);
            (void)close(connection);
        }
    }
}

static int dial(const char *host, const char *port)
{
    const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    (void)inet_pton(AF_INET, host, &address.sin_addr);
    if (connect(connection, (const struct sockaddr *)&address, sizeof address) != 0) {
        fail(host);
    }
    no_delay(connection);
    return connection;
}

static int compare_times(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int measure(const char *host, const char *port)
{
    enum { TRIPS = 51, BULK = 32 << 20 };
    static char data[1 << 18];
    int64_t trip[TRIPS];
    int connection = dial(host, port);
    char byte = 'p';
    (void)!write(connection, &byte, 1);
    for (int i = 0; i < TRIPS; ++i) {
        const int64_t start = now_ns();
        if (write(connection, &byte, 1) != 1 || read(connection, &byte, 1) != 1) {
            fail("round trip");
        }
        trip[i] = now_ns() - start;
    }
    (void)close(connection);
    qsort(trip, TRIPS, sizeof *trip, compare_times);
    connection = dial(host, port);
    byte = 'b';
    (void)!write(connection, &byte, 1);
    int64_t start = 0;
    for (int64_t sent = 0; sent < BULK; sent += (int64_t)sizeof data) {
        for (size_t part = 0; part < sizeof data;) {
            const ssize_t bytes = write(connection, data + part, sizeof data - part);
            if (bytes <= 0) {
                fail("bulk");
            }
            part += (size_t)bytes;
        }
        start = sent == 0 ? now_ns() : start;
    }
    (void)shutdown(connection, SHUT_WR);
    (void)!read(connection, &byte, 1);
    const double seconds = 1e-9 * (double)(now_ns() - start);
    printf("round_trip_us %.0f\nbulk_mbit %.0f\n", 1e-3 * (double)trip[TRIPS / 2],
           8e-6 * (double)(BULK - (int)sizeof data) / seconds);
    return 0;
}

int main(int count, char **arguments)
{
    if (count >= 6 && count - 4 <= MOST_NODES && strcmp(arguments[1], "relay") == 0) {
        return relay(count - 2, arguments + 2);
    }
    if (count == 3 && strcmp(arguments[1], "echo") == 0) {
        echo(arguments[2]);
    }
    if (count == 4 && strcmp(arguments[1], "measure") == 0) {
        return measure(arguments[2], arguments[3]);
    }
    fprintf(stderr, "network_relay: started by ci/emulate_network.sh\n");
    return 2;
}
