/*
 * Signals that end the program, held back while a result is being written: a temporary file is not left
 * behind, and of two results that belong together not only the first is written.
 */
#ifndef ADAMOE_PROGRAM_HELD_SIGNALS_H
#define ADAMOE_PROGRAM_HELD_SIGNALS_H

#include <stdbool.h>

/* From here on the first SIGINT, SIGTERM and SIGHUP each wait for adamoe_release_signals; a second one of the
 * same kind ends the program, as something may hang. One that is ignored or handled already stays so. Not
 * nested. */
void adamoe_hold_signals(void);

/* Whether a signal waits for adamoe_release_signals: what takes long may be cut short. */
bool adamoe_signal_is_held(void);

/* As before; a signal that came in between is delivered now. */
void adamoe_release_signals(void);

#endif
