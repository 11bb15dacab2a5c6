/*
 * Whether this process is one of several: see launch.h.
 */
#include "mpi/launch.h"
#include "machine/clock.h"
#include "mpi/module.h"
#include "mpi/mpi_module.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct adamoe_ranks {
    adamoe_world world;
    const adamoe_mpi_module *module; /* NULL: a process alone */
    adamoe_module file;
    double patience;
};

/* A whole number in the first of these variables that is set; `otherwise` where none is. */
static uint32_t number_in(const char *const *variable, uint32_t otherwise)
{
    for (; *variable != NULL; ++variable) {
        const char *text = getenv(*variable);
        char *end = NULL;
        const unsigned long value = text == NULL ? 0 : strtoul(text, &end, 10);
        if (text != NULL && end != text && *end == '\0' && value <= INT_MAX) {
            return (uint32_t)value;
        }
    }
    return otherwise;
}

adamoe_launch adamoe_launch_of_process(void)
{
    /* Open MPI's, then those of MPICH and its kin. */
    static const char *const ranks[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", NULL};
    static const char *const rank[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", NULL};
    /* PMIx has no variable for how many there are; srun has. Without PMIX_RANK those are an allocation's, not a launch's. */
    static const char *const slurm_ranks[] = {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", NULL};
    static const char *const slurm_rank[] = {"PMIX_RANK", NULL};
    adamoe_launch launch = {.ranks = number_in(ranks, 0), .rank = number_in(rank, 0)};
    if (launch.ranks == 0 && getenv("PMIX_RANK") != NULL) {
        launch = (adamoe_launch){.ranks = number_in(slurm_ranks, 1), .rank = number_in(slurm_rank, 0)};
    }
    return launch.ranks > 1 ? launch : (adamoe_launch){.ranks = 1};
}

/* How long a launcher may take to end the others; and after which the next rank may think that it is the first. */
#define END_SECONDS  3.0
#define NEXT_SECONDS 0.5
#define MOST_NEXT    32 /* a rank waits no longer than these, however many there are */

void adamoe_launch_let_first_speak(void)
{
    const uint32_t rank = adamoe_launch_of_process().rank;
    const double seconds = END_SECONDS + NEXT_SECONDS * (rank > MOST_NEXT ? MOST_NEXT : rank);
    const double start = adamoe_now();
    while (rank > 0 && adamoe_now() - start < seconds) {
        (void)nanosleep(&(struct timespec){0, 50000000L}, NULL);
    }
}

void adamoe_launch_name(char text[static ADAMOE_LAUNCH_NAME])
{
    const uint32_t rank = adamoe_launch_of_process().rank;
    text[0] = '\0';
    if (rank > 0) {
        (void)snprintf(text, ADAMOE_LAUNCH_NAME, "rank %u: ", rank);
    }
}

/* Global: Open MPI's own modules look for its names. */
static adamoe_status open_module(adamoe_ranks *r)
{
    const void *found = NULL;
    const adamoe_status status =
        adamoe_module_open("adamoe_mpi", ADAMOE_MPI_MODULE, ADAMOE_MODULE_GLOBAL, &r->file, &found);
    if (status.code == ADAMOE_NOT_SUPPORTED) {
        return adamoe_error(
            ADAMOE_NOT_SUPPORTED,
            "started as one of several ranks, but built without MPI (packages openmpi-bin and "
            "libopenmpi-dev)");
    }
    if (status.code != ADAMOE_OK) {
        return adamoe_error(status.code, "started as one of several ranks, but: %.400s", status.message);
    }
    r->module = found;
    return r->module->open(r->patience, &r->world);
}

/* A launcher of one MPI starts programs of another as so many worlds of one rank, which would all do the same. */
static adamoe_status check_world(const adamoe_ranks *r)
{
    const adamoe_launch launch = adamoe_launch_of_process();
    return r->world.ranks == launch.ranks && r->world.rank == launch.rank
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT,
                              "the launcher started rank %u of %u, which is rank %u of %u to this program's "
                              "MPI: take the launcher of that one",
                              launch.rank, launch.ranks, r->world.rank, r->world.ranks);
}

adamoe_status adamoe_ranks_open(double patience, adamoe_ranks **out)
{
    adamoe_ranks *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "ranks: out of memory");
    }
    r->world = adamoe_alone;
    r->patience = patience;
    if (adamoe_launch_of_process().ranks > 1) {
        adamoe_status status = open_module(r);
        if (status.code == ADAMOE_OK) {
            status = check_world(r);
        }
        if (status.code != ADAMOE_OK) {
            free(r);
            return status;
        }
    }
    *out = r;
    return adamoe_ok();
}

const adamoe_world *adamoe_ranks_world(const adamoe_ranks *r)
{
    return &r->world;
}

void adamoe_ranks_describe(const adamoe_ranks *r, char *text, size_t size)
{
    text[0] = '\0';
    if (r->module != NULL) {
        r->module->describe(text, size);
    }
}

/* The library stays loaded: its threads and handlers outlive it. */
void adamoe_ranks_close(adamoe_ranks *r)
{
    if (r != NULL && r->module != NULL) {
        r->module->close(&r->world);
    }
    free(r);
}

adamoe_status adamoe_ranks_cause(const adamoe_ranks *r, const adamoe_status *met)
{
    const adamoe_status theirs = r->module == NULL ? adamoe_ok() : r->module->cause(&r->world);
    if (theirs.code != ADAMOE_OK) {
        return theirs;
    }
    return r->world.rank == 0 ? *met
                              : adamoe_error(met->code, "rank %u: %.480s", r->world.rank, met->message);
}

void adamoe_ranks_let_first_speak(adamoe_ranks *r, const adamoe_status *status)
{
    if (r->module == NULL) {
        return;
    }
    r->world.tell(r->world.state, status);
    uint32_t first = 0;
    while (first < r->world.rank && r->module->is_silent(&r->world, first)) {
        ++first;
    }
    /* The one who speaks lets the others hear of it before they are ended. */
    const double seconds = first == r->world.rank ? 0.3 : r->patience + 2.0;
    const double start = adamoe_now();
    while (adamoe_now() - start < seconds) {
        (void)nanosleep(&(struct timespec){0, 50000000L}, NULL);
    }
}

void adamoe_ranks_abort(adamoe_ranks *r, int code)
{
    if (r->module != NULL) {
        (void)fflush(NULL);
        r->module->abort(&r->world, code);
    }
}
