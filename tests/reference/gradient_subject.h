/*
 * A small model whose gradient is tested: weights that lie where their gradient does, sequences with targets,
 * and what an evaluation selects.
 */
#ifndef TESTS_GRADIENT_SUBJECT_H
#define TESTS_GRADIENT_SUBJECT_H

#include "test.h"
#include "gradient/gradient_model.h"

enum { TOKENS = 16, SEQUENCES = 3, MAX_SELECTED = 2 * TOKENS * 8 };

extern const size_t sequence_offset[SEQUENCES + 1];

/* A model whose weights lie in one array, each where its gradient lies in gradient->values. */
typedef struct subject {
    adamoe_model model;
    adamoe_block block[2];
    adamoe_expert expert[2 * 8];
    adamoe_model_gradient *gradient;
    float *weight;
    uint32_t token[TOKENS], target[TOKENS];
    adamoe_objective objective;
} subject;

/* What an evaluation selected, and how far from selecting otherwise it was. */
typedef struct selection {
    uint32_t id[MAX_SELECTED];
    size_t count, all_null, null;
    double
        margin; /* the smallest distance between the last logit that is selected and the first that is not */
} selection;

/* Grouped queries, a window shorter than the sequences, rotary, an untied head. */
extern const adamoe_config base_config;
extern const adamoe_objective with_balance;

uint64_t next_random(uint64_t *state);
double root_mean_square(const double *x, size_t count);

/* With weights of 0; at most 2 layers of 8 experts. */
void make_subject(adamoe_config config, adamoe_objective objective, subject *s);
void free_subject(subject *s);

/* Multiples of 2^-12 between -3/4 and 3/4: with these widths the logits of router and head are of order 1. */
void randomise(subject *s, uint64_t seed);

/* The first seed whose selection is further from changing than the steps of a finite difference reach, and
 * with which every expert is selected: an expert without a token has no gradient to check. */
void find_weights(subject *s, selection *seen);

/* An observer of adamoe_model_loss and adamoe_model_forward; its context is the selection. */
void see_selection(void *context, size_t layer, const adamoe_routing *routing);

/* The loss of all sequences; its gradient is added to `gradient`, which may be NULL. */
adamoe_training_loss evaluate(const subject *s, selection *seen, adamoe_model_gradient *gradient);

#endif
