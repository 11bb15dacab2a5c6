/*
 * From a question to tokens: the prompt that its choices share, and what of each choice is scored
 * (reference/README.md section 7).
 */
#ifndef ADAMOE_EVAL_PROMPT_H
#define ADAMOE_EVAL_PROMPT_H

#include "questions.h"
#include "tokenizer/tokenizer.h"

typedef enum adamoe_format {
    ADAMOE_FORMAT_CLOZE = 0,  /* `Question: Q\nAnswer:` and ` CHOICE` */
    ADAMOE_FORMAT_LETTER = 1, /* the choices lettered in the prompt, and ` A`, ` B`, ... */
} adamoe_format;

typedef enum adamoe_bos {
    ADAMOE_BOS_AUTO = 0,   /* as the tokenizer's post-processor says */
    ADAMOE_BOS_ALWAYS = 1, /* the model's begin-of-sequence token first */
    ADAMOE_BOS_NEVER = 2,  /* no special tokens */
} adamoe_bos;

/* What the command line and results call them, in the order of their enumerations. */
extern const char *const adamoe_format_names[2];
extern const char *const adamoe_bos_names[3];

typedef struct adamoe_prompt_rule {
    adamoe_format format;
    adamoe_bos bos;
    bool has_bos;      /* the model names such a token ... */
    uint32_t bos_id;   /* ... and it is this one */
    size_t context;    /* tokens that the model can take */
    size_t vocab_size; /* and how many of them it knows */
} adamoe_prompt_rule;

typedef struct adamoe_choice_tokens {
    adamoe_tokens continuation; /* at least one token: what is scored */
    adamoe_tokens alone;        /* where the whole is too long, or contexts differ: its own; else empty */
    bool cut;                   /* the whole was too long: the beginning of its context is left out */
    size_t characters;          /* Unicode code points of the choice, without the blank before it */
} adamoe_choice_tokens;

typedef struct adamoe_prompt {
    adamoe_tokens shared; /* at least one token; none where every choice has a context of its own */
    size_t choices;
    adamoe_choice_tokens *choice; /* [choices] */
} adamoe_prompt;

/* Whitespace at the end of the prompt counts to the continuation. That is the tail of the tokens of prompt and
 * choice together, after as many tokens as the prompt alone has. Too long a whole keeps its last context + 1 tokens. Errors (BAD_INPUT): a prompt without
 * a token, a choice that adds none or is longer than the context, more than 26 choices with letters, --bos
 * always without such a token, invalid UTF-8. */
adamoe_status adamoe_prompt_create(const adamoe_question *question, const adamoe_tokenizer *tokenizer,
                                   const adamoe_prompt_rule *rule, adamoe_prompt *out);
void adamoe_prompt_free(adamoe_prompt *prompt);

#endif
