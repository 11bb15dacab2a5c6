/*
 * Reading the small text files in which the system tells about itself: /proc, /sys, control groups.
 */
#ifndef ADAMOE_MACHINE_SYSTEM_FILE_H
#define ADAMOE_MACHINE_SYSTEM_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Opens FOLDER/NAME to read; NULL where that is not possible. */
FILE *adamoe_system_file_open(const char *folder, const char *name);

/* The number after `key` in a file of lines `key NUMBER [kB]`, in bytes where the unit is there; with an
 * empty key, the number that the file begins with. SIZE_MAX where there is none ("max", no such file). */
size_t adamoe_system_file_number(const char *folder, const char *name, const char *key);

/* The rest of the line that begins with `key`, without blanks before and the newline after it; with an empty
 * key, the first line. False where there is none, or where it does not fit. */
bool adamoe_system_file_text(const char *folder, const char *name, const char *key, char *text, size_t size);

#endif
