/*
 * The layer or the model that `adamoe scale` speaks of.
 */
#include "scale/subject.h"
#include "config/config.h"
#include "flops.h"
#include "timing/roofline.h"

#include <math.h>
#include <stdlib.h>

/* What a preset and a config both say. */
typedef struct sizes {
    adamoe_mixture mixture;
    double load;        /* NaN: not said */
    double token_flops; /* of a layer besides experts and router: attention, a shared expert */
    size_t baseline_k;
} sizes;

static void read_preset(const adamoe_preset *preset, adamoe_scale_subject *out, sizes *found)
{
    out->name = preset->name;
    out->hidden_size = preset->hidden_size;
    out->intermediate_size = preset->intermediate_size;
    out->layers = 1;
    out->weight = preset->weights == ADAMOE_F32 ? ADAMOE_FLOAT32 : ADAMOE_BFLOAT16;
    *found = (sizes){preset->mixture, preset->load, 0.0, preset->baseline_top_k};
}

static adamoe_status read_config(const adamoe_scale_subject_options *o, adamoe_scale_subject *out,
                                 sizes *found)
{
    adamoe_config config;
    bool given = false;
    ADAMOE_TRY(adamoe_config_read(o->config, &config, &given));
    const adamoe_token_flops flops = adamoe_flops_per_token(&config, 0, 0.0, o->count.visible_keys, 1.0);
    out->name = o->config;
    out->hidden_size = config.hidden_size;
    out->intermediate_size = config.intermediate_size;
    out->layers = config.layers;
    out->head_flops = flops.head;
    out->weight = ADAMOE_BFLOAT16;
    *found = (sizes){{config.experts, config.null_experts, config.rule.top_k},
                     (double)NAN,
                     (flops.attention + flops.experts) / (double)config.layers,
                     config.experts < 2 ? 1 : 2};
    return adamoe_ok();
}

static adamoe_status check_mixture(const adamoe_scale_subject_options *o, const sizes *found)
{
    const adamoe_mixture m = found->mixture;
    if (m.experts < 2) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: %.300s: one expert: no row leaves its rank",
                            o->config == NULL ? "--preset" : "--config",
                            o->config == NULL ? o->preset->name : o->config);
    }
    if (found->baseline_k > m.experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--baseline-k: %zu, there are %zu true experts",
                            found->baseline_k, m.experts);
    }
    if (o->record != NULL) {
        return adamoe_ok();
    }
    if (m.top_k > m.experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--top-k: %zu, but draws go up to the %zu true experts",
                            m.top_k, m.experts);
    }
    if (isnan(found->load)) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--load: a config does not say how many true experts a token has");
    }
    if (found->load > (double)m.top_k || found->load <= 0.0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--load: %g is not above 0 and at most top-%zu", found->load,
                            m.top_k);
    }
    return found->load < (double)adamoe_selections_sure(m)
               ? adamoe_error(ADAMOE_BAD_INPUT,
                              "--load: %g, but of top-%zu with %zu null expert%s at least %zu are true",
                              found->load, m.top_k, m.null_experts, m.null_experts == 1 ? "" : "s",
                              adamoe_selections_sure(m))
               : adamoe_ok();
}

/* ---------------------------------------------------------------------------------------------- recordings */

static adamoe_status read_record(const char *option, const char *path, size_t experts,
                                 adamoe_recorded_routing *out)
{
    ADAMOE_TRY(adamoe_recorded_routing_read(path, out));
    if (out->mixture.experts != experts) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: %.300s: %zu true experts, the layer has %zu", option, path,
                            out->mixture.experts, experts);
    }
    return out->tokens < 2
               ? adamoe_error(ADAMOE_BAD_INPUT, "%s: %.300s: one token cannot be cut in two", option, path)
               : adamoe_ok();
}

/* A recording of a whole model has its layers; a preset is one layer, whatever model a recording is of. */
static adamoe_status check_record(const adamoe_scale_subject_options *o, const adamoe_scale_subject *subject)
{
    return o->config == NULL || subject->record.layers == subject->layers
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "--record: %.200s: %zu layer%s, %.200s has %zu", o->record,
                              subject->record.layers, subject->record.layers == 1 ? "" : "s", o->config,
                              subject->layers);
}

/* The same tokens of the same layers, without null experts: else what differs is not what null experts save. */
static adamoe_status check_baseline_record(const adamoe_scale_subject_options *o,
                                           const adamoe_scale_subject *subject)
{
    const adamoe_recorded_routing *a = &subject->record, *b = &subject->baseline_record;
    if (b->mixture.null_experts != 0) {
        return adamoe_error(
            ADAMOE_BAD_INPUT, "--baseline-record: %.300s: %zu null expert%s, the baseline has none",
            o->baseline_record, b->mixture.null_experts, b->mixture.null_experts == 1 ? "" : "s");
    }
    return a->layers == b->layers && a->tokens == b->tokens
               ? adamoe_ok()
               : adamoe_error(
                     ADAMOE_BAD_INPUT,
                     "--baseline-record: %.200s: layers, tokens: %zu, %zu, but %zu, %zu in --record %.200s",
                     o->baseline_record, b->layers, b->tokens, a->layers, a->tokens, o->record);
}

/* How often each expert is liked: by the option, or as the recording's judged half has it, all layers together, and half a
 * token more so that none is 0. */
static void find_liking(const adamoe_scale_subject_options *o, const adamoe_scale_subject *subject,
                        size_t experts, double *liking)
{
    for (size_t e = 0; e < experts; ++e) {
        liking[e] = o->record != NULL ? 0.5 : pow(1.0 + (double)e, -o->skew);
    }
    for (size_t l = 0; o->record != NULL && l < subject->record.layers; ++l) {
        size_t tokens;
        const uint32_t *id = adamoe_selections_judged(&subject->adaptive.selections, l, &tokens);
        for (size_t i = 0; i < tokens * subject->record.mixture.top_k; ++i) {
            if (id[i] < experts) {
                liking[id[i]] += 1.0;
            }
        }
    }
}

static adamoe_status make_selections(const adamoe_scale_subject_options *o, const sizes *found,
                                     adamoe_scale_subject *out)
{
    const size_t experts = found->mixture.experts;
    double *liking = calloc(experts, sizeof *liking);
    if (liking == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "scale: out of memory");
    }
    adamoe_status status = adamoe_ok();
    if (o->record != NULL) {
        adamoe_selections_recorded(&out->record, &out->adaptive.selections);
    }
    find_liking(o, out, experts, liking);
    if (o->record == NULL) {
        status = adamoe_selections_drawn(found->mixture, found->load, liking, &out->adaptive.selections);
    }
    if (status.code == ADAMOE_OK && o->baseline_record != NULL) {
        adamoe_selections_recorded(&out->baseline_record, &out->baseline.selections);
    } else if (status.code == ADAMOE_OK) {
        const adamoe_mixture without = {experts, 0, found->baseline_k};
        status =
            adamoe_selections_drawn(without, (double)found->baseline_k, liking, &out->baseline.selections);
    }
    free(liking);
    return status;
}

/* --------------------------------------------------------------------------------------------------- layer */

static adamoe_cost_layer cost_of(const adamoe_scale_subject *subject, const sizes *found, size_t null_experts)
{
    const adamoe_expert_cost cost =
        adamoe_expert_cost_of(subject->hidden_size, subject->intermediate_size, subject->weight);
    const double router =
        2.0 * (double)subject->hidden_size * (double)(found->mixture.experts + null_experts);
    return (adamoe_cost_layer){.row_flops = cost.flops_per_row,
                               .expert_bytes = cost.bytes,
                               .home_flops = router + found->token_flops};
}

static adamoe_status open_parts(const adamoe_scale_subject_options *o, adamoe_scale_subject *out)
{
    sizes found;
    if (o->config != NULL) {
        ADAMOE_TRY(read_config(o, out, &found));
    } else {
        read_preset(o->preset, out, &found);
    }
    found.load = isnan(o->load) ? found.load : o->load;
    found.mixture.top_k = o->top_k != 0 ? o->top_k : found.mixture.top_k;
    found.mixture.null_experts =
        o->count.has_null_experts ? o->count.null_experts : found.mixture.null_experts;
    found.baseline_k = o->count.baseline_k != 0 ? o->count.baseline_k : found.baseline_k;
    ADAMOE_TRY(check_mixture(o, &found));
    if (o->record != NULL) {
        ADAMOE_TRY(read_record("--record", o->record, found.mixture.experts, &out->record));
        ADAMOE_TRY(check_record(o, out));
    }
    if (o->baseline_record != NULL) {
        ADAMOE_TRY(read_record("--baseline-record", o->baseline_record, found.mixture.experts,
                               &out->baseline_record));
        ADAMOE_TRY(check_baseline_record(o, out));
    }
    ADAMOE_TRY(make_selections(o, &found, out));
    out->adaptive.layer = cost_of(out, &found, out->adaptive.selections.mixture.null_experts);
    out->baseline.layer = cost_of(out, &found, 0);
    return adamoe_ok();
}

adamoe_status adamoe_scale_subject_open(const adamoe_scale_subject_options *options,
                                        adamoe_scale_subject *out)
{
    *out = (adamoe_scale_subject){.name = NULL};
    const adamoe_status status = open_parts(options, out);
    if (status.code != ADAMOE_OK) {
        adamoe_scale_subject_close(out);
    }
    return status;
}

void adamoe_scale_subject_close(adamoe_scale_subject *subject)
{
    adamoe_selections_free(&subject->adaptive.selections);
    adamoe_selections_free(&subject->baseline.selections);
    adamoe_recorded_routing_free(&subject->record);
    adamoe_recorded_routing_free(&subject->baseline_record);
}
