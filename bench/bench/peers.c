/*
 * The list of peers, and the best of ours beside each.
 */
#include "bench/peers.h"
#include "remote/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ the file */

/* With the file and the line in front of the message. */
static adamoe_status at_line(const char *path, size_t line, adamoe_status status)
{
    return adamoe_error(status.code, "--peers: %.150s:%zu: %.300s", path, line, status.message);
}

static adamoe_status bad_line(const char *path, size_t line, const char *what)
{
    return at_line(path, line, adamoe_error(ADAMOE_BAD_INPUT, "%s", what));
}

static adamoe_status check_new(const adamoe_peers *peers, const char *name, size_t line)
{
    for (size_t i = 0; i < peers->count; ++i) {
        if (strcmp(peers->peer[i].name, name) == 0) {
            return adamoe_error(ADAMOE_BAD_INPUT, "--peers: %.150s:%zu: %.80s: it is in line %zu already",
                                peers->path, line, name, peers->peer[i].line);
        }
    }
    return peers->count == ADAMOE_MOST_PEERS
               ? adamoe_error(ADAMOE_BAD_INPUT, "--peers: %.150s:%zu: more than %d peers", peers->path, line,
                              ADAMOE_MOST_PEERS)
               : adamoe_ok();
}

/* `text` is changed. */
static adamoe_status take_line(char *text, size_t line, adamoe_peers *peers)
{
    static const char blank[] = " \t\r\n";
    char *name = text + strspn(text, blank);
    if (*name == '\0' || *name == '#') {
        return adamoe_ok();
    }
    char *command = name + strcspn(name, blank);
    if (*command != '\0') {
        *command++ = '\0';
        command += strspn(command, blank);
    }
    for (size_t length = strlen(command); length > 0 && strchr(blank, command[length - 1]) != NULL;
         --length) {
        command[length - 1] = '\0';
    }
    if (*command == '\0') {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--peers: %.150s:%zu: %.80s: no command follows; a line is `NAME COMMAND'",
                            peers->path, line, name);
    }
    ADAMOE_TRY(check_new(peers, name, line));
    adamoe_peer *peer = &peers->peer[peers->count++];
    *peer = (adamoe_peer){.name = strdup(name), .command = strdup(command), .line = line};
    return peer->name != NULL && peer->command != NULL ? adamoe_ok()
                                                       : bad_line(peers->path, line, "out of memory");
}

static adamoe_status read_lines(FILE *file, adamoe_peers *peers)
{
    char *text = NULL;
    size_t room = 0, line = 0;
    adamoe_status status = adamoe_ok();
    for (ssize_t length; status.code == ADAMOE_OK && (length = getline(&text, &room, file)) >= 0;) {
        status = strlen(text) == (size_t)length ? take_line(text, ++line, peers)
                                                : bad_line(peers->path, line + 1, "a NUL: this is no text");
    }
    free(text);
    if (status.code == ADAMOE_OK && ferror(file) != 0) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "--peers: %.300s: read: %s", peers->path, strerror(errno));
    }
    return status;
}

adamoe_status adamoe_peers_read(const char *path, adamoe_peers *out)
{
    *out = (adamoe_peers){.path = path};
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return adamoe_error(errno == ENOENT || errno == ENOTDIR ? ADAMOE_BAD_INPUT : ADAMOE_ENVIRONMENT,
                            "--peers: %.300s: open: %s", path, strerror(errno));
    }
    adamoe_status status = read_lines(file, out);
    (void)fclose(file);
    if (status.code == ADAMOE_OK && out->count == 0) {
        status =
            adamoe_error(ADAMOE_BAD_INPUT, "--peers: %.300s: it lists none; a line is `NAME COMMAND'", path);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_peers_free(out);
    }
    return status;
}

void adamoe_peers_free(adamoe_peers *peers)
{
    for (size_t i = 0; i < peers->count; ++i) {
        free(peers->peer[i].name);
        free(peers->peer[i].command);
    }
    peers->count = 0;
}

/* ----------------------------------------------------------------------------------------------- processes */

/* Kernels first .. end - 1 of the registry are those of the peer's command. */
static adamoe_status find_kernel(const adamoe_registry *registry, size_t first, size_t end, adamoe_peer *peer)
{
    char announced[200] = "";
    for (size_t i = first; i < end; ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        if (strcmp(kernel->name, peer->name) == 0) {
            peer->kernel = kernel;
        }
        const size_t used = strlen(announced);
        (void)snprintf(announced + used, sizeof announced - used, "%s%s", i == first ? "" : ", ",
                       kernel->name);
    }
    if (peer->kernel == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%.80s: its command announces %s", peer->name, announced);
    }
    const char *version = adamoe_remote_implementation(peer->kernel);
    if (version == NULL || version[0] == '\0') {
        return adamoe_error(
            ADAMOE_BAD_INPUT,
            "%.80s: it does not state its version: no `implementation' in what its process announces",
            peer->name);
    }
    (void)snprintf(peer->version, sizeof peer->version, "%s", version);
    return adamoe_ok();
}

/* Several kernels of one command come from one process. */
static adamoe_status load_peer(adamoe_peers *peers, size_t i, adamoe_registry *registry, size_t (*range)[2])
{
    adamoe_peer *peer = &peers->peer[i];
    size_t same = 0;
    while (same < i && strcmp(peers->peer[same].command, peer->command) != 0) {
        ++same;
    }
    if (same == i) {
        range[i][0] = adamoe_registry_count(registry);
        ADAMOE_TRY(adamoe_registry_run(registry, peer->command, ADAMOE_REMOTE_PATIENCE));
        range[i][1] = adamoe_registry_count(registry);
    } else {
        memcpy(range[i], range[same], sizeof range[i]);
    }
    return find_kernel(registry, range[i][0], range[i][1], peer);
}

adamoe_status adamoe_peers_load(adamoe_peers *peers, adamoe_registry *registry)
{
    size_t range[ADAMOE_MOST_PEERS][2] = {{0, 0}};
    for (size_t i = 0; i < peers->count; ++i) {
        const adamoe_status status = load_peer(peers, i, registry, range);
        if (status.code != ADAMOE_OK) {
            return at_line(peers->path, peers->peer[i].line, status);
        }
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- against */

const adamoe_peer *adamoe_peer_of(const adamoe_peers *peers, const adamoe_kernel *kernel)
{
    for (size_t i = 0; peers != NULL && i < peers->count; ++i) {
        if (peers->peer[i].kernel == kernel) {
            return &peers->peer[i];
        }
    }
    return NULL;
}

static bool has_times(const adamoe_bench_member *member)
{
    return member->wanted && member->status.code == ADAMOE_OK;
}

static const adamoe_bench_member *best_of_ours(const adamoe_peers *peers, const adamoe_bench_member *member,
                                               size_t count, const adamoe_kernel *peer, bool alike)
{
    const adamoe_bench_member *best = NULL;
    for (size_t i = 0; i < count; ++i) {
        const adamoe_bench_member *m = &member[i];
        if (has_times(m) && adamoe_peer_of(peers, m->kernel) == NULL &&
            (!alike || m->kernel->weight == peer->weight) &&
            (best == NULL || m->summary.seconds.median < best->summary.seconds.median)) {
            best = m;
        }
    }
    return best;
}

adamoe_status adamoe_peers_against(const adamoe_peers *peers, const adamoe_bench_member *member, size_t count,
                                   size_t repetitions, adamoe_against *out)
{
    for (size_t i = 0; i < count; ++i) {
        const adamoe_kernel *kernel = member[i].kernel;
        out[i] = (adamoe_against){.best = NULL};
        if (adamoe_peer_of(peers, kernel) != NULL && has_times(&member[i])) {
            out[i].best = best_of_ours(peers, member, count, kernel, true);
            out[i].best =
                out[i].best != NULL ? out[i].best : best_of_ours(peers, member, count, kernel, false);
        }
        if (out[i].best != NULL) {
            ADAMOE_TRY(
                adamoe_estimate_ratio(out[i].best->seconds, member[i].seconds, repetitions, &out[i].speed));
        }
    }
    return adamoe_ok();
}
