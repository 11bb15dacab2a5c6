/*
 * The options of training from scratch, of fine-tuning and of low-rank adapters: how they are spelled and read.
 */
#include "train/options.h"
#include "balance_loss.h"

#include <stdlib.h>
#include <string.h>

const char *const adamoe_objective_names[2] = {"answer", "all"};
const char *const adamoe_balance_names[3] = {"null_averaged", "switch", "released"};
const char *const adamoe_pooling_names[2] = {"pooled", "summed"};
const char *const adamoe_schedule_names[2] = {"cosine", "constant"};
static const char *const dtype_names[2] = {"bf16", "f32"};

/* Not given: adamoe_train_fill_defaults decides. */
#define POOLING_AS_USUAL ((adamoe_balance_pooling)(ADAMOE_BALANCE_SUMMED + 1))

enum {
    OPTION_MODEL = 1,
    OPTION_CONFIG,
    OPTION_TOKENIZER,
    OPTION_CORPUS,
    OPTION_QUESTIONS,
    OPTION_FORMAT,
    OPTION_BOS,
    OPTION_OBJECTIVE,
    OPTION_LIMIT,
    OPTION_EPOCHS,
    OPTION_STEPS,
    OPTION_BATCH,
    OPTION_RATE,
    OPTION_SCHEDULE,
    OPTION_WARM_UP,
    OPTION_DECAY,
    OPTION_CLIP,
    OPTION_BETAS,
    OPTION_BALANCE,
    OPTION_POOLING,
    OPTION_ALPHA,
    OPTION_LORA,
    OPTION_LORA_ALPHA,
    OPTION_LORA_EXPERTS,
    OPTION_DTYPE,
    OPTION_CHECKPOINT,
    OPTION_RESUME,
    OPTION_LOG_EVERY,
};

static const struct argp_option options_list[] = {
    {0, 0, 0, 0, "Where to start:", 1},
    {"model", OPTION_MODEL, "DIR", 0, "Fine-tune this Hugging Face folder", 1},
    {"config", OPTION_CONFIG, "FILE", 0, "Or from scratch: a config.json", 1},
    {"tokenizer", OPTION_TOKENIZER, "FILE", 0,
     "With --config (default: learn as many entries as the config's vocab_size says from the texts)", 1},
    {0, 0, 0, 0, "What to learn:", 2},
    {"corpus", OPTION_CORPUS, "FILE", 0, "Texts, one a line; all tokens are learned", 2},
    {"questions", OPTION_QUESTIONS, "FILE", 0, "Questions with their right answers, as `adamoe eval'", 2},
    {"format", OPTION_FORMAT, "cloze|letter", 0, "Of questions (default: cloze)", 2},
    {"bos", OPTION_BOS, "auto|always|never", 0, "Begin-of-sequence token (default: as the tokenizer says)",
     2},
    {"objective", OPTION_OBJECTIVE, "answer|all", 0, "Tokens of questions (default: the answer's)", 2},
    {"limit", OPTION_LIMIT, "N", 0, "Only the first N questions", 2},
    {0, 0, 0, 0, "How:", 3},
    {"epochs", OPTION_EPOCHS, "N", 0, "Times through everything (default: 1)", 3},
    {"steps", OPTION_STEPS, "N", 0, "Or a number of steps", 3},
    {"batch", OPTION_BATCH, "N", 0, "Texts and questions of a step (default: 32)", 3},
    {"learning-rate", OPTION_RATE, "X", 0, "At its peak (default: 0.001)", 3},
    {"schedule", OPTION_SCHEDULE, "cosine|constant", 0, "Of the learning rate (default: cosine, to 0)", 3},
    {"warm-up", OPTION_WARM_UP, "N", 0, "Steps of its linear rise (default: 0)", 3},
    {"weight-decay", OPTION_DECAY, "X", 0, "AdamW's, of matrices (default: 0.01)", 3},
    {"clip-norm", OPTION_CLIP, "X", 0, "Largest norm of the gradient, 0 for any (default: 1)", 3},
    {"betas", OPTION_BETAS, "B1,B2", 0, "AdamW's (default: 0.9,0.999)", 3},
    {"balance-loss", OPTION_BALANCE, "null_averaged|switch|released", 0, "Its form (default: null_averaged)",
     3},
    {"balance-pooling", OPTION_POOLING, "pooled|summed", 0,
     "Over layers (default: pooled; of LoRA experts summed)", 3},
    {"balance-alpha", OPTION_ALPHA, "A,B,...", 0,
     "Its factor in the first, second, ... epoch and from then on (default: 0.02,0.0001; of LoRA experts "
     "0.001)",
     3},
    {"lora", OPTION_LORA, "RANK", 0,
     "Train adapters of gate, gate2, w1, w2 and w3 alone; of a dense model, of its seven maps a layer", 3},
    {"lora-experts", OPTION_LORA_EXPERTS, "N", 0,
     "On each of those maps N adapters (rank 8 unless --lora says otherwise) with a router and "
     "--null-experts "
     "null ones; --top-k of them (default: 2) for a token",
     3},
    {"lora-alpha", OPTION_LORA_ALPHA, "X", 0, "Their scale is X / RANK (default: 2 RANK)", 3},
    {0, 0, 0, 0, "Results:", 4},
    {"output", 'o', "DIR", 0, "Hugging Face folder to make, and log.jsonl in it (required)", 4},
    {"dtype", OPTION_DTYPE, "bf16|f32", 0, "Of the weights in it (default: bf16; of adapters f32)", 4},
    {"checkpoint-every", OPTION_CHECKPOINT, "N", 0, "Steps from one saved state to the next (default: 100)",
     4},
    {"resume", OPTION_RESUME, 0, 0, "Go on where the last saved state in DIR ends", 4},
    {"log-every", OPTION_LOG_EVERY, "N", 0, "Steps from one line of progress to the next (default: 10)", 4},
    {0},
};

static error_t parse_start(int key, char *value, struct argp_state *state)
{
    adamoe_train_options *o = state->input;
    switch (key) {
    case OPTION_MODEL:
        o->model = value;
        return 0;
    case OPTION_CONFIG:
        o->config = value;
        return 0;
    case OPTION_TOKENIZER:
        o->tokenizer = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_data(int key, char *value, struct argp_state *state)
{
    adamoe_train_options *o = state->input;
    switch (key) {
    case OPTION_CORPUS:
        o->corpus = value;
        return 0;
    case OPTION_QUESTIONS:
        o->questions = value;
        return 0;
    case OPTION_FORMAT:
        o->format = (adamoe_format)adamoe_parse_choice(state, "--format", value, adamoe_format_names, 2);
        return 0;
    case OPTION_BOS:
        o->bos = (adamoe_bos)adamoe_parse_choice(state, "--bos", value, adamoe_bos_names, 3);
        return 0;
    case OPTION_OBJECTIVE:
        o->objective = (adamoe_train_objective)adamoe_parse_choice(state, "--objective", value,
                                                                   adamoe_objective_names, 2);
        return 0;
    case OPTION_LIMIT:
        o->limit = (size_t)adamoe_parse_count(state, "--limit", value, 1, SIZE_MAX);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static double parse_between(struct argp_state *state, const char *option, const char *value, double low,
                            double high)
{
    const double number = adamoe_parse_number(state, option, value);
    if (!(number >= low && number <= high)) {
        argp_error(state, "%s: `%s' is not within %g .. %g", option, value, low, high);
    }
    return number;
}

/* Numbers separated by commas, at most `most`; returns how many. */
static size_t parse_list(struct argp_state *state, const char *option, const char *text, double high,
                         double *out, size_t most)
{
    char buffer[256], *rest = NULL;
    size_t count = 0;
    if ((size_t)snprintf(buffer, sizeof buffer, "%s", text) >= sizeof buffer) {
        argp_error(state, "%s: too long", option);
    }
    for (char *part = strtok_r(buffer, ",", &rest); part != NULL; part = strtok_r(NULL, ",", &rest)) {
        if (count == most) {
            argp_error(state, "%s: more than %zu numbers", option, most);
        }
        out[count++] = parse_between(state, option, part, 0.0, high);
    }
    if (count == 0) {
        argp_error(state, "%s: no number", option);
    }
    return count;
}

static error_t parse_optimiser(int key, char *value, struct argp_state *state)
{
    adamoe_train_options *o = state->input;
    double betas[2];
    switch (key) {
    case OPTION_RATE:
        o->schedule.peak = parse_between(state, "--learning-rate", value, 0.0, 1e3);
        return 0;
    case OPTION_SCHEDULE:
        o->schedule.form =
            (adamoe_schedule_form)adamoe_parse_choice(state, "--schedule", value, adamoe_schedule_names, 2);
        return 0;
    case OPTION_WARM_UP:
        o->schedule.warm_up = (size_t)adamoe_parse_count(state, "--warm-up", value, 0, 1u << 30);
        return 0;
    case OPTION_DECAY:
        o->adamw.decay = parse_between(state, "--weight-decay", value, 0.0, 1e3);
        return 0;
    case OPTION_CLIP:
        o->adamw.clip_norm = parse_between(state, "--clip-norm", value, 0.0, 1e9);
        return 0;
    case OPTION_BETAS:
        if (parse_list(state, "--betas", value, 0.99999, betas, 2) != 2) {
            argp_error(state, "--betas: `%s' is not two numbers", value);
        }
        o->adamw.beta1 = betas[0];
        o->adamw.beta2 = betas[1];
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_training(int key, char *value, struct argp_state *state)
{
    adamoe_train_options *o = state->input;
    switch (key) {
    case OPTION_EPOCHS:
        o->epochs = (size_t)adamoe_parse_count(state, "--epochs", value, 1, 1u << 20);
        return 0;
    case OPTION_STEPS:
        o->steps = (size_t)adamoe_parse_count(state, "--steps", value, 1, 1u << 30);
        return 0;
    case OPTION_BATCH:
        o->batch = (size_t)adamoe_parse_count(state, "--batch", value, 1, 1u << 20);
        return 0;
    case OPTION_BALANCE:
        o->balance =
            (adamoe_balance_form)adamoe_parse_choice(state, "--balance-loss", value, adamoe_balance_names, 3);
        return 0;
    case OPTION_POOLING:
        o->pooling = (adamoe_balance_pooling)adamoe_parse_choice(state, "--balance-pooling", value,
                                                                 adamoe_pooling_names, 2);
        return 0;
    case OPTION_ALPHA:
        o->alphas = parse_list(state, "--balance-alpha", value, 1e3, o->alpha, ADAMOE_TRAIN_ALPHAS);
        return 0;
    case OPTION_LORA:
        o->lora_rank = (size_t)adamoe_parse_count(state, "--lora", value, 1, 1u << 16);
        return 0;
    case OPTION_LORA_EXPERTS:
        o->lora_experts = (size_t)adamoe_parse_count(state, "--lora-experts", value, 1, 1u << 16);
        return 0;
    case OPTION_LORA_ALPHA:
        o->lora_alpha = parse_between(state, "--lora-alpha", value, 1e-6, 1e6);
        return 0;
    default:
        return parse_optimiser(key, value, state);
    }
}

static error_t parse_results(int key, char *value, struct argp_state *state)
{
    adamoe_train_options *o = state->input;
    switch (key) {
    case 'o':
        o->out = value;
        return 0;
    case OPTION_DTYPE:
        o->dtype =
            adamoe_parse_choice(state, "--dtype", value, dtype_names, 2) == 0 ? ADAMOE_BF16 : ADAMOE_F32;
        return 0;
    case OPTION_CHECKPOINT:
        o->checkpoint_every = (size_t)adamoe_parse_count(state, "--checkpoint-every", value, 1, 1u << 30);
        return 0;
    case OPTION_RESUME:
        o->resume = true;
        return 0;
    case OPTION_LOG_EVERY:
        o->log_every = (size_t)adamoe_parse_count(state, "--log-every", value, 1, 1u << 30);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void check_together(const adamoe_train_options *o, struct argp_state *state)
{
    if ((o->model == NULL) == (o->config == NULL)) {
        argp_error(state, "either --model or --config is required");
    }
    if (o->tokenizer != NULL && o->config == NULL) {
        argp_error(state, "--tokenizer goes with --config; a model brings its own");
    }
    if (o->corpus == NULL && o->questions == NULL) {
        argp_error(state, "--corpus or --questions is required");
    }
    if (o->out == NULL) {
        argp_error(state, "-o is required");
    }
    if (o->common.numa != ADAMOE_NUMA_LOCAL || o->common.topology != NULL) {
        argp_error(state, "--numa and --numa-topology: training places no weights; it runs where the system "
                          "puts it");
    }
    if (o->common.plugin != NULL || o->common.commands > 0) {
        argp_error(state,
                   "--plugin and --command: training computes by code of its own, which no kernel replaces");
    }
    if (o->lora_rank == 0 && o->lora_experts == 0 && o->lora_alpha > 0.0) {
        argp_error(state, "--lora-alpha goes with --lora or --lora-experts");
    }
    if (o->router.router != NULL && (o->lora_rank > 0 || o->lora_experts > 0)) {
        argp_error(state, "--router: adapters do not go with it");
    }
    if (o->lora_experts > 0 && o->model == NULL) {
        argp_error(state, "--lora-experts goes with --model");
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    adamoe_train_options *o = state->input;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->selection;
        state->child_inputs[2] = &o->router;
        return 0;
    }
    if (key == ARGP_KEY_END) {
        check_together(o, state);
        return 0;
    }
    error_t (*const parse[])(int, char *, struct argp_state *) = {parse_start, parse_data, parse_training,
                                                                  parse_results};
    for (size_t i = 0; i < sizeof parse / sizeof *parse; ++i) {
        if (parse[i](key, value, state) == 0) {
            return 0;
        }
    }
    return ARGP_ERR_UNKNOWN;
}

static const struct argp_child children[] = {{&adamoe_machine_argp, 0, 0, 0},
                                             {&adamoe_selection_argp, 0, NULL, 1},
                                             {&adamoe_router_argp, 0, NULL, 1},
                                             {0}};

const struct argp adamoe_train_argp = {
    .options = options_list,
    .parser = parse_option,
    .doc = "Trains a model with null experts, from scratch or from a checkpoint, in float32. The same seed "
           "gives the same bits for any number of threads, and after --resume."
           "\vExample, in the project's folder:\n"
           "  adamoe train --model datasets/tiny-mixtral --null-experts 8 --top-k 3 \\\n"
           "      --questions datasets/wordnet/train.jsonl --limit 100 \\\n"
           "      --epochs 2 -o tuned\n"
           "  adamoe eval --model tuned \\\n"
           "      --questions datasets/wordnet/dev.jsonl --limit 100\n",
    .children = children,
};

adamoe_train_options adamoe_train_defaults(void)
{
    return (adamoe_train_options){.common = {.seed = 1},
                                  .limit = SIZE_MAX,
                                  .selection = ADAMOE_SELECTION_AS_GIVEN,
                                  .epochs = 1,
                                  .batch = 32,
                                  .schedule = {.peak = 1e-3},
                                  .adamw = {0.9, 0.999, 1e-8, 0.01, 1.0},
                                  .pooling = POOLING_AS_USUAL,
                                  .dtype = ADAMOE_TRAIN_USUAL_DTYPE,
                                  .checkpoint_every = 100,
                                  .log_every = 10};
}

/* LoRA experts have the paper's rank, and the balance loss of its code for them. */
void adamoe_train_fill_defaults(adamoe_train_options *o)
{
    const bool experts = o->lora_experts > 0;
    if (experts && o->lora_rank == 0) {
        o->lora_rank = 8;
    }
    if (o->lora_rank > 0 && o->lora_alpha == 0.0) {
        o->lora_alpha = 2.0 * (double)o->lora_rank;
    }
    if (o->pooling == POOLING_AS_USUAL) {
        o->pooling = experts ? ADAMOE_BALANCE_SUMMED : ADAMOE_BALANCE_POOLED;
    }
    if (o->alphas == 0) {
        o->alpha[0] = experts ? 0.001 : 0.02;
        o->alpha[1] = experts ? 0.001 : 0.0001;
        o->alphas = 2;
    }
}
