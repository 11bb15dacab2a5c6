/*
 * The tokenizer: its parts put together. What each part does and how it is read is in the file of its name;
 * tokenizer/parts.h says in which order a text passes them.
 */
#include "tokenizer/parts.h"
#include "files/json_file.h"
#include "files/mapped_file.h"
#include "files/utf8.h"

#include <stdlib.h>
#include <string.h>

struct adamoe_tokenizer {
    adamoe_vocabulary vocabulary;
    adamoe_bpe bpe;
    adamoe_normalizer normalizer;
    adamoe_added_tokens added;
    adamoe_pre_tokenizer pre_tokenizer;
    adamoe_template template;
    adamoe_decoder decoder;
    char note[160]; /* adamoe_tokenizer_note */
};

/* ------------------------------------------------------------------------------------------------ reading */

/* Settings that say how texts become a batch of one length, which nobody asks for here. */
static const char *const not_applied[] = {"truncation", "padding"};

static adamoe_status check_document(const adamoe_place *root, const json_t *document)
{
    static const char *const keys[] = {
        "version",       "truncation",     "padding", "added_tokens", "normalizer",
        "pre_tokenizer", "post_processor", "decoder", "model",        NULL};
    ADAMOE_TRY(adamoe_json_keys(root, document, keys));
    for (size_t i = 0; i < sizeof not_applied / sizeof not_applied[0]; i++) {
        const json_t *value = json_object_get(document, not_applied[i]);
        if (adamoe_json_is_set(value) && !json_is_object(value)) {
            const adamoe_place place = adamoe_place_key(root, not_applied[i]);
            return adamoe_place_error(&place, "not an object");
        }
    }
    const json_t *version = json_object_get(document, "version");
    const char *text = json_string_value(version);
    if (version != NULL && (text == NULL || strcmp(text, "1.0") != 0)) {
        const adamoe_place place = adamoe_place_key(root, "version");
        return adamoe_place_error(&place, "not \"1.0\"");
    }
    return adamoe_ok();
}

/* See adamoe_tokenizer_note. */
static void take_note(const json_t *document, adamoe_tokenizer *out)
{
    const char *separator = "";
    size_t used = 0;
    for (size_t i = 0; i < sizeof not_applied / sizeof not_applied[0]; i++) {
        if (adamoe_json_is_set(json_object_get(document, not_applied[i]))) {
            used += (size_t)snprintf(out->note + used, sizeof out->note - used, "%s%s is not applied",
                                     separator, not_applied[i]);
            separator = "; ";
        }
    }
    if (out->added.reordered) {
        (void)snprintf(out->note + used, sizeof out->note - used,
                       "%sadded_tokens get their ids in the order of the list", separator);
    }
}

static adamoe_status read_document(const adamoe_place *root, const json_t *document, adamoe_tokenizer *out)
{
    ADAMOE_TRY(check_document(root, document));
    const adamoe_place model = adamoe_place_key(root, "model");
    ADAMOE_TRY(adamoe_bpe_read(&model, json_object_get(document, "model"), &out->vocabulary, &out->bpe));
    const adamoe_place normalizer = adamoe_place_key(root, "normalizer");
    ADAMOE_TRY(
        adamoe_normalizer_read(&normalizer, json_object_get(document, "normalizer"), &out->normalizer));
    const adamoe_place added = adamoe_place_key(root, "added_tokens");
    ADAMOE_TRY(adamoe_added_tokens_read(&added, json_object_get(document, "added_tokens"), &out->normalizer,
                                        &out->vocabulary, &out->added));
    const adamoe_place pre_tokenizer = adamoe_place_key(root, "pre_tokenizer");
    ADAMOE_TRY(adamoe_pre_tokenizer_read(&pre_tokenizer, json_object_get(document, "pre_tokenizer"),
                                         out->normalizer.steps > 0, &out->pre_tokenizer));
    const adamoe_place post_processor = adamoe_place_key(root, "post_processor");
    ADAMOE_TRY(adamoe_template_read(&post_processor, json_object_get(document, "post_processor"),
                                    &out->vocabulary, &out->template));
    take_note(document, out);
    const adamoe_place decoder = adamoe_place_key(root, "decoder");
    return adamoe_decoder_read(&decoder, json_object_get(document, "decoder"), &out->decoder);
}

adamoe_status adamoe_tokenizer_parse(const char *path, const char *text, size_t length,
                                     adamoe_tokenizer **out)
{
    json_t *document = NULL;
    ADAMOE_TRY(adamoe_json_parse(path, text, length, &document));
    adamoe_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer == NULL) {
        json_decref(document);
        return adamoe_tokenizer_out_of_memory();
    }
    const adamoe_place root = {.path = path};
    const adamoe_status status = read_document(&root, document, tokenizer);
    json_decref(document);
    if (status.code != ADAMOE_OK) {
        adamoe_tokenizer_close(tokenizer);
        return status;
    }
    *out = tokenizer;
    return status;
}

adamoe_status adamoe_tokenizer_open(const char *path, adamoe_tokenizer **out)
{
    adamoe_mapped_file file;
    ADAMOE_TRY(adamoe_mapped_file_open(path, &file));
    const adamoe_status status = adamoe_tokenizer_parse(path, (const char *)file.data, file.size, out);
    adamoe_mapped_file_close(&file);
    return status;
}

void adamoe_tokenizer_close(adamoe_tokenizer *tokenizer)
{
    if (tokenizer == NULL) {
        return;
    }
    adamoe_vocabulary_free(&tokenizer->vocabulary);
    adamoe_bpe_free(&tokenizer->bpe);
    adamoe_normalizer_free(&tokenizer->normalizer);
    adamoe_added_tokens_free(&tokenizer->added);
    adamoe_pre_tokenizer_free(&tokenizer->pre_tokenizer);
    adamoe_template_free(&tokenizer->template);
    adamoe_decoder_free(&tokenizer->decoder);
    free(tokenizer);
}

const char *adamoe_tokenizer_note(const adamoe_tokenizer *tokenizer)
{
    return tokenizer->note;
}

size_t adamoe_tokenizer_vocab_size(const adamoe_tokenizer *tokenizer)
{
    return tokenizer->vocabulary.ids;
}

bool adamoe_tokenizer_id(const adamoe_tokenizer *tokenizer, const char *content, uint32_t *id)
{
    const uint32_t found =
        adamoe_vocabulary_find(&tokenizer->vocabulary, (adamoe_view){content, strlen(content)},
                               ADAMOE_TOKEN_MODEL | ADAMOE_TOKEN_ADDED);
    if (found != ADAMOE_NO_TOKEN) {
        *id = found;
    }
    return found != ADAMOE_NO_TOKEN;
}

/* ----------------------------------------------------------------------------------------------- encoding */

/* One text being encoded, and the memory that the parts need for it. */
typedef struct encoding {
    const adamoe_tokenizer *tokenizer;
    adamoe_tokens *out;
    pcre2_match_data *match;
    adamoe_text normal, other;
    adamoe_pre_tokenizer_work pre_tokenizer;
    adamoe_bpe_work bpe;
} encoding;

static adamoe_status encode_word(void *context, adamoe_view word)
{
    encoding *self = context;
    return adamoe_bpe_encode(&self->tokenizer->bpe, &self->tokenizer->vocabulary, word, &self->bpe,
                             self->out);
}

/* What is done with the text between added tokens. */
typedef adamoe_status (*between_function)(encoding *self, adamoe_view text, bool at_start);

/* Cuts a text by the added tokens of a set, appends their ids and passes on what lies between. */
static adamoe_status split_by_added(encoding *self, const adamoe_added_set *set, adamoe_view text,
                                    bool at_start, between_function between)
{
    adamoe_added_walk walk = {0};
    size_t done = 0;
    for (;;) {
        bool found = false;
        adamoe_added_match match = {.start = text.length};
        ADAMOE_TRY(adamoe_added_next(set, text, self->match, &walk, &found, &match));
        if (done < match.start) {
            const adamoe_view gap = {text.data + done, match.start - done};
            ADAMOE_TRY(between(self, gap, at_start && done == 0));
        }
        if (!found) {
            return adamoe_ok();
        }
        ADAMOE_TRY(adamoe_tokens_append(self->out, match.id));
        done = match.end;
    }
}

static adamoe_status encode_normal(encoding *self, adamoe_view text, bool at_start)
{
    return adamoe_pre_tokenize(&self->tokenizer->pre_tokenizer, text, at_start, self->match,
                               &self->pre_tokenizer, encode_word, self);
}

static adamoe_status encode_raw(encoding *self, adamoe_view text, bool at_start)
{
    const adamoe_tokenizer *tokenizer = self->tokenizer;
    if (tokenizer->normalizer.steps > 0) {
        ADAMOE_TRY(adamoe_normalize(&tokenizer->normalizer, text, &self->normal, &self->other));
        text = adamoe_text_view(&self->normal);
    }
    return split_by_added(self, &tokenizer->added.normalized, text, at_start, encode_normal);
}

adamoe_status adamoe_tokenizer_encode(const adamoe_tokenizer *tokenizer, const char *text, size_t length,
                                      bool special, adamoe_tokens *out)
{
    const size_t well_formed = adamoe_utf8_well_formed(text, length);
    if (well_formed < length) {
        return adamoe_error(ADAMOE_BAD_INPUT, "text: offset %zu: 0x%02X is not UTF-8 here", well_formed,
                            (unsigned)(uint8_t)text[well_formed]);
    }
    encoding self = {.tokenizer = tokenizer, .out = out, .match = pcre2_match_data_create(1, NULL)};
    if (self.match == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    const size_t before = out->count;
    adamoe_status status = special ? adamoe_tokens_append_all(out, &tokenizer->template.before) : adamoe_ok();
    if (status.code == ADAMOE_OK) {
        status = split_by_added(&self, &tokenizer->added.raw, (adamoe_view){text, length}, true, encode_raw);
    }
    if (status.code == ADAMOE_OK && special) {
        status = adamoe_tokens_append_all(out, &tokenizer->template.after);
    }
    if (status.code != ADAMOE_OK) {
        out->count = before;
    }
    pcre2_match_data_free(self.match);
    adamoe_text_free(&self.normal);
    adamoe_text_free(&self.other);
    adamoe_pre_tokenizer_work_free(&self.pre_tokenizer);
    adamoe_bpe_work_free(&self.bpe);
    return status;
}

/* ----------------------------------------------------------------------------------------------- decoding */

static adamoe_status collect_texts(const adamoe_vocabulary *vocabulary, const uint32_t *ids, size_t count,
                                   bool skip_special, adamoe_texts *texts)
{
    for (size_t i = 0; i < count; i++) {
        if (!adamoe_vocabulary_has(vocabulary, ids[i])) {
            return adamoe_error(ADAMOE_BAD_INPUT, "ids: number %zu: no token has the id %u", i + 1,
                                (unsigned)ids[i]);
        }
        if (skip_special && (vocabulary->token[ids[i]].flags & ADAMOE_TOKEN_SPECIAL) != 0) {
            continue;
        }
        ADAMOE_TRY(adamoe_text_append(&texts->bytes, adamoe_vocabulary_decoded(vocabulary, ids[i])));
        ADAMOE_TRY(adamoe_texts_end(texts));
    }
    return adamoe_ok();
}

adamoe_status adamoe_tokenizer_decode(const adamoe_tokenizer *tokenizer, const uint32_t *ids, size_t count,
                                      bool skip_special, char **text, size_t *length)
{
    adamoe_texts texts = {0};
    adamoe_status status = collect_texts(&tokenizer->vocabulary, ids, count, skip_special, &texts);
    if (status.code == ADAMOE_OK) {
        status = adamoe_decode_texts(&tokenizer->decoder, &texts);
    }
    if (status.code == ADAMOE_OK) {
        *text = adamoe_view_copy(adamoe_text_view(&texts.bytes));
        *length = texts.bytes.length;
        status = *text == NULL ? adamoe_tokenizer_out_of_memory() : adamoe_ok();
    }
    adamoe_texts_free(&texts);
    return status;
}
