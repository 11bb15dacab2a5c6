/*
 * How much a machine had to do besides, from the counters that Linux keeps. Left out: what a limit of a
 * control group takes away, memory bandwidth that others use without using more processors, and children whose parent
 * ended before them.
 */
#include "machine/clock.h"
#include "program/environment.h"

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + 1e-6 * (double)time.tv_usec;
}

static double used_by(int who)
{
    struct rusage usage;
    return getrusage(who, &usage) == 0 ? seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime) : NAN;
}

double adamoe_process_seconds(long process)
{
    char path[64], line[1024];
    double tick[4];
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", process);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0.0;
    }
    const size_t length = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[length] = '\0';
    const char *name_end = strrchr(line, ')'); /* a name may have blanks and brackets */
    const bool read = name_end != NULL &&
                      sscanf(name_end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lf %lf %lf %lf",
                             &tick[0], &tick[1], &tick[2], &tick[3]) == 4;
    return read ? (tick[0] + tick[1] + tick[2] + tick[3]) / (double)sysconf(_SC_CLK_TCK) : 0.0;
}

#define MOST_GENERATIONS 16

/* Of those that the threads of a process started and that still run, kernels of other processes among them, and of those
 * that they started. */
static double used_by_descendants(long process, size_t generations)
{
    char path[96];
    double seconds = 0.0;
    (void)snprintf(path, sizeof path, "/proc/%ld/task", process);
    DIR *threads = generations == 0 ? NULL : opendir(path);
    const struct dirent *thread;
    while (threads != NULL && (thread = readdir(threads)) != NULL) {
        (void)snprintf(path, sizeof path, "/proc/%ld/task/%.20s/children", process, thread->d_name);
        FILE *file = fopen(path, "re");
        long child;
        while (file != NULL && fscanf(file, "%ld", &child) == 1) {
            seconds += adamoe_process_seconds(child) + used_by_descendants(child, generations - 1);
        }
        if (file != NULL) {
            fclose(file);
        }
    }
    if (threads != NULL) {
        closedir(threads);
    }
    return seconds;
}

/* /proc/stat counts ticks: user, nice, system, idle, iowait, irq, softirq, steal. */
static void read_stat(adamoe_load_mark *out)
{
    char line[512];
    double tick[8];
    const double per_second = (double)sysconf(_SC_CLK_TCK);
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL) {
        return;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        /* A blank of a format matches nothing too, and would take the line of one processor for that of all. */
        if (strncmp(line, "cpu ", 4) == 0 &&
            sscanf(line + 4, "%lf %lf %lf %lf %lf %lf %lf %lf", &tick[0], &tick[1], &tick[2], &tick[3],
                   &tick[4], &tick[5], &tick[6], &tick[7]) == 8) {
            out->busy = (tick[0] + tick[1] + tick[2] + tick[5] + tick[6]) / per_second;
            out->steal = tick[7] / per_second;
        } else if (strncmp(line, "procs_running ", 14) == 0) {
            (void)sscanf(line + 14, "%lf", &out->running);
        }
    }
    fclose(file);
}

static double read_number(const char *path, const char *format)
{
    double value = NAN;
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fscanf(file, format, &value) != 1) {
            value = NAN;
        }
        fclose(file);
    }
    return value;
}

static double faults_of(int who)
{
    struct rusage usage;
    return getrusage(who, &usage) == 0 ? (double)usage.ru_majflt : NAN;
}

void adamoe_mark_load(adamoe_load_mark *out)
{
    *out = (adamoe_load_mark){.seconds = adamoe_now(),
                              .own = used_by(RUSAGE_SELF) + used_by(RUSAGE_CHILDREN) +
                                     used_by_descendants((long)getpid(), MOST_GENERATIONS),
                              .disk_faults = faults_of(RUSAGE_SELF) + faults_of(RUSAGE_CHILDREN),
                              .busy = NAN,
                              .steal = NAN,
                              .running = NAN,
                              .processors = (double)sysconf(_SC_NPROCESSORS_ONLN)};
    read_stat(out);
    out->load_average = read_number("/proc/loadavg", "%lf");
    out->waiting = 1e-6 * read_number("/proc/pressure/cpu", "some avg10=%*f avg60=%*f avg300=%*f total=%lf");
}

/* The system counts in ticks of a hundredth of a second: what is shorter than this cannot be told. */
#define LEAST_SECONDS 0.2

adamoe_disturbance adamoe_disturbance_between(const adamoe_load_mark *before, const adamoe_load_mark *after)
{
    const double seconds = after->seconds - before->seconds, all = seconds * after->processors;
    adamoe_disturbance out = {
        .seconds = seconds, .steal_share = NAN, .other_share = NAN, .wait_share = NAN, .fault_rate = NAN};
    if (seconds < LEAST_SECONDS) {
        return out;
    }
    out.steal_share = (after->steal - before->steal) / all;
    out.other_share = fmax(0.0, (after->busy - before->busy) - (after->own - before->own)) / all;
    out.wait_share = (after->waiting - before->waiting) / seconds;
    if (isnan(after->busy - before->busy)) {
        out.other_share = NAN; /* fmax takes the other operand */
    }
    out.fault_rate = (after->disk_faults - before->disk_faults) / seconds;
    out.disturbed = out.steal_share > ADAMOE_MOST_STEAL || out.other_share > ADAMOE_MOST_OTHER ||
                    out.wait_share > ADAMOE_MOST_WAIT || out.fault_rate > ADAMOE_MOST_FAULTS;
    return out;
}

__attribute__((format(printf, 2, 3))) static void append(adamoe_disturbance_text *text, const char *format,
                                                         ...)
{
    const size_t used = strlen(text->text);
    va_list arguments;
    va_start(arguments, format);
    (void)snprintf(text->text + used, sizeof text->text - used, "%s", used == 0 ? "" : ", ");
    const size_t joined = strlen(text->text);
    (void)vsnprintf(text->text + joined, sizeof text->text - joined, format, arguments);
    va_end(arguments);
}

/* What was not found out, a NaN, is above no limit. */
adamoe_disturbance_text adamoe_describe_disturbance(const adamoe_disturbance *d)
{
    adamoe_disturbance_text out = {""};
    if (d->other_share > ADAMOE_MOST_OTHER) {
        append(&out, "%.1f %% of the processors' time went to other processes", 100.0 * d->other_share);
    }
    if (d->steal_share > ADAMOE_MOST_STEAL) {
        append(&out, "%.1f %% of the processors' time went to the hypervisor's other guests",
               100.0 * d->steal_share);
    }
    if (d->wait_share > ADAMOE_MOST_WAIT) {
        append(&out, "something waited for a processor in %.0f %% of the time", 100.0 * d->wait_share);
    }
    if (d->fault_rate > ADAMOE_MOST_FAULTS) {
        append(&out, "%.0f pages a second came from a disk", d->fault_rate);
    }
    return out;
}

void adamoe_print_disturbance(const adamoe_load_mark *before)
{
    adamoe_load_mark now;
    adamoe_mark_load(&now);
    const adamoe_disturbance d = adamoe_disturbance_between(before, &now);
    if (d.disturbed) {
        printf("Disturbed: %s.\n", adamoe_describe_disturbance(&d).text);
    }
}
