/*
 * The time of a case, from /proc. Where the system does not tell how long a thread waited for a processor,
 * nothing counts as held up.
 */
#include "check/deadline.h"
#include "machine/clock.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Who looks five times a second and did not for this long was not running itself. */
#define LONGEST_LOOK 1.0

/* How long the thread of the process that waited longest has waited for a processor, in seconds. */
static double waited(pid_t process)
{
    char path[320];
    double longest = 0.0;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    DIR *tasks = opendir(path);
    for (const struct dirent *entry = tasks == NULL ? NULL : readdir(tasks); entry != NULL;
         entry = readdir(tasks)) {
        unsigned long long nanoseconds = 0;
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)process, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (file != NULL && fscanf(file, "%*u %llu", &nanoseconds) == 1) {
            longest = fmax(longest, 1e-9 * (double)nanoseconds);
        }
        if (file != NULL) {
            (void)fclose(file);
        }
    }
    if (tasks != NULL) {
        (void)closedir(tasks);
    }
    return longest;
}

typedef struct process_state {
    bool stopped; /* by a signal or a debugger */
    double used;  /* seconds of processors, all threads together */
} process_state;

/* /proc/PID/stat: "PID (NAME) STATE", ten fields, the user's time, the system's. The name may hold
 * anything. */
static process_state state_of(pid_t process)
{
    char path[64], line[1024];
    process_state state = {false, 0.0};
    char letter = '?';
    uint64_t user = 0, system = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return state;
    }
    line[fread(line, 1, sizeof line - 1, file)] = '\0';
    (void)fclose(file);
    const char *name_end = strrchr(line, ')');
    if (name_end != NULL &&
        sscanf(name_end + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64, &letter,
               &user, &system) == 3) {
        state.stopped = letter == 'T' || letter == 't';
        state.used = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    }
    return state;
}

/* Who waits is looked up once a second at most: a case may be given what the ones just before it waited. */
void adamoe_check_deadline_begin(adamoe_check_deadline *d, pid_t process, uint32_t timeout)
{
    const double now = adamoe_now();
    d->looked = now;
    d->counted = 0.0;
    d->next = (double)timeout;
    d->stopped = 0.0;
    if (now - d->looked_up > 1.0) {
        d->waited_then = waited(process);
        d->used_then = state_of(process).used;
        d->looked_up = now;
    }
}

adamoe_check_lateness adamoe_check_deadline_look(adamoe_check_deadline *d, pid_t process, uint32_t timeout)
{
    enum { LOOKS = 10 }; /* a second: /proc is not read more often, however many lines come */
    const double now = adamoe_now(), passed = now - d->looked;
    if (passed < 1.0 / LOOKS) {
        return ADAMOE_CHECK_IN_TIME;
    }
    const process_state state = state_of(process);
    d->looked = now;
    if (state.stopped) {
        d->stopped += fmin(passed, LONGEST_LOOK);
        return d->stopped >= (double)timeout ? ADAMOE_CHECK_STOPPED : ADAMOE_CHECK_IN_TIME;
    }
    d->stopped = 0.0;
    d->counted += fmin(passed, LONGEST_LOOK);
    if (d->counted < d->next) {
        return ADAMOE_CHECK_IN_TIME;
    }
    const double used = state.used - d->used_then;
    const double held_up = fmax(0.0, waited(process) - d->waited_then - used);
    const double left = (double)timeout - (d->counted - held_up);
    d->next = d->counted + fmax(left, 0.1);
    return left <= 0.0 ? ADAMOE_CHECK_LATE : ADAMOE_CHECK_IN_TIME;
}
