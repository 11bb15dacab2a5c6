/*
 * Signals that end the program, held back. They are not blocked: a mask holds for one thread, and the workers
 * would take them.
 */
#include "program/held_signals.h"

#include <signal.h>
#include <stddef.h>

#define SIGNALS 3

static const int signals[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t came[SIGNALS];
static bool held[SIGNALS];

static void note(int number)
{
    for (size_t i = 0; i < SIGNALS; ++i) {
        if (signals[i] == number) {
            came[i] = 1;
        }
    }
}

void adamoe_hold_signals(void)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = (int)((unsigned)SA_RESTART | SA_RESETHAND)};
    struct sigaction before;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNALS; ++i) {
        came[i] = 0;
        held[i] = sigaction(signals[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL &&
                  sigaction(signals[i], &action, NULL) == 0;
    }
}

bool adamoe_signal_is_held(void)
{
    bool any = false;
    for (size_t i = 0; i < SIGNALS; ++i) {
        any = any || (held[i] && came[i] != 0);
    }
    return any;
}

void adamoe_release_signals(void)
{
    for (size_t i = 0; i < SIGNALS; ++i) {
        if (held[i]) {
            (void)signal(signals[i], SIG_DFL);
            held[i] = false;
        }
    }
    for (size_t i = 0; i < SIGNALS; ++i) {
        if (came[i]) {
            (void)raise(signals[i]);
        }
    }
}
