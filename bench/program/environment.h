/*
 * What a result was measured with: machine, system, libraries, the program's own commit, and how much the
 * machine had to do besides. Recorded in every result, so that two of them can be told apart.
 */
#ifndef ADAMOE_PROGRAM_ENVIRONMENT_H
#define ADAMOE_PROGRAM_ENVIRONMENT_H

#include "adamoe.h"

#include <jansson.h>

/* --------------------------------------------------------------------------------------------- libraries */

typedef struct adamoe_library {
    const char *key, *name; /* in JSON, and for people */
    char version[64];
} adamoe_library;

#define ADAMOE_LIBRARIES 5

/* The versions that run; of libnuma and Google Benchmark, which do not tell, those that were built with. */
void adamoe_describe_libraries(adamoe_library list[ADAMOE_LIBRARIES]);

/* {"jansson": "2.14", ...}; NULL where there is no memory. */
json_t *adamoe_libraries_json(void);

/* ------------------------------------------------------------------------------------------- disturbance */

/* Counters of the system at one moment; those that it does not have are NaN. */
typedef struct adamoe_load_mark {
    double seconds;      /* of the monotonic clock */
    double own;          /* processor seconds of this process and of all that it started */
    double busy, steal;  /* processor seconds of the machine; taken by the hypervisor */
    double waiting;      /* seconds in which something waited for a processor */
    double load_average; /* of the last minute */
    double running;      /* processes that could run, this one among them */
    double disk_faults;  /* pages that this process and its children that ended waited for a disk for */
    double processors;   /* of the machine */
} adamoe_load_mark;

void adamoe_mark_load(adamoe_load_mark *out);

/* Processor seconds of a process that runs and of its children that ended, in ticks of a hundredth; 0 where there is no
 * such process. */
double adamoe_process_seconds(long process);

/* What happened between two marks besides the program's own work. A NaN could not be found out. */
typedef struct adamoe_disturbance {
    double seconds;
    double steal_share; /* of all processors' time */
    double other_share; /* of all processors' time, used by other processes */
    double
        wait_share; /* of the time, in which something waited for a processor: the run queue was not empty */
    double fault_rate; /* pages a second that came from a disk */
    bool disturbed;    /* more of any of them than ADAMOE_MOST_... */
} adamoe_disturbance;

/* Beyond these a run says that it was disturbed. They decide what is said of times, and
 * `reproduce' then claims nothing about them. */
#define ADAMOE_MOST_STEAL  0.01
#define ADAMOE_MOST_OTHER  0.05
#define ADAMOE_MOST_WAIT   0.10
#define ADAMOE_MOST_FAULTS 10.0

/* What of it was seen, in one sentence without its end; empty where nothing was. */
typedef struct adamoe_disturbance_text {
    char text[320];
} adamoe_disturbance_text;

adamoe_disturbance adamoe_disturbance_between(const adamoe_load_mark *before, const adamoe_load_mark *after);
adamoe_disturbance_text adamoe_describe_disturbance(const adamoe_disturbance *disturbance);

/* ------------------------------------------------------------------------------------------- environment */

/* Everything, the run that began at `before` and ends now included: the object that results carry as
 * `environment`. NULL where there is no memory. */
json_t *adamoe_environment_json(const adamoe_load_mark *before);

/* A line on standard output, where the run that began at `before` was disturbed. */
void adamoe_print_disturbance(const adamoe_load_mark *before);

/* A result in JSON text, with the environment added to its object `context`: for Google Benchmark's report,
 * whose readers leave alone what they do not know. Takes over *text, which is freed with free() again.
 * Errors: memory, and a text that is not such a report. */
adamoe_status adamoe_add_environment(const adamoe_load_mark *before, char **text, size_t *length);

#endif
