/*
 * Settings of the process before and after a function of a kernel.
 */
#include "check/call/process.h"
#include "fnv1a.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

void adamoe_thread_settings_read(adamoe_thread_settings *out)
{
    CPU_ZERO(&out->affinity);
    (void)sched_getaffinity(0, sizeof out->affinity, &out->affinity);
    (void)sigemptyset(&out->blocked);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &out->blocked);
}

/* Two sets may differ in bits that name no signal. */
static bool same_signals(const sigset_t *a, const sigset_t *b)
{
    for (int signal = 1; signal < ADAMOE_MOST_SIGNALS; ++signal) {
        if (sigismember(a, signal) != sigismember(b, signal)) {
            return false;
        }
    }
    return true;
}

unsigned adamoe_thread_settings_restore(const adamoe_thread_settings *before)
{
    adamoe_thread_settings now;
    unsigned changed = 0;
    adamoe_thread_settings_read(&now);
    if (!CPU_EQUAL(&now.affinity, &before->affinity)) {
        (void)sched_setaffinity(0, sizeof before->affinity, &before->affinity);
        changed |= ADAMOE_SETTING_AFFINITY;
    }
    if (!same_signals(&now.blocked, &before->blocked)) {
        (void)pthread_sigmask(SIG_SETMASK, &before->blocked, NULL);
        changed |= ADAMOE_SETTING_SIGNAL_MASK;
    }
    return changed;
}

/* Over all texts, each with its end. */
static uint64_t hash_environment(void)
{
    uint64_t hash = ADAMOE_FNV1A_START;
    for (size_t i = 0; environ != NULL && environ[i] != NULL; ++i) {
        hash = adamoe_fnv1a(hash, environ[i], strlen(environ[i]) + 1);
    }
    return hash;
}

void adamoe_process_settings_read(adamoe_process_settings *out)
{
    memset(out, 0, sizeof *out);
    adamoe_thread_settings_read(&out->thread);
    for (int signal = 1; signal < ADAMOE_MOST_SIGNALS; ++signal) {
        (void)sigaction(signal, NULL, &out->handler[signal]); /* two belong to the C library, and stay 0 */
    }
    const char *locale = setlocale(LC_ALL, NULL);
    (void)snprintf(out->locale, sizeof out->locale, "%s", locale == NULL ? "C" : locale);
    out->thread_locale = uselocale((locale_t)0);
    if (getcwd(out->folder, sizeof out->folder) == NULL) {
        out->folder[0] = '\0';
    }
    out->umask = umask(0);
    (void)umask(out->umask);
    out->environment = hash_environment();
    for (int i = 0; i < ADAMOE_MOST_LIMITS; ++i) {
        (void)getrlimit((__rlimit_resource_t)i, &out->limit[i]);
    }
}

static bool same_handler(const struct sigaction *a, const struct sigaction *b)
{
    return ((a->sa_flags | b->sa_flags) & SA_SIGINFO) != 0
               ? a->sa_sigaction == b->sa_sigaction && a->sa_flags == b->sa_flags
               : a->sa_handler == b->sa_handler && a->sa_flags == b->sa_flags;
}

static unsigned restore_handlers(const adamoe_process_settings *before, const adamoe_process_settings *now)
{
    unsigned changed = 0;
    for (int signal = 1; signal < ADAMOE_MOST_SIGNALS; ++signal) {
        if (!same_handler(&now->handler[signal], &before->handler[signal])) {
            (void)sigaction(signal, &before->handler[signal], NULL);
            changed = ADAMOE_SETTING_HANDLERS;
        }
    }
    return changed;
}

static unsigned restore_limits(const adamoe_process_settings *before, const adamoe_process_settings *now)
{
    unsigned changed = 0;
    for (int i = 0; i < ADAMOE_MOST_LIMITS; ++i) {
        if (now->limit[i].rlim_cur != before->limit[i].rlim_cur ||
            now->limit[i].rlim_max != before->limit[i].rlim_max) {
            (void)setrlimit((__rlimit_resource_t)i, &before->limit[i]);
            changed = ADAMOE_SETTING_LIMITS;
        }
    }
    return changed;
}

static unsigned restore_locale(const adamoe_process_settings *before, const adamoe_process_settings *now)
{
    unsigned changed = 0;
    if (strcmp(now->locale, before->locale) != 0) {
        (void)setlocale(LC_ALL, before->locale);
        changed = ADAMOE_SETTING_LOCALE;
    }
    if (now->thread_locale != before->thread_locale) {
        (void)uselocale(before->thread_locale);
        changed = ADAMOE_SETTING_LOCALE;
    }
    return changed;
}

unsigned adamoe_process_settings_restore(const adamoe_process_settings *before)
{
    adamoe_process_settings now;
    adamoe_process_settings_read(&now);
    unsigned changed = adamoe_thread_settings_restore(&before->thread) | restore_handlers(before, &now) |
                       restore_locale(before, &now) | restore_limits(before, &now);
    if (strcmp(now.folder, before->folder) != 0) {
        (void)!chdir(before->folder);
        changed |= ADAMOE_SETTING_FOLDER;
    }
    if (now.umask != before->umask) {
        (void)umask(before->umask);
        changed |= ADAMOE_SETTING_UMASK;
    }
    return changed | (now.environment != before->environment ? ADAMOE_SETTING_ENVIRONMENT : 0u);
}

void adamoe_process_settings_describe(unsigned changed, char *text, size_t size)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{ADAMOE_SETTING_AFFINITY, "the processors that the thread may run on"},
                 {ADAMOE_SETTING_SIGNAL_MASK, "the signals that are blocked"},
                 {ADAMOE_SETTING_HANDLERS, "what is done on a signal"},
                 {ADAMOE_SETTING_LOCALE, "the locale"},
                 {ADAMOE_SETTING_FOLDER, "the working folder"},
                 {ADAMOE_SETTING_UMASK, "the umask"},
                 {ADAMOE_SETTING_ENVIRONMENT, "the environment"},
                 {ADAMOE_SETTING_LIMITS, "a limit of resources"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        if ((changed & names[i].bit) != 0) {
            const size_t used = strlen(text);
            (void)snprintf(text + used, size - used, "%s%s", used == 0 ? "" : ", ", names[i].name);
        }
    }
}
