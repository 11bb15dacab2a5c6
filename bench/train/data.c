/*
 * Texts and questions as sequences of tokens with targets.
 */
#include "train/data.h"
#include "program/model_folder.h"
#include "files/mapped_file.h"
#include "splitmix64.h"

#include <stdlib.h>
#include <string.h>

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "training data: out of memory");
}

void adamoe_train_data_free(adamoe_train_data *data)
{
    adamoe_tokens_free(&data->token);
    adamoe_tokens_free(&data->target);
    adamoe_tokens_free(&data->batch_token);
    adamoe_tokens_free(&data->batch_target);
    free(data->offset);
    free(data->order);
    free(data->batch_offset);
    *data = (adamoe_train_data){0};
}

/* Appends the sequence text[0 .. count - 2], each token with the next one as its target, but for those before
 * text[first]. */
static adamoe_status append(adamoe_train_data *data, const uint32_t *text, size_t count, size_t first)
{
    if (data->count + 2 > data->room) {
        const size_t room = 2 * data->room + 16;
        size_t *offset = realloc(data->offset, room * sizeof *offset);
        if (offset == NULL) {
            return out_of_memory();
        }
        data->offset = offset;
        data->room = room;
    }
    data->offset[0] = 0;
    for (size_t i = 0; i + 1 < count; ++i) {
        ADAMOE_TRY(adamoe_tokens_append(&data->token, text[i]));
        ADAMOE_TRY(adamoe_tokens_append(&data->target, i + 1 >= first ? text[i + 1] : ADAMOE_NO_TARGET));
    }
    data->offset[++data->count] = data->token.count;
    return adamoe_ok();
}

/* A text between the tokens that begin and end one. */
static adamoe_status encode(const adamoe_train_options *o, const adamoe_config *config,
                            const adamoe_tokenizer *tokenizer, const char *text, size_t length,
                            adamoe_tokens *out)
{
    if (o->bos == ADAMOE_BOS_ALWAYS) {
        if (!config->has_bos) {
            return adamoe_error(ADAMOE_BAD_INPUT, "--bos: the model's config names no bos_token_id");
        }
        ADAMOE_TRY(adamoe_tokens_append(out, config->bos));
    }
    ADAMOE_TRY(adamoe_tokenizer_encode(tokenizer, text, length, o->bos == ADAMOE_BOS_AUTO, out));
    ADAMOE_TRY(adamoe_model_folder_knows(config->vocab_size, out));
    return config->eos_count > 0 && (out->count == 0 || out->id[out->count - 1] != config->eos[0])
               ? adamoe_tokens_append(out, config->eos[0])
               : adamoe_ok();
}

static adamoe_status append_line(const adamoe_train_options *o, const adamoe_config *config,
                                 const adamoe_tokenizer *tokenizer, const char *text, size_t length,
                                 adamoe_train_data *data)
{
    adamoe_tokens tokens = {0};
    adamoe_status status = encode(o, config, tokenizer, text, length, &tokens);
    if (status.code == ADAMOE_OK && tokens.count < 2) {
        status = adamoe_error(ADAMOE_BAD_INPUT, "one token, and nothing to predict");
    }
    if (status.code == ADAMOE_OK) {
        const size_t most = config->context + 1;
        status = append(data, tokens.id, tokens.count < most ? tokens.count : most, 1);
    }
    adamoe_tokens_free(&tokens);
    return status;
}

/* A line of a text file, without its end. */
typedef adamoe_status line_function(void *context, const char *text, size_t length);

/* Calls `use` for every line that is not empty. */
static adamoe_status each_line(const char *path, line_function *use, void *context)
{
    adamoe_mapped_file file = {NULL, 0};
    adamoe_status status = adamoe_mapped_file_open(path, &file);
    const char *at = (const char *)file.data;
    size_t left = status.code == ADAMOE_OK ? file.size : 0;
    for (size_t line = 1; status.code == ADAMOE_OK && left > 0; ++line) {
        const char *end = memchr(at, '\n', left);
        const size_t whole = end == NULL ? left : (size_t)(end - at) + 1;
        const size_t length = whole - (end != NULL) - (whole > 1 && end != NULL && end[-1] == '\r');
        if (length > 0) {
            status = use(context, at, length);
        }
        if (status.code != ADAMOE_OK) {
            status = adamoe_error(status.code, "%s: line %zu: %.400s", path, line, status.message);
        }
        at += whole;
        left -= whole;
    }
    adamoe_mapped_file_close(&file);
    return status;
}

typedef struct corpus {
    const adamoe_train_options *options;
    const adamoe_config *config;
    const adamoe_tokenizer *tokenizer;
    adamoe_train_data *data;
} corpus;

static adamoe_status use_line(void *context, const char *text, size_t length)
{
    const corpus *c = context;
    return append_line(c->options, c->config, c->tokenizer, text, length, c->data);
}

/* Prompt and right answer; where they are too long for the model, as eval shortens them. */
static adamoe_status append_prompt(const adamoe_train_options *o, const adamoe_prompt *prompt, size_t gold,
                                   adamoe_train_data *data)
{
    const adamoe_choice_tokens *answer = &prompt->choice[gold];
    const adamoe_tokens *context = answer->alone.count > 0 ? &answer->alone : &prompt->shared;
    adamoe_tokens whole = {0};
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < context->count && status.code == ADAMOE_OK; ++i) {
        status = adamoe_tokens_append(&whole, context->id[i]);
    }
    for (size_t i = 0; i < answer->continuation.count && status.code == ADAMOE_OK; ++i) {
        status = adamoe_tokens_append(&whole, answer->continuation.id[i]);
    }
    if (status.code == ADAMOE_OK) {
        status =
            append(data, whole.id, whole.count, o->objective == ADAMOE_OBJECTIVE_ANSWER ? context->count : 1);
    }
    adamoe_tokens_free(&whole);
    return status;
}

static adamoe_status append_question(const adamoe_train_options *o, const adamoe_config *config,
                                     const adamoe_tokenizer *tokenizer, const adamoe_question *question,
                                     adamoe_train_data *data)
{
    const adamoe_prompt_rule rule = {.format = o->format,
                                     .bos = o->bos,
                                     .has_bos = config->has_bos,
                                     .bos_id = config->bos,
                                     .context = config->context,
                                     .vocab_size = config->vocab_size};
    adamoe_prompt prompt;
    ADAMOE_TRY(adamoe_prompt_create(question, tokenizer, &rule, &prompt));
    const adamoe_status status = append_prompt(o, &prompt, question->gold, data);
    adamoe_prompt_free(&prompt);
    return status;
}

static adamoe_status read_questions(const adamoe_train_options *o, const adamoe_config *config,
                                    const adamoe_tokenizer *tokenizer, adamoe_train_data *data)
{
    adamoe_questions *questions = NULL;
    ADAMOE_TRY(adamoe_questions_read(o->questions, &questions));
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < questions->count && i < o->limit && status.code == ADAMOE_OK; ++i) {
        status = append_question(o, config, tokenizer, &questions->question[i], data);
        if (status.code != ADAMOE_OK) {
            status = adamoe_error(status.code, "%s: %.400s", o->questions, status.message);
        }
    }
    adamoe_questions_free(questions);
    return status;
}

static adamoe_status read_all(const adamoe_train_options *o, const adamoe_config *config,
                              const adamoe_tokenizer *tokenizer, adamoe_train_data *data)
{
    if (o->corpus != NULL) {
        ADAMOE_TRY(each_line(o->corpus, use_line, &(corpus){o, config, tokenizer, data}));
    }
    if (o->questions != NULL) {
        ADAMOE_TRY(read_questions(o, config, tokenizer, data));
    }
    if (data->count == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: no text", o->corpus);
    }
    data->order = calloc(data->count, sizeof *data->order);
    data->batch_offset = calloc(o->batch + 1, sizeof *data->batch_offset);
    return data->order != NULL && data->batch_offset != NULL ? adamoe_ok() : out_of_memory();
}

adamoe_status adamoe_train_data_read(const adamoe_train_options *options, const adamoe_config *config,
                                     const adamoe_tokenizer *tokenizer, adamoe_train_data *out)
{
    *out = (adamoe_train_data){.epoch = SIZE_MAX};
    const adamoe_status status = read_all(options, config, tokenizer, out);
    if (status.code != ADAMOE_OK) {
        adamoe_train_data_free(out);
    }
    return status;
}

/* ----------------------------------------------------------------------------------- texts of a tokenizer */

static adamoe_status append_text(adamoe_train_texts *texts, const char *text, size_t length)
{
    if (texts->count == texts->room) {
        const size_t room = 2 * texts->room + 64;
        char **more = realloc(texts->text, room * sizeof *more);
        if (more == NULL) {
            return out_of_memory();
        }
        texts->text = more;
        texts->room = room;
    }
    char *copy = strndup(text, length);
    if (copy == NULL) {
        return out_of_memory();
    }
    texts->text[texts->count++] = copy;
    return adamoe_ok();
}

static adamoe_status copy_line(void *context, const char *text, size_t length)
{
    return append_text(context, text, length);
}

static adamoe_status read_question_texts(const char *path, adamoe_train_texts *out)
{
    adamoe_questions *questions = NULL;
    ADAMOE_TRY(adamoe_questions_read(path, &questions));
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < questions->count && status.code == ADAMOE_OK; ++i) {
        const adamoe_question *q = &questions->question[i];
        const char *stem = q->stem != NULL ? q->stem : q->prompt[q->gold];
        status = append_text(out, stem, strlen(stem));
        for (size_t c = 0; c < q->choices && status.code == ADAMOE_OK; ++c) {
            status = append_text(out, q->text[c], strlen(q->text[c]));
        }
    }
    adamoe_questions_free(questions);
    return status;
}

adamoe_status adamoe_train_texts_read(const adamoe_train_options *options, adamoe_train_texts *out)
{
    adamoe_status status = adamoe_ok();
    *out = (adamoe_train_texts){0};
    if (options->corpus != NULL) {
        status = each_line(options->corpus, copy_line, out);
    }
    if (status.code == ADAMOE_OK && options->questions != NULL) {
        status = read_question_texts(options->questions, out);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_train_texts_free(out);
    }
    return status;
}

void adamoe_train_texts_free(adamoe_train_texts *texts)
{
    for (size_t i = 0; i < texts->count; ++i) {
        free(texts->text[i]);
    }
    free(texts->text);
    *texts = (adamoe_train_texts){0};
}

/* ------------------------------------------------------------------------------------------------ batches */

/* Streams of the seed: weights begin at 0, epochs far from them. */
#define EPOCH_STREAM (UINT64_C(1) << 40)

static void shuffle(adamoe_train_data *data, uint64_t seed, size_t epoch)
{
    adamoe_splitmix64 random = adamoe_splitmix64_stream(seed, EPOCH_STREAM + epoch);
    for (size_t i = 0; i < data->count; ++i) {
        data->order[i] = i;
    }
    for (size_t i = data->count; i > 1; --i) {
        const size_t j = adamoe_splitmix64_below(&random, i), other = data->order[j];
        data->order[j] = data->order[i - 1];
        data->order[i - 1] = other;
    }
    data->epoch = epoch;
}

static adamoe_status append_sequence(adamoe_train_data *data, size_t sequence)
{
    for (size_t i = data->offset[sequence]; i < data->offset[sequence + 1]; ++i) {
        ADAMOE_TRY(adamoe_tokens_append(&data->batch_token, data->token.id[i]));
        ADAMOE_TRY(adamoe_tokens_append(&data->batch_target, data->target.id[i]));
    }
    return adamoe_ok();
}

adamoe_status adamoe_train_data_batch(adamoe_train_data *data, uint64_t seed, size_t epoch, size_t step,
                                      size_t batch, adamoe_training_batch *out)
{
    if (data->epoch != epoch) {
        shuffle(data, seed, epoch);
    }
    const size_t first = step * batch, left = data->count - first, count = left < batch ? left : batch;
    data->batch_token.count = data->batch_target.count = 0;
    for (size_t s = 0; s < count; ++s) {
        ADAMOE_TRY(append_sequence(data, data->order[first + s]));
        data->batch_offset[s + 1] = data->batch_token.count;
    }
    *out = (adamoe_training_batch){count, data->batch_offset, data->batch_token.id, data->batch_target.id};
    return adamoe_ok();
}
