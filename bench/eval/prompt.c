/*
 * From a question to tokens, as the evaluation harness does it (reference/README.md section 7).
 */
#include "eval/prompt.h"
#include "files/utf8.h"
#include "program/model_folder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const adamoe_format_names[2] = {"cloze", "letter"};
const char *const adamoe_bos_names[3] = {"auto", "always", "never"};

/* A growing text. */
typedef struct text {
    char *data;
    size_t length;
} text;

__attribute__((format(printf, 2, 3))) static bool append(text *out, const char *format, ...)
{
    char *more = NULL;
    va_list arguments;
    va_start(arguments, format);
    const int length = vasprintf(&more, format, arguments);
    va_end(arguments);
    char *joined = length < 0 ? NULL : realloc(out->data, out->length + (size_t)length + 1);
    if (joined == NULL) {
        free(length < 0 ? NULL : more);
        return false;
    }
    memcpy(joined + out->length, more, (size_t)length + 1);
    free(more);
    out->data = joined;
    out->length += (size_t)length;
    return true;
}

static char letter(size_t choice)
{
    return (char)('A' + (int)choice);
}

/* Of a choice: a sample log may have another context for each. */
static bool append_context(const adamoe_question *q, adamoe_format format, size_t choice, text *out)
{
    if (q->prompt != NULL) {
        return append(out, "%s", q->prompt[choice]);
    }
    bool done = append(out, "Question: %s\n", q->stem);
    for (size_t c = 0; format == ADAMOE_FORMAT_LETTER && done && c < q->choices; ++c) {
        done = append(out, "%c. %s\n", letter(c), q->text[c]);
    }
    return done && append(out, "Answer:");
}

static bool append_continuation(const adamoe_question *q, adamoe_format format, size_t choice, text *out)
{
    if (q->continuation != NULL) {
        return append(out, "%s", q->continuation[choice]);
    }
    return format == ADAMOE_FORMAT_LETTER ? append(out, " %c", letter(choice))
                                          : append(out, " %s", q->text[choice]);
}

/* Unicode code points of what is chosen: the choice's text, or its letter. */
static size_t choice_length(const adamoe_question *q, adamoe_format format, size_t choice)
{
    return format == ADAMOE_FORMAT_LETTER ? 1 : adamoe_utf8_count(q->text[choice], strlen(q->text[choice]));
}

/* The length of a text without the whitespace at its end. */
static size_t length_without_space(const text *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->length;) {
        uint32_t character;
        i += adamoe_utf8_next(t->data + i, t->length - i, &character);
        kept = adamoe_is_python_space(character) ? kept : i;
    }
    return kept;
}

/* ------------------------------------------------------------------------------------------------- tokens */

static adamoe_status append_range(const adamoe_tokens *from, size_t first, size_t end, adamoe_tokens *out)
{
    for (size_t i = first; i < end; ++i) {
        ADAMOE_TRY(adamoe_tokens_append(out, from->id[i]));
    }
    return adamoe_ok();
}

/* "auto" is what the post-processor does, but where the text begins with the token that it puts first, as a
 * chat template's does: then nothing is added. */
static adamoe_status encode_auto(const adamoe_tokenizer *tokenizer, const text *input, adamoe_tokens *out)
{
    adamoe_tokens plain = {0};
    ADAMOE_TRY(adamoe_tokenizer_encode(tokenizer, input->data, input->length, true, out));
    if (out->count < 2 || out->id[0] != out->id[1]) {
        return adamoe_ok();
    }
    adamoe_status status = adamoe_tokenizer_encode(tokenizer, input->data, input->length, false, &plain);
    if (status.code == ADAMOE_OK && plain.count < out->count && plain.id[0] == out->id[0]) {
        adamoe_tokens_free(out);
        *out = plain;
        return status;
    }
    adamoe_tokens_free(&plain);
    return status;
}

/* "always" adds the token itself, so that neither a post-processor that adds it too nor a text that begins
 * with it can double it. */
static adamoe_status encode_always(const adamoe_tokenizer *tokenizer, const adamoe_prompt_rule *rule,
                                   const text *input, adamoe_tokens *out)
{
    adamoe_tokens plain = {0};
    if (!rule->has_bos) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--bos: the model's config names no bos_token_id");
    }
    adamoe_status status = adamoe_tokenizer_encode(tokenizer, input->data, input->length, false, &plain);
    if (status.code == ADAMOE_OK && (plain.count == 0 || plain.id[0] != rule->bos_id)) {
        status = adamoe_tokens_append(out, rule->bos_id);
    }
    if (status.code == ADAMOE_OK) {
        status = append_range(&plain, 0, plain.count, out);
    }
    adamoe_tokens_free(&plain);
    return status;
}

static adamoe_status encode(const adamoe_tokenizer *tokenizer, const adamoe_prompt_rule *rule,
                            const text *input, adamoe_tokens *out)
{
    adamoe_status status;
    switch (rule->bos) {
    case ADAMOE_BOS_ALWAYS:
        status = encode_always(tokenizer, rule, input, out);
        break;
    case ADAMOE_BOS_NEVER:
        status = adamoe_tokenizer_encode(tokenizer, input->data, input->length, false, out);
        break;
    default:
        status = encode_auto(tokenizer, input, out);
        break;
    }
    return status.code == ADAMOE_OK ? adamoe_model_folder_knows(rule->vocab_size, out) : status;
}

/* The tokens of the context less the whitespace at its end, which the harness scores as the beginning of the
 * continuation (_encode_pair). */
static adamoe_status encode_context(const adamoe_question *question, const adamoe_tokenizer *tokenizer,
                                    const adamoe_prompt_rule *rule, size_t choice, adamoe_tokens *out)
{
    text context = {0};
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "out of memory");
    if (append_context(question, rule->format, choice, &context)) {
        context.length = length_without_space(&context);
        status = encode(tokenizer, rule, &context, out);
    }
    free(context.data);
    ADAMOE_TRY(status);
    return out->count > 0 ? status : adamoe_error(ADAMOE_BAD_INPUT, "the prompt has no token");
}

/* Splits the tokens of prompt and choice together; `whole` includes the prompt's. */
static adamoe_status split(const adamoe_tokens *prompt, const adamoe_tokens *whole, size_t context,
                           bool shared, adamoe_choice_tokens *out)
{
    if (whole->count <= prompt->count) {
        return adamoe_error(ADAMOE_BAD_INPUT, "it adds no token to the prompt");
    }
    const size_t tail = whole->count - prompt->count;
    if (tail > context) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%zu tokens, the model's context is %zu", tail, context);
    }
    ADAMOE_TRY(append_range(whole, prompt->count, whole->count, &out->continuation));
    out->cut = whole->count > context + 1;
    if (!out->cut && shared) {
        return adamoe_ok();
    }
    const size_t kept = out->cut ? context + 1 - tail : prompt->count;
    return append_range(prompt, prompt->count - kept, prompt->count, &out->alone);
}

static adamoe_status encode_choice(const adamoe_question *question, const adamoe_tokenizer *tokenizer,
                                   const adamoe_prompt_rule *rule, const adamoe_tokens *prompt, size_t choice,
                                   bool shared, adamoe_choice_tokens *out)
{
    text both = {0};
    adamoe_tokens whole = {0};
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "out of memory");
    if (append_context(question, rule->format, choice, &both) &&
        append_continuation(question, rule->format, choice, &both)) {
        out->characters = choice_length(question, rule->format, choice);
        status = encode(tokenizer, rule, &both, &whole);
    }
    if (status.code == ADAMOE_OK) {
        status = split(prompt, &whole, rule->context, shared, out);
    }
    free(both.data);
    adamoe_tokens_free(&whole);
    return status;
}

/* A choice with a context of its own. */
static adamoe_status encode_alone(const adamoe_question *question, const adamoe_tokenizer *tokenizer,
                                  const adamoe_prompt_rule *rule, size_t choice, adamoe_choice_tokens *out)
{
    adamoe_tokens own = {0};
    adamoe_status status = encode_context(question, tokenizer, rule, choice, &own);
    if (status.code == ADAMOE_OK) {
        status = encode_choice(question, tokenizer, rule, &own, choice, false, out);
    }
    adamoe_tokens_free(&own);
    return status;
}

static bool shares_prompt(const adamoe_question *question)
{
    for (size_t c = 1; question->prompt != NULL && c < question->choices; ++c) {
        if (strcmp(question->prompt[c], question->prompt[0]) != 0) {
            return false;
        }
    }
    return true;
}

static adamoe_status encode_question(const adamoe_question *question, const adamoe_tokenizer *tokenizer,
                                     const adamoe_prompt_rule *rule, adamoe_prompt *out)
{
    const bool shared = shares_prompt(question);
    if (shared) {
        ADAMOE_TRY(encode_context(question, tokenizer, rule, 0, &out->shared));
    }
    for (size_t c = 0; c < out->choices; ++c) {
        const adamoe_status status =
            shared ? encode_choice(question, tokenizer, rule, &out->shared, c, true, &out->choice[c])
                   : encode_alone(question, tokenizer, rule, c, &out->choice[c]);
        if (status.code != ADAMOE_OK) {
            return adamoe_error(status.code, "choice %zu: %.400s", c + 1, status.message);
        }
    }
    return adamoe_ok();
}

static adamoe_status check(const adamoe_question *question, const adamoe_prompt_rule *rule)
{
    if (rule->format != ADAMOE_FORMAT_LETTER) {
        return adamoe_ok();
    }
    if (question->stem == NULL || question->prompt != NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--format letter: a sample log and a task fix their own prompts");
    }
    if (question->choices > 26) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--format letter: %zu choices are more than the letters",
                            question->choices);
    }
    return adamoe_ok();
}

adamoe_status adamoe_prompt_create(const adamoe_question *question, const adamoe_tokenizer *tokenizer,
                                   const adamoe_prompt_rule *rule, adamoe_prompt *out)
{
    *out = (adamoe_prompt){.choices = question->choices};
    adamoe_status status = check(question, rule);
    if (status.code == ADAMOE_OK) {
        out->choice = calloc(question->choices, sizeof *out->choice);
        status = out->choice == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "out of memory")
                                     : encode_question(question, tokenizer, rule, out);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_prompt_free(out);
        return adamoe_error(status.code, "question %s: %.400s", question->id, status.message);
    }
    return status;
}

void adamoe_prompt_free(adamoe_prompt *prompt)
{
    for (size_t c = 0; c < prompt->choices && prompt->choice != NULL; ++c) {
        adamoe_tokens_free(&prompt->choice[c].continuation);
        adamoe_tokens_free(&prompt->choice[c].alone);
    }
    free(prompt->choice);
    adamoe_tokens_free(&prompt->shared);
    *prompt = (adamoe_prompt){0};
}
