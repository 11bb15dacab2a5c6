/*
 * From a question to tokens, as the evaluation harness does it (reference/README.md section 7).
 */
#include "eval/prompt.h"

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

static bool append_context(const adamoe_question *q, adamoe_format format, text *out)
{
    if (q->prompt != NULL) {
        return append(out, "%s", q->prompt);
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

/* Continuation bytes of UTF-8 are 10xxxxxx; every other byte begins a code point. */
static size_t code_points(const char *utf8)
{
    size_t count = 0;
    for (; *utf8 != '\0'; ++utf8) {
        count += ((unsigned char)*utf8 & 0xc0u) != 0x80u;
    }
    return count;
}

static adamoe_status encode(const adamoe_tokenizer *tokenizer, const adamoe_prompt_rule *rule,
                            const text *input, adamoe_tokens *out)
{
    if (rule->bos == ADAMOE_BOS_ALWAYS) {
        if (!rule->has_bos) {
            return adamoe_error(ADAMOE_BAD_INPUT, "--bos: the model's config names no bos_token_id");
        }
        ADAMOE_TRY(adamoe_tokens_append(out, rule->bos_id));
    }
    /* "always" adds the token itself, so that a post-processor that adds it too cannot double it. */
    return adamoe_tokenizer_encode(tokenizer, input->data, input->length, rule->bos == ADAMOE_BOS_AUTO, out);
}

static adamoe_status append_range(const adamoe_tokens *from, size_t first, size_t end, adamoe_tokens *out)
{
    for (size_t i = first; i < end; ++i) {
        ADAMOE_TRY(adamoe_tokens_append(out, from->id[i]));
    }
    return adamoe_ok();
}

/* Splits the tokens of prompt and choice together; `whole` includes the prompt's. */
static adamoe_status split(const adamoe_tokens *shared, const adamoe_tokens *whole, size_t context,
                           adamoe_choice_tokens *out)
{
    if (whole->count <= shared->count) {
        return adamoe_error(ADAMOE_BAD_INPUT, "it adds no token to the prompt");
    }
    const size_t tail = whole->count - shared->count;
    if (tail > context) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%zu tokens, the model's context is %zu", tail, context);
    }
    ADAMOE_TRY(append_range(whole, shared->count, whole->count, &out->continuation));
    if (whole->count <= context + 1) {
        return adamoe_ok();
    }
    const size_t kept = context + 1 - tail;
    return append_range(shared, shared->count - kept, shared->count, &out->alone);
}

static adamoe_status encode_choice(const adamoe_question *question, const adamoe_tokenizer *tokenizer,
                                   const adamoe_prompt_rule *rule, const adamoe_tokens *shared, size_t choice,
                                   adamoe_choice_tokens *out)
{
    text both = {0}, tail = {0};
    adamoe_tokens whole = {0};
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "out of memory");
    if (append_context(question, rule->format, &both) &&
        append_continuation(question, rule->format, choice, &both) &&
        append_continuation(question, rule->format, choice, &tail)) {
        out->characters = code_points(tail.data[0] == ' ' ? tail.data + 1 : tail.data);
        status = encode(tokenizer, rule, &both, &whole);
    }
    if (status.code == ADAMOE_OK) {
        status = split(shared, &whole, rule->context, out);
    }
    free(both.data);
    free(tail.data);
    adamoe_tokens_free(&whole);
    if (status.code != ADAMOE_OK) {
        return adamoe_error(status.code, "choice %zu: %.400s", choice + 1, status.message);
    }
    return status;
}

static adamoe_status encode_question(const adamoe_question *question, const adamoe_tokenizer *tokenizer,
                                     const adamoe_prompt_rule *rule, adamoe_prompt *out)
{
    text context = {0};
    adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "out of memory");
    if (append_context(question, rule->format, &context)) {
        status = encode(tokenizer, rule, &context, &out->shared);
    }
    free(context.data);
    ADAMOE_TRY(status);
    if (out->shared.count == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "the prompt has no token");
    }
    for (size_t c = 0; c < out->choices; ++c) {
        ADAMOE_TRY(encode_choice(question, tokenizer, rule, &out->shared, c, &out->choice[c]));
    }
    return adamoe_ok();
}

static adamoe_status check(const adamoe_question *question, const adamoe_prompt_rule *rule)
{
    if (rule->format != ADAMOE_FORMAT_LETTER) {
        return adamoe_ok();
    }
    if (question->stem == NULL || question->prompt != NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--format letter: a sample log fixes its own prompts");
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
