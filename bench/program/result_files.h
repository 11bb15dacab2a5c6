/*
 * The files that a verb writes at its end, looked at before it begins: that they can be written, and that none
 * of them is a file that the verb reads, is known before the work, not after.
 */
#ifndef ADAMOE_PROGRAM_RESULT_FILES_H
#define ADAMOE_PROGRAM_RESULT_FILES_H

#include "program/options.h"

typedef struct adamoe_result_file {
    const char *option; /* "--json", for messages */
    const char *path;   /* as given; "-" is standard output; NULL where it was not asked for */
} adamoe_result_file;

/* Nothing of these files is changed, and nothing new is left behind: a temporary file is made beside each and
 * removed at once. `input` holds what the verb reads, as given: files, folders of models or of adapters (then
 * their base too), or NULL where there is none; `kernels`, which may be NULL, brings a plugin and commands, whose words
 * may be files. A file is the same by device and inode, so that links do not hide it. Errors: two options that name the same file, or both standard output, and a file that is read as
 * well (BAD_INPUT); a file that cannot be made or written (ENVIRONMENT). */
adamoe_status adamoe_check_result_files(const adamoe_result_file *files, size_t count,
                                        const char *const *input, size_t inputs,
                                        const adamoe_common_options *kernels);

/* BAD_INPUT where `path` exists and is one of the inputs; `option` is what names it. */
adamoe_status adamoe_refuse_input(const char *option, const char *path, const char *const *input,
                                  size_t inputs);

#endif
