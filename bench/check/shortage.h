/*
 * What a kernel may expect of the system that it runs in: memory, threads, descriptors, stack. Where that is
 * not there, what a kernel comes to says nothing about it.
 */
#ifndef ADAMOE_CHECK_SHORTAGE_H
#define ADAMOE_CHECK_SHORTAGE_H

#include "adamoe.h"

/* Takes what the children of so many jobs with so many threads each may need, and gives it back. Errors:
 * ENVIRONMENT, with what is short and what helps. */
adamoe_status adamoe_check_shortage(uint32_t jobs, uint32_t threads);

/* The limits of this process that are lower than a desktop's, as "; here ulimit -v is 200000, ulimit -n 64":
 * what may help where something is short. Empty where there is none. */
void adamoe_check_describe_limits(char *text, size_t size);

#endif
