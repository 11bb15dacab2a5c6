/*
 * Options of a verb that runs over ranks: see options.h.
 */
#include "ranks/options.h"
#include "mpi/placement.h"
#include "program/options.h"

#include <stdio.h>

const adamoe_rank_options adamoe_rank_defaults = {.chunks = 2, .patience = ADAMOE_PATIENCE};

bool adamoe_rank_options_given(const adamoe_rank_options *options)
{
    const adamoe_rank_options *d = &adamoe_rank_defaults;
    return options->experts != d->experts || options->recording != NULL || options->chunks != d->chunks ||
           options->one_after_the_other || options->patience < d->patience || options->patience > d->patience;
}

/* Seconds: a few pulses may be late; and twelve days are longer than anybody waits. */
#define LEAST_PATIENCE 3.0
#define MOST_PATIENCE  1e6

enum { OPTION_EXPERTS = 0x200, OPTION_RECORDING, OPTION_CHUNKS, OPTION_IN_TURN, OPTION_PATIENCE };

static const struct argp_option options_list[] = {
    {0, 0, 0, 0, "Over ranks (`mpirun -n R adamoe ...'):", 20},
    {"rank-experts", OPTION_EXPERTS, "ORDER", 0,
     "Which rank has which experts: block (default), neighbouring ones together; turn, one after the other; load, as many "
     "rows for each by a recording; together, those that its tokens select together (METIS)",
     20},
    {"rank-recording", OPTION_RECORDING, "FILE", 0,
     "For load and together: routing of the same model, as eval --record-routing writes it", 20},
    {"rank-chunks", OPTION_CHUNKS, "N", 0,
     "Parts of a rank's experts; outputs of one travel while the next is computed (default: 2)", 20},
    {"rank-no-overlap", OPTION_IN_TURN, 0, 0, "Compute nothing while rows travel: what overlap saves", 20},
    {"rank-patience", OPTION_PATIENCE, "SECONDS", 0,
     "After which a silent rank is taken for dead (default: 8)", 20},
    {0},
};

static error_t parse(int key, char *value, struct argp_state *state)
{
    adamoe_rank_options *o = state->input;
    switch (key) {
    case OPTION_EXPERTS:
        o->experts = (adamoe_expert_order)adamoe_parse_choice(
            state, "--rank-experts", value, adamoe_expert_order_names, ADAMOE_EXPERT_ORDERS);
        return 0;
    case OPTION_RECORDING:
        o->recording = value;
        return 0;
    case OPTION_CHUNKS:
        o->chunks = (uint32_t)adamoe_parse_count(state, "--rank-chunks", value, 1, 64);
        return 0;
    case OPTION_IN_TURN:
        o->one_after_the_other = true;
        return 0;
    case OPTION_PATIENCE:
        o->patience = adamoe_parse_number(state, "--rank-patience", value);
        if (o->patience < LEAST_PATIENCE || o->patience > MOST_PATIENCE) {
            argp_error(
                state,
                "--rank-patience: `%s' is not from %.0f to %.0f s: a rank says about once a second that it "
                "is alive",
                value, LEAST_PATIENCE, MOST_PATIENCE);
        }
        return 0;
    case ARGP_KEY_END:
        if (adamoe_expert_order_needs_use(o->experts) != (o->recording != NULL)) {
            argp_error(state,
                       "--rank-experts load and together need --rank-recording, which goes with no other");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp adamoe_rank_argp = {.options = options_list, .parser = parse};

void adamoe_rank_stop(const char *verb, adamoe_ranks *ranks, const adamoe_status *status)
{
    if (status->code == ADAMOE_OK || adamoe_ranks_world(ranks)->ranks == 1) {
        return;
    }
    const adamoe_status cause = adamoe_ranks_cause(ranks, status);
    adamoe_ranks_let_first_speak(ranks, &cause);
    adamoe_ranks_abort(ranks, adamoe_finish(verb, cause));
}

int adamoe_rank_finish(const char *verb, adamoe_ranks *ranks, adamoe_status status)
{
    if (ranks == NULL) {
        return adamoe_finish_early(verb, status);
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_flush_output();
    }
    if (status.code == ADAMOE_OK) { /* one that still writes its results is waited for as long as it lives */
        status = adamoe_world_barrier(adamoe_ranks_world(ranks));
    }
    adamoe_rank_stop(verb, ranks, &status);
    adamoe_ranks_close(ranks);
    return adamoe_finish(verb, status);
}
