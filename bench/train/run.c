/*
 * A training run: start, data, steps, saved states, and the folder at its end.
 */
#include "train/run.h"
#include "machine/team.h"
#include "machine/huge_pages.h"
#include "train/model/backprop.h"
#include "train/lora/lora.h"
#include "train/data.h"
#include "train/folder.h"
#include "train/log.h"
#include "train/maps.h"
#include "train/state.h"

#include <stdlib.h>

/* What the paper adapts: gate, gate2, w1, w2 and w3. */
#define LORA_KINDS ((unsigned)ADAMOE_ROUTER | (unsigned)ADAMOE_EXPERTS)

typedef struct trainer {
    adamoe_train_options options; /* with the number of steps filled in */
    adamoe_train_start *start;
    adamoe_train_data *data;
    adamoe_team *team;
    adamoe_backprop *backprop;
    adamoe_adamw *adamw;
    adamoe_lora *lora;        /* NULL: all weights are trained, or adapters of maps */
    adamoe_trained_maps maps; /* zeros: none */
    float *gradient;          /* of all weights, or of the adapters of maps */
    float *adapters;          /* the gradient of the adapters, or NULL */
    float *value;             /* [count] what is trained: weights or adapters */
    size_t count;
    size_t steps_per_epoch;
    char *run; /* its description */
    adamoe_train_log log;
} trainer;

static void free_trainer(trainer *t)
{
    adamoe_train_log_close(&t->log);
    adamoe_adamw_free(t->adamw);
    adamoe_lora_free(t->lora);
    adamoe_backprop_free(t->backprop);
    adamoe_trained_maps_close(&t->maps);
    adamoe_team_free(t->team);
    free(t->gradient);
    free(t->adapters);
    free(t->run);
}

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "training: out of memory");
}

/* A run of the array for each parameter; gains are not decayed. */
static adamoe_status create_adamw(trainer *t)
{
    const adamoe_parameters *p = t->start->parameters;
    const bool adapters = t->lora != NULL || t->maps.network != NULL;
    const size_t segments = adapters ? 1 : p->parameters;
    adamoe_adamw_segment *segment = calloc(segments, sizeof *segment);
    if (segment == NULL) {
        return out_of_memory();
    }
    segment[0] = (adamoe_adamw_segment){0, t->count, true};
    for (size_t i = 0; i < segments && !adapters; ++i) {
        const adamoe_parameter *w = &p->parameter[i];
        segment[i] = (adamoe_adamw_segment){w->first, w->rows * w->columns, w->kind != ADAMOE_GAINS};
    }
    const adamoe_status status =
        adamoe_adamw_create(t->team, t->count, segment, segments, &t->options.adamw, &t->adamw);
    free(segment);
    return status;
}

static adamoe_status create_lora(trainer *t)
{
    const adamoe_train_options *o = &t->options;
    ADAMOE_TRY(adamoe_lora_create(t->start->parameters, t->team, LORA_KINDS, o->lora_rank, o->lora_alpha,
                                  o->common.seed, &t->lora));
    t->value = adamoe_lora_values(t->lora, &t->count);
    t->adapters = calloc(t->count, sizeof *t->adapters);
    return t->adapters != NULL ? adamoe_ok() : out_of_memory();
}

static adamoe_status create_maps(trainer *t)
{
    ADAMOE_TRY(adamoe_trained_maps_open(&t->options, &t->start->parameters->model, t->team, &t->maps));
    t->value = t->maps.parameters->value;
    t->count = t->maps.parameters->count;
    t->gradient = adamoe_zeroed_floats(t->count);
    return t->gradient != NULL ? create_adamw(t) : out_of_memory();
}

static adamoe_status create(trainer *t)
{
    adamoe_parameters *p = t->start->parameters;
    const adamoe_common_options *common = &t->options.common;
    ADAMOE_TRY(
        adamoe_team_create(common->threads != 0 ? common->threads : adamoe_available_processors(), &t->team));
    if (adamoe_train_maps(&t->options, &t->start->config)) {
        return create_maps(t);
    }
    t->value = p->value;
    t->count = p->count;
    if (t->options.lora_rank > 0) {
        ADAMOE_TRY(create_lora(t));
    }
    ADAMOE_TRY(adamoe_backprop_create(p, t->team, t->lora != NULL ? LORA_KINDS : ADAMOE_ALL_PARAMETERS,
                                      &t->backprop));
    if (t->start->router.router != NULL) {
        ADAMOE_TRY(adamoe_backprop_use_router(t->backprop, &t->start->router));
    }
    t->gradient = adamoe_zeroed_floats(p->count);
    return t->gradient != NULL ? create_adamw(t) : out_of_memory();
}

/* Forward and back; the gradient of what is trained. */
static adamoe_status compute_gradient(trainer *t, const adamoe_training_batch *batch, size_t epoch,
                                      adamoe_backprop_result *result)
{
    const adamoe_train_options *o = &t->options;
    const adamoe_objective objective = {o->alpha[epoch < o->alphas ? epoch : o->alphas - 1], o->balance,
                                        o->pooling};
    if (t->maps.network != NULL) {
        return adamoe_lora_network_run(t->maps.network, batch, &objective, NULL, result, t->gradient);
    }
    if (t->lora != NULL) {
        adamoe_lora_merge(t->lora);
    }
    ADAMOE_TRY(adamoe_backprop_run(t->backprop, batch, &objective, NULL, result, t->gradient));
    if (t->lora != NULL) {
        adamoe_lora_gradient(t->lora, t->gradient, t->adapters);
    }
    return adamoe_ok();
}

static adamoe_status take_step(trainer *t, size_t step)
{
    const adamoe_train_options *o = &t->options;
    const size_t epoch = (step - 1) / t->steps_per_epoch;
    adamoe_training_batch batch;
    adamoe_backprop_result result;
    adamoe_train_step said = {.step = step,
                              .epoch = epoch,
                              .result = &result,
                              .learning_rate = adamoe_schedule_rate(&o->schedule, step)};
    ADAMOE_TRY(adamoe_train_data_batch(t->data, o->common.seed, epoch, (step - 1) % t->steps_per_epoch,
                                       o->batch, &batch));
    ADAMOE_TRY(compute_gradient(t, &batch, epoch, &result));
    ADAMOE_TRY(adamoe_adamw_update(t->adamw, said.learning_rate, t->value,
                                   t->lora != NULL ? t->adapters : t->gradient, &said.gradient_norm));
    return adamoe_train_log_step(&t->log, &said);
}

static adamoe_status run_steps(trainer *t)
{
    const adamoe_train_options *o = &t->options;
    const adamoe_adamw_state *state = adamoe_adamw_state_of(t->adamw);
    while (state->steps < o->schedule.steps) {
        const size_t step = state->steps + 1;
        const adamoe_status status = take_step(t, step);
        if (status.code != ADAMOE_OK) {
            return adamoe_error(status.code, "step %zu: %.400s", step, status.message);
        }
        if (step % o->checkpoint_every == 0 && step < o->schedule.steps) {
            ADAMOE_TRY(adamoe_train_state_save(o->out, t->run, t->count, t->value, &t->start->router, state));
        }
    }
    return adamoe_ok();
}

static adamoe_status export(trainer *t)
{
    if (t->maps.network != NULL) {
        return adamoe_train_export_maps(&t->options, t->maps.parameters, t->run);
    }
    if (t->lora != NULL) {
        adamoe_lora_merge(t->lora);
    }
    return adamoe_train_export(&t->options, t->start, t->run);
}

static adamoe_status train(trainer *t, const adamoe_train_output *output)
{
    const adamoe_train_options *o = &t->options;
    t->run = adamoe_train_description(o, t->data, t->start);
    if (t->run == NULL) {
        return out_of_memory();
    }
    ADAMOE_TRY(create(t));
    adamoe_adamw_state *state = adamoe_adamw_state_of(t->adamw);
    if (output->begun) {
        ADAMOE_TRY(adamoe_train_state_load(o->out, t->run, t->count, t->value, &t->start->router, state));
    }
    ADAMOE_TRY(adamoe_train_log_open(o->out, state->steps, o->schedule.steps, o->log_every, &t->log));
    ADAMOE_TRY(run_steps(t));
    ADAMOE_TRY(export(t));
    adamoe_train_state_remove(o->out);
    return adamoe_ok();
}

static adamoe_status train_on(const adamoe_train_options *options, adamoe_train_start *start,
                              const adamoe_train_output *output, adamoe_train_data *data)
{
    trainer t = {.options = *options, .start = start, .data = data};
    t.steps_per_epoch = (data->count + options->batch - 1) / options->batch;
    t.options.schedule.steps = options->steps != 0 ? options->steps : options->epochs * t.steps_per_epoch;
    const adamoe_status status = train(&t, output);
    free_trainer(&t);
    return status;
}

static adamoe_status run_in(const adamoe_train_options *options, const adamoe_train_output *output)
{
    adamoe_train_start start;
    adamoe_train_data data;
    ADAMOE_TRY(adamoe_train_start_open(options, &start));
    adamoe_status status = adamoe_train_data_read(options, &start.config, start.tokenizer, &data);
    if (status.code == ADAMOE_OK) {
        status = train_on(options, &start, output, &data);
        adamoe_train_data_free(&data);
    }
    adamoe_train_start_close(&start);
    return status;
}

adamoe_status adamoe_train_run(const adamoe_train_options *options)
{
    adamoe_train_output output;
    ADAMOE_TRY(adamoe_train_output_open(options, &output));
    if (output.finished) { /* only with --resume */
        printf("%s: the run is finished\n", options->out);
        adamoe_train_state_remove(options->out);
        return adamoe_ok();
    }
    if (options->resume) {
        adamoe_train_state_clean(options->out);
    }
    const adamoe_status status = run_in(options, &output);
    if (status.code != ADAMOE_OK) {
        adamoe_train_output_abandon(&output);
    }
    return status;
}
