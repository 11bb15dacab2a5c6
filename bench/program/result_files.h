/*
 * The files that a verb writes at its end, looked at before it begins: that they can be written is known
 * before the work, not after.
 */
#ifndef ADAMOE_PROGRAM_RESULT_FILES_H
#define ADAMOE_PROGRAM_RESULT_FILES_H

#include "adamoe.h"

typedef struct adamoe_result_file {
    const char *option; /* "--json", for messages */
    const char *path;   /* as given; "-" is standard output; NULL where it was not asked for */
} adamoe_result_file;

/* Nothing of these files is changed, and nothing new is left behind: a temporary file is made beside each and
 * removed at once. Errors: two options that name the same file, or both standard output (BAD_INPUT); a file
 * that cannot be made or written (ENVIRONMENT). */
adamoe_status adamoe_check_result_files(const adamoe_result_file *files, size_t count);

#endif
