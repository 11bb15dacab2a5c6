/*
 * A batch of some hundred tokens through the first layer of a model, by one kernel after the other.
 */
#include "eval/fastest_kernel.h"
#include "machine/clock.h"
#include "model/forward.h"
#include "numbers.h"
#include "program/json_output.h"
#include "program/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tokens of the measured vocabulary: the head, which is not run, is prepared for so many. */
#define VOCABULARY 1024

/* The model without all but its first layer and tokens. Its weights stay the model's. */
static adamoe_model first_layer(const adamoe_model *model)
{
    adamoe_model first = *model;
    first.config.layers = 1;
    first.config.vocab_size = model->config.vocab_size < VOCABULARY ? model->config.vocab_size : VOCABULARY;
    return first;
}

#define SEQUENCES ((size_t)(ADAMOE_CHOICE_TOKENS / ADAMOE_CHOICE_SEQUENCE))

typedef struct measured_batch {
    uint32_t token[ADAMOE_CHOICE_TOKENS];
    adamoe_segment segment[SEQUENCES];
} measured_batch;

/* A model of a shorter context has shorter ones, and as many. */
static size_t sequence_length(const adamoe_config *config)
{
    return config->context < ADAMOE_CHOICE_SEQUENCE ? config->context : ADAMOE_CHOICE_SEQUENCE;
}

static void make_batch(const adamoe_config *config, measured_batch *batch)
{
    const size_t length = sequence_length(config);
    for (size_t i = 0; i < ADAMOE_CHOICE_TOKENS; ++i) {
        batch->token[i] = (uint32_t)(i * 7919 % config->vocab_size);
    }
    for (size_t s = 0; s < SEQUENCES; ++s) {
        batch->segment[s] =
            (adamoe_segment){batch->token + s * ADAMOE_CHOICE_SEQUENCE, length, ADAMOE_NO_PARENT, length};
    }
}

static adamoe_status time_batch(adamoe_forward *forward, const measured_batch *batch, double *seconds)
{
    const adamoe_batch_hooks none = {.context = NULL};
    ADAMOE_TRY(adamoe_forward_batch(forward, batch->segment, SEQUENCES, &none));
    for (size_t i = 0; i < ADAMOE_CHOICE_REPETITIONS; ++i) {
        const double start = adamoe_now();
        ADAMOE_TRY(adamoe_forward_batch(forward, batch->segment, SEQUENCES, &none));
        const double took = adamoe_now() - start;
        *seconds = i == 0 || took < *seconds ? took : *seconds;
    }
    return adamoe_ok();
}

static adamoe_status time_kernel(const adamoe_kernel *kernel, const adamoe_model *first,
                                 const adamoe_machine *machine, const measured_batch *batch, double *seconds)
{
    adamoe_forward *forward = NULL;
    ADAMOE_TRY(adamoe_forward_create(kernel, first, machine->team, machine->placement, &machine->host,
                                     SIZE_MAX, &forward));
    const adamoe_status status = time_batch(forward, batch, seconds);
    adamoe_forward_free(forward);
    return status;
}

/* A kernel that fails here would fail in the evaluation: it is left out, with the reason. */
static void measure(const adamoe_registry *registry, const adamoe_model *model, const adamoe_machine *machine,
                    adamoe_kernel_choice *choice)
{
    const adamoe_model first = first_layer(model);
    measured_batch batch;
    make_batch(&first.config, &batch);
    for (size_t i = 0; i < choice->count; ++i) {
        adamoe_candidate *candidate = &choice->candidate[i];
        if (candidate->why_not[0] == '\0') {
            const char *from = NULL;
            const adamoe_kernel whole = adamoe_with_dense_product(registry, candidate->kernel, &from);
            const adamoe_status status = time_kernel(&whole, &first, machine, &batch, &candidate->seconds);
            if (status.code != ADAMOE_OK) {
                candidate->seconds = 0.0;
                (void)snprintf(candidate->why_not, sizeof candidate->why_not, "%.150s", status.message);
            }
        }
    }
}

static adamoe_status list_candidates(const adamoe_registry *registry, adamoe_kernel_choice *choice)
{
    choice->candidate = calloc(adamoe_registry_count(registry) + 1, sizeof *choice->candidate);
    if (choice->candidate == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "--dtype: out of memory");
    }
    for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        if (kernel->weight == choice->dtype && strcmp(kernel->name, "reference") != 0) {
            adamoe_candidate *candidate = &choice->candidate[choice->count++];
            const char *why_not = "";
            *candidate = (adamoe_candidate){.kernel = kernel};
            (void)adamoe_with_dense_product(registry, kernel, &candidate->dense_product);
            if (!kernel->supported(&why_not)) {
                (void)snprintf(candidate->why_not, sizeof candidate->why_not, "cannot run here: %.140s",
                               why_not);
            }
        }
    }
    return adamoe_ok();
}

/* Those that may be chosen; *last is one of them. */
static size_t count_able(const adamoe_kernel_choice *choice, size_t *last)
{
    size_t able = 0;
    for (size_t i = 0; i < choice->count; ++i) {
        if (choice->candidate[i].why_not[0] == '\0') {
            *last = i;
            ++able;
        }
    }
    return able;
}

static size_t fastest(const adamoe_kernel_choice *choice)
{
    double least = 0.0;
    for (size_t i = 0; i < choice->count; ++i) {
        const double seconds = choice->candidate[i].seconds;
        least = seconds > 0.0 && (least == 0.0 || seconds < least) ? seconds : least;
    }
    size_t chosen = 0;
    for (size_t i = 0; i < choice->count; ++i) {
        const double seconds = choice->candidate[i].seconds;
        if (seconds > 0.0 && seconds <= least * (1.0 + ADAMOE_CHOICE_MARGIN)) {
            chosen = i;
        }
    }
    return chosen;
}

static adamoe_status nothing_runs(const adamoe_kernel_choice *choice)
{
    char all[384] = "";
    for (size_t i = 0; i < choice->count; ++i) {
        const size_t used = strlen(all);
        (void)snprintf(all + used, sizeof all - used, "%s%s %s", i == 0 ? "" : "; ",
                       choice->candidate[i].kernel->name, choice->candidate[i].why_not);
    }
    return adamoe_error(ADAMOE_NOT_SUPPORTED, "--dtype: %s: no kernel can run here: %s",
                        adamoe_arithmetic_name(choice->dtype), all);
}

adamoe_status adamoe_choose_fastest(const adamoe_registry *registry, adamoe_arithmetic dtype,
                                    const adamoe_model *model, const adamoe_machine *machine,
                                    adamoe_kernel_choice *out)
{
    *out = (adamoe_kernel_choice){.dtype = dtype, .tokens = SEQUENCES * sequence_length(&model->config)};
    ADAMOE_TRY(list_candidates(registry, out));
    if (count_able(out, &out->chosen) > 1) {
        measure(registry, model, machine, out);
        if (count_able(out, &out->chosen) > 1) {
            out->chosen = fastest(out);
        }
    }
    size_t any = 0;
    return count_able(out, &any) > 0 ? adamoe_ok() : nothing_runs(out);
}

void adamoe_kernel_choice_free(adamoe_kernel_choice *choice)
{
    free(choice->candidate);
    *choice = (adamoe_kernel_choice){.count = 0};
}

void adamoe_print_choice(const adamoe_kernel_choice *choice)
{
    const char *const name = choice->candidate[choice->chosen].kernel->name;
    printf("Kernels with %s weights, on the first layer with %zu tokens, the least time of %d:\n",
           adamoe_arithmetic_name(choice->dtype), choice->tokens, ADAMOE_CHOICE_REPETITIONS);
    for (size_t i = 0; i < choice->count; ++i) {
        const adamoe_candidate *c = &choice->candidate[i];
        if (c->seconds > 0.0) {
            printf("  %-16s %.3f ms%s\n", c->kernel->name, 1e3 * c->seconds,
                   i == choice->chosen ? ", taken" : "");
        } else {
            printf("  %-16s %s\n", c->kernel->name,
                   c->why_not[0] != '\0' ? c->why_not : "the only one here, taken");
        }
    }
    printf("Other kernels give other bits: --kernel %s takes it on any day.\n", name);
}

json_t *adamoe_choice_json(const adamoe_kernel_choice *choice)
{
    json_t *list = json_array();
    for (size_t i = 0; i < choice->count; ++i) {
        const adamoe_candidate *c = &choice->candidate[i];
        json_array_append_new(
            list, json_pack("{s:o,s:o,s:o}", "kernel", adamoe_json_text(c->kernel->name), "seconds",
                            c->seconds > 0.0 ? json_real(c->seconds) : json_null(), "why_not",
                            c->why_not[0] == '\0' ? json_null() : adamoe_json_text(c->why_not)));
    }
    return json_pack("{s:s,s:I,s:i,s:o,s:o}", "dtype", adamoe_arithmetic_name(choice->dtype), "tokens",
                     (json_int_t)choice->tokens, "repetitions", ADAMOE_CHOICE_REPETITIONS, "chosen",
                     adamoe_json_text(choice->candidate[choice->chosen].kernel->name), "candidates", list);
}
