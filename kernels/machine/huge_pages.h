/*
 * Huge pages: when to ask for them, and what the system does about it.
 */
#ifndef ADAMOE_MACHINE_HUGE_PAGES_H
#define ADAMOE_MACHINE_HUGE_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/* The size of a huge page; blocks of at least ADAMOE_HUGE_BLOCK bytes are aligned to it and advised to lie on
 * some. */
#define ADAMOE_HUGE_PAGE  ((size_t)2 << 20)
#define ADAMOE_HUGE_BLOCK ((size_t)4 << 20)

/* Advises the system to put the whole huge pages between the two ends on huge pages; a wish, so there is no
 * error. */
void adamoe_advise_huge_pages(void *memory, size_t bytes);

/* count floats of 0, on huge pages where they fill some; NULL where there is no memory. The caller frees
 * them. */
float *adamoe_zeroed_floats(size_t count);

/* "always", "madvise" or "never", as the system is set; "unknown" where it does not tell. */
void adamoe_huge_page_policy(char *text, size_t size);

#endif
