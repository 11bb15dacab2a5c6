/*
 * The settings of the process and of a thread that a function of a kernel must leave as it found them: they belong
 * to the program, and change what its other code does. A kernel may change one while it works, as long as it puts it
 * back.
 *
 * Left out: what grows (threads, descriptors, memory), since a library may keep some once; the processor's modes
 * (check/call/state.h); a setting that is changed and put back within one function, which other threads could see.
 */
#ifndef ADAMOE_CHECK_CALL_PROCESS_H
#define ADAMOE_CHECK_CALL_PROCESS_H

#include "adamoe.h"

#include <limits.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* What can be left changed; bits of a mask that ADAMOE_STATE_... begins. */
enum {
    ADAMOE_SETTING_AFFINITY = 1u << 8,    /* of the thread */
    ADAMOE_SETTING_SIGNAL_MASK = 1u << 9, /* of the thread */
    ADAMOE_SETTING_HANDLERS = 1u << 10,   /* what is done on a signal */
    ADAMOE_SETTING_LOCALE = 1u << 11,     /* of the process, or of the thread */
    ADAMOE_SETTING_FOLDER = 1u << 12,     /* the working folder */
    ADAMOE_SETTING_UMASK = 1u << 13,
    ADAMOE_SETTING_ENVIRONMENT = 1u << 14,
    ADAMOE_SETTING_LIMITS = 1u << 15, /* of resources */
};

/* Of the thread that reads it. */
typedef struct adamoe_thread_settings {
    cpu_set_t affinity; /* empty on a machine of more processors than the set has */
    sigset_t blocked;
} adamoe_thread_settings;

void adamoe_thread_settings_read(adamoe_thread_settings *out);

/* Which differ from `before`; they are put back. */
unsigned adamoe_thread_settings_restore(const adamoe_thread_settings *before);

#define ADAMOE_MOST_SIGNALS 65
#define ADAMOE_MOST_LIMITS  16

typedef struct adamoe_process_settings {
    adamoe_thread_settings thread;
    struct sigaction handler[ADAMOE_MOST_SIGNALS];
    char locale[512]; /* as setlocale names it, as far as there is room */
    locale_t thread_locale;
    char folder[PATH_MAX];
    mode_t umask;
    uint64_t environment; /* a hash of all its texts */
    struct rlimit limit[ADAMOE_MOST_LIMITS];
} adamoe_process_settings;

/* Of the process and of the calling thread, while no other thread makes files: the umask cannot be read without
 * setting it. */
void adamoe_process_settings_read(adamoe_process_settings *out);

/* Which differ from `before`. They are put back but for the environment, whose texts are not kept. */
unsigned adamoe_process_settings_restore(const adamoe_process_settings *before);

/* Appends the names of the settings in `changed` to `text`, separated by commas. */
void adamoe_process_settings_describe(unsigned changed, char *text, size_t size);

#endif
