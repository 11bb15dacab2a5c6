/*
 * Pre-tokenizing: a text is cut into words, each of which is merged by itself. Steps follow each other, each
 * on the words of the one before: Split, Digits, ByteLevel, Metaspace. How they are read is in
 * tokenizer/pre_read.c.
 *
 * Words are passed on as they are found, one step calling the next, so that no list of them is kept.
 */
#include "tokenizer/parts.h"
#include "files/utf8.h"

#include <string.h>

/* One text on its way through the steps. */
typedef struct walk {
    const adamoe_pre_tokenizer *pre_tokenizer;
    pcre2_match_data *match;
    adamoe_pre_tokenizer_work *work;
    adamoe_word_function word;
    void *context;
} walk;

static adamoe_status apply_steps(const walk *self, size_t step, adamoe_view text, bool at_start);

/* A text being cut: the piece that waits for what follows it. */
typedef struct cutting {
    const walk *walk;
    size_t step; /* that cuts */
    adamoe_view text;
    bool waits, waiting_is_match;
    size_t start, end; /* of the piece that waits */
} cutting;

static adamoe_status finish_word(const walk *self, size_t step, adamoe_view word)
{
    if (self->pre_tokenizer->step[step].kind != ADAMOE_PRE_TOKENIZER_BYTE_LEVEL) {
        return apply_steps(self, step + 1, word, false);
    }
    adamoe_text *mapped = &self->work->mapped[step];
    mapped->length = 0;
    for (size_t i = 0; i < word.length; i++) {
        char bytes[4];
        const size_t length = adamoe_utf8_write(adamoe_byte_character((uint8_t)word.data[i]), bytes);
        ADAMOE_TRY(adamoe_text_append(mapped, (adamoe_view){bytes, length}));
    }
    return apply_steps(self, step + 1, adamoe_text_view(mapped), false);
}

static adamoe_status emit_waiting(cutting *self)
{
    if (!self->waits) {
        return adamoe_ok();
    }
    self->waits = false;
    return finish_word(self->walk, self->step,
                       (adamoe_view){self->text.data + self->start, self->end - self->start});
}

/* Whether the next piece belongs to the one that waits. */
static bool joins(const cutting *self, adamoe_split_behavior behavior, bool is_match)
{
    switch (behavior) {
    case ADAMOE_SPLIT_CONTIGUOUS:
        return is_match == self->waiting_is_match;
    case ADAMOE_SPLIT_MERGED_WITH_PREVIOUS:
        return is_match && !self->waiting_is_match;
    case ADAMOE_SPLIT_MERGED_WITH_NEXT:
        return !is_match && self->waiting_is_match;
    default:
        return false;
    }
}

/* Takes the next piece of the text, which follows the one before without a gap. */
static adamoe_status take_piece(cutting *self, size_t start, size_t end, bool is_match)
{
    const adamoe_pre_tokenizer_step *step = &self->walk->pre_tokenizer->step[self->step];
    is_match = is_match != step->invert;
    if (self->waits && joins(self, step->behavior, is_match)) {
        self->end = end;
        self->waiting_is_match = is_match;
        return adamoe_ok();
    }
    ADAMOE_TRY(emit_waiting(self));
    self->waits = step->behavior != ADAMOE_SPLIT_REMOVED || !is_match;
    self->waiting_is_match = is_match;
    self->start = start;
    self->end = end;
    return adamoe_ok();
}

/* Cuts a text that is not empty by the step's pattern. */
static adamoe_status cut(const walk *self, size_t step, adamoe_view text)
{
    const adamoe_split_pattern *pattern = &self->pre_tokenizer->step[step].pattern;
    if (pattern->code == NULL) {
        return finish_word(self, step, text);
    }
    cutting state = {.walk = self, .step = step, .text = text};
    size_t position = 0;
    while (position < text.length) {
        bool found = false;
        size_t start = text.length;
        size_t end = text.length;
        ADAMOE_TRY(adamoe_pattern_next(pattern, text, position, self->match, &found, &start, &end));
        if (start > position) {
            ADAMOE_TRY(take_piece(&state, position, start, false));
        }
        if (found) {
            ADAMOE_TRY(take_piece(&state, start, end, true));
        }
        position = end;
    }
    return emit_waiting(&state);
}

static bool begins_with(adamoe_view text, adamoe_view prefix)
{
    return text.length >= prefix.length && memcmp(text.data, prefix.data, prefix.length) == 0;
}

static adamoe_status apply_byte_level(const walk *self, size_t step, adamoe_view text)
{
    const adamoe_view blank = {" ", 1};
    if (self->pre_tokenizer->step[step].add_prefix_space && !begins_with(text, blank)) {
        adamoe_text *prefixed = &self->work->prefixed[step];
        prefixed->length = 0;
        ADAMOE_TRY(adamoe_text_append(prefixed, blank));
        ADAMOE_TRY(adamoe_text_append(prefixed, text));
        text = adamoe_text_view(prefixed);
    }
    return cut(self, step, text);
}

static adamoe_status apply_metaspace(const walk *self, size_t step, adamoe_view text, bool at_start)
{
    const adamoe_pre_tokenizer_step *metaspace = &self->pre_tokenizer->step[step];
    const adamoe_view blank = {" ", 1};
    const adamoe_view replacement = {metaspace->replacement, metaspace->replacement_length};
    adamoe_text *replaced = &self->work->prefixed[step];
    replaced->length = 0;
    const bool prepend = metaspace->prepend == ADAMOE_PREPEND_ALWAYS ||
                         (metaspace->prepend == ADAMOE_PREPEND_FIRST && at_start);
    if (prepend && !begins_with(text, blank) && !begins_with(text, replacement)) {
        ADAMOE_TRY(adamoe_text_append(replaced, replacement));
    }
    ADAMOE_TRY(adamoe_text_append_replaced(replaced, text, blank, replacement));
    return cut(self, step, adamoe_text_view(replaced));
}

/* The steps from `step` on. The depth of these calls is bounded by ADAMOE_PARTS_MOST. */
static adamoe_status apply_steps(const walk *self, size_t step, adamoe_view text, bool at_start)
{
    if (step == self->pre_tokenizer->steps) {
        return self->word(self->context, text);
    }
    switch (self->pre_tokenizer->step[step].kind) {
    case ADAMOE_PRE_TOKENIZER_BYTE_LEVEL:
        return apply_byte_level(self, step, text);
    case ADAMOE_PRE_TOKENIZER_METASPACE:
        return apply_metaspace(self, step, text, at_start);
    default:
        return cut(self, step, text);
    }
}

adamoe_status adamoe_pre_tokenize(const adamoe_pre_tokenizer *pre_tokenizer, adamoe_view text, bool at_start,
                                  pcre2_match_data *match, adamoe_pre_tokenizer_work *work,
                                  adamoe_word_function word, void *context)
{
    const walk self = {pre_tokenizer, match, work, word, context};
    return text.length == 0 ? adamoe_ok() : apply_steps(&self, 0, text, at_start);
}

void adamoe_pre_tokenizer_work_free(adamoe_pre_tokenizer_work *work)
{
    for (size_t i = 0; i < ADAMOE_PARTS_MOST; i++) {
        adamoe_text_free(&work->prefixed[i]);
        adamoe_text_free(&work->mapped[i]);
    }
}
