/*
 * What a run is made of: the program, the kernel, the model, the questions, the options. Runs that are to go together,
 * ranks or the parts of an evaluation that was interrupted, are compared by it, and one that has another is told which.
 */
#ifndef ADAMOE_RANKS_FACTS_H
#define ADAMOE_RANKS_FACTS_H

#include "program/options.h"

/* Compared are the two numbers, which are of all of it: of long texts only a part is kept. */
typedef struct adamoe_rank_fact {
    char name[32], value[1024]; /* for people */
    uint64_t whole, content;    /* of the value, however long it is; of the files behind it, or 0 */
} adamoe_rank_fact;

#define ADAMOE_RANK_FACTS 16

/* No more facts are added than there is room for: a verb has at most 13. */
typedef struct adamoe_rank_facts {
    adamoe_rank_fact fact[ADAMOE_RANK_FACTS];
    size_t count;
} adamoe_rank_facts;

/* One more, of at most 1023 bytes. */
__attribute__((format(printf, 3, 4))) void adamoe_rank_fact_add(adamoe_rank_facts *facts, const char *name,
                                                                const char *format, ...);

/* The program itself, by its file. */
adamoe_status adamoe_rank_fact_program(adamoe_rank_facts *facts);

/* A file, or the files of a folder: its path, less slashes at the end, and its contents (fingerprint.h). */
adamoe_status adamoe_rank_fact_file(adamoe_rank_facts *facts, const char *name, const char *path);

/* The same of a model. Adapters refer to a base, which is another fact. */
adamoe_status adamoe_rank_fact_model(adamoe_rank_facts *facts, const char *name, const char *path);

/* What computes: the kernel (NULL: it is no fact), and where it may come from: the plugin, and the commands. Of a command,
 * its line, its program, and the first of its arguments that is a file, which is the script of an interpreter; what
 * else it reads is not known here, and what it writes, as a log, is another each time. */
adamoe_status adamoe_rank_fact_kernels(adamoe_rank_facts *facts, const adamoe_common_options *from,
                                       const adamoe_kernel *kernel);

/* The command line [count], as command_line.h writes it, without options that begin like one of `without` [withouts]. */
adamoe_status adamoe_rank_fact_options_without(adamoe_rank_facts *facts, const struct argp *argp, int count,
                                               char *const *argument, const char *const *without,
                                               size_t withouts);

/* The same without what may differ from machine to machine: threads and nodes. */
adamoe_status adamoe_rank_fact_options(adamoe_rank_facts *facts, const struct argp *argp, int count,
                                       char *const *argument);

/* Where two runs differ, and what each of them has. */
typedef struct adamoe_rank_difference {
    char name[32], one[160], other[160];
} adamoe_rank_difference;

/* The first difference; false where there is none. */
bool adamoe_rank_facts_differ(const adamoe_rank_facts *one, const adamoe_rank_facts *other,
                              adamoe_rank_difference *out);

#endif
