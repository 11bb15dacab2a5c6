/*
 * What ranks must have in common before they begin: the program, the kernel, the model, the questions, the
 * options. A rank that has another is named, and so is what it has.
 */
#ifndef ADAMOE_RANKS_AGREEMENT_H
#define ADAMOE_RANKS_AGREEMENT_H

#include "mpi/world.h"

typedef struct adamoe_rank_fact {
    char name[32], value[224];
} adamoe_rank_fact;

#define ADAMOE_RANK_FACTS 8

typedef struct adamoe_rank_facts {
    adamoe_rank_fact fact[ADAMOE_RANK_FACTS];
    size_t count;
} adamoe_rank_facts;

/* One more. All ranks add the same names in the same order. */
__attribute__((format(printf, 3, 4))) void adamoe_rank_fact_add(adamoe_rank_facts *facts, const char *name,
                                                                const char *format, ...);

/* The program itself, by its file. */
adamoe_status adamoe_rank_fact_program(adamoe_rank_facts *facts);

/* A file, or the files of a folder, by their contents (fingerprint.h). */
adamoe_status adamoe_rank_fact_file(adamoe_rank_facts *facts, const char *name, const char *path);

/* The command line, without options that begin like one of `without` [count] and their values. */
void adamoe_rank_fact_options_without(adamoe_rank_facts *facts, int arguments, char *const *argument,
                                      const char *const *without, size_t count);

/* The same without what may differ from machine to machine: threads and nodes. */
void adamoe_rank_fact_options(adamoe_rank_facts *facts, int arguments, char *const *argument);

/* All values, one behind the other. */
void adamoe_rank_facts_describe(const adamoe_rank_facts *facts, char *text, size_t size);

/* Returns on all ranks: OK, or BAD_INPUT, which names the first rank that differs from rank 0 and what it
 * has; or the error `own` of the lowest rank that has one. */
adamoe_status adamoe_rank_agree(const adamoe_world *world, adamoe_status own, const adamoe_rank_facts *facts);

#endif
