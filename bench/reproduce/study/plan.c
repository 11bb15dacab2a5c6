/*
 * The settings of the study, with the paper's results for them (arXiv 2406.13233, Tables 3, 4 and 8: SIQA and
 * ARC-C).
 */
#include "reproduce/study/study.h"

#define OUR "null_averaged"

const adamoe_study_setting adamoe_study_plan[ADAMOE_STUDY_SETTINGS] = {
    {"top-2", ADAMOE_STUDY_SIZES, 0, 2, "true", OUR, {0.7636, 2.0}, {0.8746, 2.0}},
    {"m8-k3", ADAMOE_STUDY_SIZES, 8, 3, "true", OUR, {0.7697, 1.63}, {0.8915, 1.67}},
    {"m16-k4", ADAMOE_STUDY_SIZES, 16, 4, "true", OUR, {0.7692, 1.66}, {0.8712, 1.70}},
    {"m24-k5", ADAMOE_STUDY_SIZES, 24, 5, "true", OUR, {0.0, 0.0}, {0.8610, 1.56}},
    {"m32-k4", ADAMOE_STUDY_SIZES, 32, 4, "true", OUR, {0.6627, 0.77}, {0.0, 0.0}},
    {"m32-k5", ADAMOE_STUDY_SIZES, 32, 5, "true", OUR, {0.7293, 1.05}, {0.0, 0.0}},
    {"m32-k6", ADAMOE_STUDY_SIZES, 32, 6, "true", OUR, {0.7646, 1.54}, {0.8508, 1.49}},
    {"m40-k6", ADAMOE_STUDY_SIZES, 40, 6, "true", OUR, {0.6986, 1.01}, {0.0, 0.0}},
    {"m40-k7", ADAMOE_STUDY_SIZES, 40, 7, "true", OUR, {0.7605, 1.49}, {0.8610, 1.59}},
    {"m40-k8", ADAMOE_STUDY_SIZES, 40, 8, "true", OUR, {0.7723, 1.64}, {0.8576, 1.34}},
    {"m48-k8", ADAMOE_STUDY_SIZES, 48, 8, "true", OUR, {0.7467, 1.48}, {0.0, 0.0}},
    {"m8-k3-norm-all", ADAMOE_STUDY_NORMS, 8, 3, "all", OUR, {0.0, 0.0}, {0.0, 0.0}},
    {"m8-k3-norm-none", ADAMOE_STUDY_NORMS, 8, 3, "none", OUR, {0.0, 0.0}, {0.0, 0.0}},
    {"m8-k3-switch", ADAMOE_STUDY_BALANCES, 8, 3, "true", "switch", {0.0, 0.0}, {0.0, 0.0}},
    {"m8-k3-released", ADAMOE_STUDY_BALANCES, 8, 3, "true", "released", {0.0, 0.0}, {0.0, 0.0}},
};

bool adamoe_study_keeps_top_k(const adamoe_study_setting *setting, size_t experts)
{
    const size_t copies = setting->null_experts / experts, k0 = ADAMOE_STUDY_BASELINE_K;
    return setting->top_k >= (k0 - 1) * (copies + 1) + 1 && setting->top_k <= k0 * (copies + 1);
}

size_t adamoe_study_seeds(const adamoe_study_options *options, size_t setting)
{
    return setting < 2 ? options->seeds : options->sweep_seeds;
}
