/*
 * Everyday facts in tables, out of which questions with exactly one right answer can be made.
 */
#ifndef ADAMOE_GENERATE_FACTS_H
#define ADAMOE_GENERATE_FACTS_H

#include <stddef.h>

/* A class of things: "a mammal", "mammals", and its members. */
typedef struct adamoe_fact_class {
    const char *one, *many;
    const char *const *member; /* ends with NULL */
} adamoe_fact_class;

/* Classes that exclude each other. A question asks which of four things belongs to a class ("Which of these
 * animals is a mammal?"), or, where `before` is given, to which class a thing belongs. */
typedef struct adamoe_fact_group {
    const char *which; /* goes before the class and a question mark */
    const char *before,
        *after; /* go before and after the thing; NULL where there are fewer than four classes */
    const adamoe_fact_class *classes;
    size_t count;
} adamoe_fact_group;

typedef struct adamoe_fact {
    const char *subject, *answer;
} adamoe_fact;

/* One question about many subjects. Any answer of the table that differs from a subject's own is wrong for
 * it; no subject stands twice. */
typedef struct adamoe_fact_table {
    const char *before, *after; /* go before and after the subject */
    const adamoe_fact *fact;
    size_t count;
} adamoe_fact_table;

extern const adamoe_fact_group adamoe_fact_groups[];
extern const size_t adamoe_fact_group_count;
extern const adamoe_fact_table adamoe_fact_tables[];
extern const size_t adamoe_fact_table_count;

#endif
