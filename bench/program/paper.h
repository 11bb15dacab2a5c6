/*
 * What the paper reports (Zeng et al., AdaMoE, Findings of EMNLP 2024, arXiv 2406.13233):
 * Mixtral-8x7B untouched, fine-tuned as top-2, and with 8 null experts as top-3.
 */
#ifndef ADAMOE_PROGRAM_PAPER_H
#define ADAMOE_PROGRAM_PAPER_H

#include <stddef.h>

typedef struct adamoe_paper_row {
    const char *dataset;
    double untouched_accuracy, top_2_accuracy, adamoe_accuracy; /* fractions */
    double load;                  /* of AdaMoE: true experts per token and layer */
    double model_flops_reduction; /* the paper's %FLOPs, a fraction of the whole model's */
    size_t questions;             /* 0: the paper does not say, nor do its numbers */
} adamoe_paper_row;

#define ADAMOE_PAPER_ROWS 6

static const adamoe_paper_row adamoe_paper[ADAMOE_PAPER_ROWS] = {
    {"WinoGrande", 0.5596, 0.8043, 0.8193, 1.66, 0.1499, 0},
    {"HellaSwag", 0.5362, 0.8410, 0.8550, 1.68, 0.1410, 0},
    {"PIQA", 0.6806, 0.9048, 0.9032, 1.59, 0.1807, 0},
    {"SIQA", 0.6459, 0.7636, 0.7697, 1.63, 0.1631, 0},
    {"OBQA", 0.6540, 0.8900, 0.8820, 1.70, 0.1322, 0},
    {"ARC-C", 0.8373, 0.8746, 0.8915, 1.67, 0.1455, 295},
};

/* The one whose accuracies are multiples of 1 / 295. */
#define ADAMOE_PAPER_ARC (&adamoe_paper[5])

#endif
