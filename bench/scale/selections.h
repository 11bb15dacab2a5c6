/*
 * The experts that tokens select: taken from a recorded routing, or drawn for a load and for how unevenly the experts
 * are liked.
 *
 * A recording is cut in two by tokens. Its first half is what an assignment of experts may be made from, its second
 * half what the assignment is judged by, so that no assignment is praised for what it has seen.
 */
#ifndef ADAMOE_SCALE_SELECTIONS_H
#define ADAMOE_SCALE_SELECTIONS_H

#include "layers/recorded_routing.h"
#include "mpi/placement.h"

typedef struct adamoe_selections {
    adamoe_mixture mixture; /* top_k at most n where there are no null experts */
    double load; /* mean number of true experts for a token: wanted where drawn, counted where recorded */
    const adamoe_recorded_routing *recorded; /* NULL: drawn */
    double *until;  /* [n] drawn: how often experts 0 .. e are picked, in running sums */
    double *liking; /* [n] drawn: how often each is, behind them */
} adamoe_selections;

/* Selections of a token that are true whatever it likes, for want of null experts: k - m, or 0. */
size_t adamoe_selections_sure(adamoe_mixture mixture);

/* Drawn: of the k selections of a token `sure` are true, and each other one with probability (load - sure) / (k - sure),
 * independently; true ones are picked one after the other without repetition with weights liking[e], of which one at
 * least is above 0; where those that are left weigh 0, the first of them. load is from `sure`
 * to k, and k at most n. Errors: memory. */
adamoe_status adamoe_selections_drawn(adamoe_mixture mixture, double load, const double *liking,
                                      adamoe_selections *out);
/* The recording, of 2 tokens at least, must outlive *out. */
void adamoe_selections_recorded(const adamoe_recorded_routing *recorded, adamoe_selections *out);
void adamoe_selections_free(adamoe_selections *selections);

/* Layers that differ: 1 where drawn. */
size_t adamoe_selections_layers(const adamoe_selections *selections);

/* id [tokens, k] of consecutive tokens of one layer: those of the judged half from a token on that is drawn, and after
 * the last one its first; or drawn anew. Null experts have ids from n on. */
void adamoe_selections_take(const adamoe_selections *selections, size_t layer, size_t tokens,
                            adamoe_splitmix64 *random, uint32_t *id);

/* The same tokens with null experts and without: each likes max(k, k0) different experts, the first one most, all alike
 * likely. At top-k0 it has the first k0 of them; with null experts as many of the first as of k selections are true, drawn
 * as above, and null experts for the others. adaptive is [tokens, k], baseline [tokens, k0]; neither k
 * is above n. Errors: memory. */
adamoe_status adamoe_selections_pair(adamoe_mixture mixture, double load, size_t baseline_k, size_t tokens,
                                     adamoe_splitmix64 *random, uint32_t *adaptive, uint32_t *baseline);

/* All tokens of the judged half of one layer of a recording, and how many they are. */
const uint32_t *adamoe_selections_judged(const adamoe_selections *selections, size_t layer, size_t *tokens);

/* Counts of what an assignment may be made from: the first half of the layer, or 65,536 tokens drawn with a stream of
 * their own. Errors: memory. */
adamoe_status adamoe_selections_use(const adamoe_selections *selections, size_t layer, uint64_t seed,
                                    adamoe_expert_use *out);

#endif
