/*
 * The layer or the model that `adamoe scale` speaks of, and how its tokens select experts with and without null experts.
 */
#ifndef ADAMOE_SCALE_SUBJECT_H
#define ADAMOE_SCALE_SUBJECT_H

#include "layers/presets.h"
#include "program/options.h"
#include "scale/predict.h"

/* As given on the command line; NULL, 0 and NaN: not given. */
typedef struct adamoe_scale_subject_options {
    const adamoe_preset *preset;
    const char *config;
    const char *record, *baseline_record;
    double load;
    double skew; /* expert e is liked with a weight of (1 + e)^-skew */
    size_t top_k;
    adamoe_count_options count;
} adamoe_scale_subject_options;

typedef struct adamoe_scale_subject {
    const char *name;
    size_t hidden_size, intermediate_size, layers;
    double head_flops;
    /* As a preset's checkpoint stores it; of a config, which need not say, bfloat16. */
    adamoe_arithmetic weight;
    adamoe_scale_side adaptive, baseline;
    adamoe_recorded_routing record, baseline_record; /* no ids: not given */
} adamoe_scale_subject;

/* Errors (BAD_INPUT), which name the option and what is wrong with it: a dense layer; a load, k or skew that the experts
 * do not allow; a recording of other experts or layers, or a baseline's with null experts or other tokens; those of the
 * files. *out may not move while it is used. */
adamoe_status adamoe_scale_subject_open(const adamoe_scale_subject_options *options,
                                        adamoe_scale_subject *out);
void adamoe_scale_subject_close(adamoe_scale_subject *subject);

#endif
