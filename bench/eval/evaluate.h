/*
 * One evaluation: a model, questions, a kernel, and everything that is counted while they meet. The verbs
 * eval and reproduce stand on it.
 */
#ifndef ADAMOE_EVAL_EVALUATE_H
#define ADAMOE_EVAL_EVALUATE_H

#include "eval/fastest_kernel.h"
#include "eval/journal.h"
#include "eval/result.h"
#include "program/machine.h"
#include "program/model_folder.h"
#include "program/router_option.h"
#include "program/selection.h"
#include "ranks/assignment.h"
#include "train/lora/lora_network.h"
#include "tasks/tasks.h"

typedef struct adamoe_evaluate_options {
    const char *model;       /* folder */
    const char *questions;   /* file */
    const adamoe_task *task; /* whose data set it is; NULL: questions in a form of their own */
    adamoe_format format;
    adamoe_bos bos;
    size_t limit; /* 0: all questions */
    adamoe_selection_options selection;
    adamoe_router_option router; /* in place of the rule that those make, or of the folder's router */
    bool causal;                 /* a router that looks at later tokens is refused */
    size_t baseline_k;           /* 0: 2, or the one expert that there is */
    size_t batch_tokens;         /* tokens run together */
    bool show_progress;          /* on standard error, where that is a terminal */
    bool record_routing;
    bool measure_peak;            /* of FMA, before and after scoring */
    bool stages;                  /* the seconds of the forward pass, stage by stage */
    const char *journal;          /* file of what is finished, to go on from; NULL: none. Rank 0's */
    const adamoe_rank_facts *run; /* that it is of, less the kernel */
    const adamoe_world *world;    /* whose ranks share questions and experts */
    adamoe_rank_options ranks;    /* how */
    /* The fastest of its kernels with weights of `dtype` computes; NULL: the given one. */
    const adamoe_registry *registry;
    adamoe_arithmetic dtype;
} adamoe_evaluate_options;

/* The options that `adamoe eval` has where none is given, on one rank; model and questions are NULL. */
extern const adamoe_evaluate_options adamoe_evaluate_defaults;

typedef struct adamoe_evaluation {
    adamoe_evaluate_options options;
    const adamoe_kernel *kernel;
    adamoe_kernel_choice choice; /* with options.registry */
    adamoe_kernel chosen;        /* what `kernel` points to then */
    const char *dense_product;   /* the kernel whose product serves it, or NULL: its own */
    adamoe_model_folder folder;
    adamoe_questions *questions;
    size_t count;            /* questions that are scored */
    adamoe_prompt *prompt;   /* [count] */
    adamoe_outcome *outcome; /* [count] */
    const adamoe_machine *machine;
    adamoe_rank_assignment assignment;  /* of experts to those ranks */
    adamoe_sharded *sharded;            /* the kernel over the ranks of the world */
    adamoe_wire_count wire;             /* of what travels between them */
    uint64_t own_questions, own_tokens; /* of this rank in this run */
    adamoe_journal *journal;            /* on rank 0, or NULL */
    size_t resumed;                     /* questions that it had */
    adamoe_traffic_report traffic;      /* on rank 0 after a run on several */
    adamoe_model_router router;         /* without a name: the config's rule */
    adamoe_forward *forward;            /* NULL: the naive model, or adapters */
    adamoe_lora_parameters *lora;       /* of a folder of adapters, whose base is in `folder`; else NULL */
    adamoe_lora_network *network;       /* that runs them; NULL: naively */
    adamoe_config adapted;              /* the base's, with experts and selection of the adapters */
    adamoe_scorer scorer;
    char *task;                 /* its name, or the questions' file name without its suffix */
    size_t next;                /* the first question that this run has not scored */
    double seconds;             /* of scoring; loading and preparing are not in it */
    adamoe_forward_clock clock; /* with options.stages */
    adamoe_fma_peak peak;
} adamoe_evaluation;

/* Opens, converts, prepares. The machine must outlive *out. On failure the caller still frees. All ranks of a world call
 * this and what follows together, with the same options; one that fails fails all. */
adamoe_status adamoe_evaluation_open(const adamoe_evaluate_options *options, const adamoe_kernel *kernel,
                                     const adamoe_machine *machine, adamoe_evaluation *out);

/* The model's, as it is run; of adapters, their base's. */
const adamoe_config *adamoe_evaluation_config(const adamoe_evaluation *evaluation);

/* Scores all questions once more; counts and seconds are those of this run alone. Of several ranks, rank 0 has them in the
 * end, and the outcomes of all questions. */
adamoe_status adamoe_evaluation_run(adamoe_evaluation *evaluation);

/* The same in parts, so that evaluations can take turns: begin forgets the last run, next scores one batch
 * and adds to the seconds; *done where no question is left. The peak is not measured. */
adamoe_status adamoe_evaluation_begin(adamoe_evaluation *evaluation);
adamoe_status adamoe_evaluation_next(adamoe_evaluation *evaluation, bool *done);

void adamoe_evaluation_free(adamoe_evaluation *evaluation);

/* The numbers of the last run; valid while the evaluation lives. */
adamoe_eval_result adamoe_evaluation_result(const adamoe_evaluation *evaluation);

#endif
