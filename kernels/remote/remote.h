/*
 * Kernels in processes of their own: each that such a process announces is an adamoe_kernel here. How it is spoken to
 * is kernels/remote/README.md.
 *
 * Left out: the dense product, attention, the router and the backward pass; where a kernel has none, the program's
 * own serve.
 */
#ifndef ADAMOE_REMOTE_H
#define ADAMOE_REMOTE_H

#include "adamoe.h"
#include "remote/clock.h"

/* How long a process may take to announce its kernels where nobody says how long: libraries take some time to load. */
#define ADAMOE_REMOTE_PATIENCE 120

/* A process and the kernels that it brings. */
typedef struct adamoe_remote adamoe_remote;

/* Runs `command` by the shell, and reads what it announces within so many seconds. `command` must outlive *out. Calls of its kernels come one
 * after the other, whichever threads make them. Where the process ends, what was prepared in it is lost, the call that
 * met its end fails, and the next prepare starts it anew.
 *
 * The process is killed when the thread that started it ends: who opens a remote, or prepares anew, does so in a thread
 * that lasts as long as the remote.
 *
 * Errors: what it announces is no announcement, is of another version, or does not come (BAD_INPUT); memory, processes,
 * more kernels than there is room for in this program (ENVIRONMENT). */
adamoe_status adamoe_remote_open(const char *command, unsigned seconds, adamoe_remote **out);

/* Ends the process. Accepts NULL. */
void adamoe_remote_close(adamoe_remote *remote);

size_t adamoe_remote_count(const adamoe_remote *remote);
const adamoe_kernel *adamoe_remote_at(const adamoe_remote *remote, size_t index);

/* What went wrong since the last call that returned a status and could not be told by one: the process has ended, when a
 * prepared object was released or after that, or has written to its standard output. OK where nothing did, and for kernels
 * that are not in a process of their own. */
adamoe_status adamoe_remote_aftermath(const adamoe_kernel *kernel);

/* What the process announces that the kernel is made of, versions among it; NULL where it says nothing, and where the
 * kernel is not in a process of its own. Valid while the remote is open. */
const char *adamoe_remote_implementation(const adamoe_kernel *kernel);

/* False where the kernel is not in a process of its own. A copy of the structure serves as well. */
bool adamoe_remote_clock_of(const adamoe_kernel *kernel, adamoe_remote_clock *out);

#endif
