/*
 * The parts that a tokenizer is made of, in the order in which a text passes them. Private to datasets/.
 *
 *   text -> added tokens -> normalizer -> added tokens -> pre-tokenizer -> merges -> template -> ids
 *   ids  -> vocabulary -> decoder -> text
 *
 * Each part has a function that reads it from its value in tokenizer.json, one that applies it and one that
 * frees what was read; the latter also takes a part that is zeroed or half read.
 *
 * The semantics are those of version 0.23 of the Hugging Face package `tokenizers`. What is not implemented
 * is refused. One difference cannot be: the package knows characters that Unicode has added since the version
 * of PCRE2 in use, and may split a text at them in another way.
 */
#ifndef ADAMOE_TOKENIZER_PARTS_H
#define ADAMOE_TOKENIZER_PARTS_H

#include "tokenizer/tokenizer.h"

#include <jansson.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* -------------------------------------------------------------------------------- text (tokenizer/text.c) */

/* Bytes that someone else owns; UTF-8 unless said otherwise. */
typedef struct adamoe_view {
    const char *data;
    size_t length;
} adamoe_view;

/* Bytes that grow. Zero-initialise; after clearing the memory is kept for the next use. */
typedef struct adamoe_text {
    char *data;
    size_t length, capacity;
} adamoe_text;

adamoe_status adamoe_tokenizer_out_of_memory(void);

/* Memory, which has room for *capacity elements of `size` bytes, with room for at least `count` of them. NULL
 * where there is none left; then the old memory stays. */
void *adamoe_grown(void *memory, size_t *capacity, size_t count, size_t size);

/* A zero-terminated copy, NULL where there is no memory left. */
char *adamoe_view_copy(adamoe_view view);

bool adamoe_view_equal(adamoe_view a, adamoe_view b);
adamoe_view adamoe_text_view(const adamoe_text *text);
adamoe_status adamoe_text_append(adamoe_text *text, adamoe_view more);
/* Appends `more` with each `pattern` in it, which is not empty, replaced by `content`. */
adamoe_status adamoe_text_append_replaced(adamoe_text *text, adamoe_view more, adamoe_view pattern,
                                          adamoe_view content);
/* Appends bytes of any kind with U+FFFD in place of what is not UTF-8. */
adamoe_status adamoe_text_append_repaired(adamoe_text *text, adamoe_view bytes);
void adamoe_text_free(adamoe_text *text);

/* ----------------------------------------------------------------------------- reading (tokenizer/json.c) */

/* Where a value stands in tokenizer.json, for messages: "model.merges[3]". */
typedef struct adamoe_place {
    const char *path;
    char name[160];
} adamoe_place;

adamoe_place adamoe_place_key(const adamoe_place *parent, const char *key);
adamoe_place adamoe_place_index(const adamoe_place *parent, size_t index);

/* BAD_INPUT with the message "FILE: place: reason". */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
adamoe_status
adamoe_place_error(const adamoe_place *place, const char *format, ...);

/* False for a value that is absent or null. */
bool adamoe_json_is_set(const json_t *value);

/* Refuses what is no object, and keys that are not among keys[], which ends with NULL: a key that is not
 * known may change what the tokenizer does. */
adamoe_status adamoe_json_keys(const adamoe_place *place, const json_t *object, const char *const keys[]);

/* Members of an object; `place` is the object's. The string lives as long as the object. */
adamoe_status adamoe_json_string(const adamoe_place *place, const json_t *object, const char *key,
                                 adamoe_view *out);
adamoe_status adamoe_json_boolean(const adamoe_place *place, const json_t *object, const char *key,
                                  bool *out);
/* The same, with a value for a member that is absent or null. */
adamoe_status adamoe_json_boolean_or(const adamoe_place *place, const json_t *object, const char *key,
                                     bool otherwise, bool *out);
adamoe_status adamoe_json_id(const adamoe_place *place, const json_t *object, const char *key, uint32_t *out);
/* A string of one character. */
adamoe_status adamoe_json_character(const adamoe_place *place, const json_t *object, const char *key,
                                    adamoe_view *out);

/* A part with its type, such as "ByteLevel". */
typedef struct adamoe_part {
    adamoe_place place;
    const json_t *object;
    const char *type;
} adamoe_part;

/* Reads one part that is not a sequence. */
typedef adamoe_status (*adamoe_part_reader)(const adamoe_part *part, void *context);

/* The members of a Replace, which normalizers and decoders share: a pattern that is a string and not empty,
 * and what takes its place. */
adamoe_status adamoe_json_replacement(const adamoe_part *part, adamoe_view *pattern, adamoe_view *content);

/* Calls `reader` for a part, or in order for those of a Sequence, whose list stands under `list_key`;
 * sequences may contain sequences. Nothing is called for an absent or null part. */
adamoe_status adamoe_read_parts(const adamoe_place *place, const json_t *value, const char *list_key,
                                adamoe_part_reader reader, void *context);

/* "TYPE is not implemented" */
adamoe_status adamoe_part_refused(const adamoe_part *part);

/* The parts of one kind that a file can ask for. */
#define ADAMOE_PARTS_MOST 16

/* -------------------------------------------------------------------- vocabulary (tokenizer/vocabulary.c) */

#define ADAMOE_NO_TOKEN UINT32_MAX

/* Ids index tables, so that a huge one would cost memory for nothing. The largest vocabularies have 2^18. */
#define ADAMOE_IDS_MOST ((uint32_t)1 << 22)

enum {
    ADAMOE_TOKEN_MODEL = 1u << 0, /* the model's own: merges and characters may yield it */
    ADAMOE_TOKEN_ADDED = 1u << 1,
    ADAMOE_TOKEN_SPECIAL = 1u << 2, /* decoding may leave it out */
};

typedef struct adamoe_vocabulary_token {
    size_t offset, length;                 /* of its text in `bytes` */
    size_t decoded_offset, decoded_length; /* of what it decodes to, which mostly is the same */
    uint32_t flags;                        /* 0: no token has this id */
} adamoe_vocabulary_token;

/* Texts by id and ids by text. */
typedef struct adamoe_vocabulary {
    adamoe_text bytes;
    adamoe_vocabulary_token *token; /* [ids] */
    size_t ids;                     /* the largest id + 1 */
    size_t token_capacity;
    size_t count;   /* tokens, without the holes between ids */
    uint32_t *slot; /* [slots] a hash table of ids with linear probing; ADAMOE_NO_TOKEN where free */
    size_t slots;   /* a power of two */
} adamoe_vocabulary;

/* Adds a token whose text has no id yet. `place` is where it stands. Errors: an id that is above the limit or
 * given to another token. */
adamoe_status adamoe_vocabulary_add(adamoe_vocabulary *vocabulary, const adamoe_place *place,
                                    adamoe_view content, uint32_t id, uint32_t flags);
/* The id of a token that has any of the flags, or ADAMOE_NO_TOKEN. */
uint32_t adamoe_vocabulary_find(const adamoe_vocabulary *vocabulary, adamoe_view content, uint32_t flags);
/* The text of an id; `id` must be one of a token. */
adamoe_view adamoe_vocabulary_text(const adamoe_vocabulary *vocabulary, uint32_t id);
/* What an id decodes to, and how that is changed. Errors: memory. */
adamoe_view adamoe_vocabulary_decoded(const adamoe_vocabulary *vocabulary, uint32_t id);
adamoe_status adamoe_vocabulary_decode_as(adamoe_vocabulary *vocabulary, uint32_t id, adamoe_view text);
bool adamoe_vocabulary_has(const adamoe_vocabulary *vocabulary, uint32_t id);
uint64_t adamoe_vocabulary_hash(adamoe_view content);
void adamoe_vocabulary_free(adamoe_vocabulary *vocabulary);

/* ---------------------------------------------------------------------- merges (tokenizer/bpe.c, _read.c) */

/* left and right, adjacent, become `merged`; a lower rank goes first. */
typedef struct adamoe_bpe_merge {
    uint32_t left, right, rank, merged; /* merged is ADAMOE_NO_TOKEN where the slot is free */
} adamoe_bpe_merge;

typedef struct adamoe_bpe {
    adamoe_bpe_merge *slot; /* [slots] a hash table by (left, right) with linear probing */
    size_t slots;           /* a power of two */
    uint32_t unknown;       /* unk_token, ADAMOE_NO_TOKEN where it is null or not in the vocabulary */
    char *unknown_name;     /* NULL where it is null */
    bool fuse_unknown, byte_fallback, ignore_merges;
    uint32_t byte_token[256]; /* <0x00> .. <0xFF>, ADAMOE_NO_TOKEN where the vocabulary has none */
} adamoe_bpe;

/* Memory that encoding words needs, kept from word to word. Zero-initialise. */
typedef struct adamoe_bpe_symbol adamoe_bpe_symbol;
typedef struct adamoe_bpe_candidate adamoe_bpe_candidate;
typedef struct adamoe_bpe_work {
    adamoe_bpe_symbol *symbol;
    size_t symbols, symbol_capacity;
    adamoe_bpe_candidate *heap;
    size_t candidates, candidate_capacity;
} adamoe_bpe_work;

/* Reads "model", and its vocabulary into an empty one. */
adamoe_status adamoe_bpe_read(const adamoe_place *place, const json_t *value, adamoe_vocabulary *vocabulary,
                              adamoe_bpe *out);
/* The merge of two tokens, NULL where there is none. */
const adamoe_bpe_merge *adamoe_merge_find(const adamoe_bpe *bpe, uint32_t left, uint32_t right);
/* Appends the ids of a word. A character that the vocabulary lacks becomes its bytes, else the unknown token;
 * without either it yields nothing. Errors: an unknown token that is needed and not in the vocabulary. */
adamoe_status adamoe_bpe_encode(const adamoe_bpe *bpe, const adamoe_vocabulary *vocabulary, adamoe_view word,
                                adamoe_bpe_work *work, adamoe_tokens *out);
void adamoe_bpe_work_free(adamoe_bpe_work *work);
void adamoe_bpe_free(adamoe_bpe *bpe);

/* -------------------------------------------------------------------- normalizer (tokenizer/normalizer.c) */

typedef struct adamoe_normalizer_step {
    bool nfc;      /* Unicode's normal form; then there is nothing else */
    char *pattern; /* NULL: `content` goes before the text */
    char *content; /* else: it replaces the pattern */
    size_t pattern_length, content_length;
} adamoe_normalizer_step;

typedef struct adamoe_normalizer {
    adamoe_normalizer_step step[ADAMOE_PARTS_MOST];
    size_t steps;
} adamoe_normalizer;

adamoe_status adamoe_normalizer_read(const adamoe_place *place, const json_t *value, adamoe_normalizer *out);
/* Makes *out the normal form of `text`. `other` is memory for the steps between. */
adamoe_status adamoe_normalize(const adamoe_normalizer *normalizer, adamoe_view text, adamoe_text *out,
                               adamoe_text *other);
void adamoe_normalizer_free(adamoe_normalizer *normalizer);

/* -------------------------------------------------------------------------- pattern (tokenizer/pattern.c) */

/* A compiled pattern that never matches an empty text. */
typedef struct adamoe_split_pattern {
    pcre2_code *code;
} adamoe_split_pattern;

typedef enum adamoe_syntax {
    ADAMOE_SYNTAX_LITERAL,   /* every character stands for itself */
    ADAMOE_SYNTAX_ONIGURUMA, /* the package's; what PCRE2 would read otherwise is refused */
    ADAMOE_SYNTAX_PCRE2,     /* for patterns of our own */
} adamoe_syntax;

/* Compiles an expression, which a zero follows. */
adamoe_status adamoe_pattern_compile(const adamoe_place *place, adamoe_view expression, adamoe_syntax syntax,
                                     adamoe_split_pattern *out);
/* The first match in text[from..], which is UTF-8, sets *found, *start and *end. Errors: a match that takes
 * too many steps. */
adamoe_status adamoe_pattern_next(const adamoe_split_pattern *pattern, adamoe_view text, size_t from,
                                  pcre2_match_data *match, bool *found, size_t *start, size_t *end);
void adamoe_pattern_free(adamoe_split_pattern *pattern);

/* ---------------------------------------------------------------- added tokens (tokenizer/added_tokens.c) */

typedef struct adamoe_added_token {
    char *pattern; /* what is recognised in the text */
    size_t length;
    uint32_t id;
    bool single_word; /* not next to a word character */
    bool lstrip;      /* takes the white space before it along */
    bool rstrip;      /* and after it */
} adamoe_added_token;

/* Tokens that are recognised before the model sees the text, in ascending order of their patterns. */
typedef struct adamoe_added_set {
    adamoe_added_token *token;
    size_t count, capacity;
    bool begins[256];                    /* whether a pattern begins with this byte */
    adamoe_split_pattern word_character; /* compiled where a token is single_word */
} adamoe_added_set;

typedef struct adamoe_added_tokens {
    adamoe_added_set raw;        /* recognised in the text as given ... */
    adamoe_added_set normalized; /* ... and, as its own normal form, in that of what is left */
    bool reordered;              /* the ids are the package's, in the order of the list, and not the file's */
} adamoe_added_tokens;

/* A walk over the added tokens of one text. Zero-initialise. */
typedef struct adamoe_added_walk {
    size_t position;                 /* where the search goes on */
    size_t done;                     /* the end of the token before */
    size_t space_begins, space_ends; /* white space that has been measured */
} adamoe_added_walk;

typedef struct adamoe_added_match {
    size_t start, end;
    uint32_t id;
} adamoe_added_match;

/* Reads "added_tokens" and adds them to the vocabulary. */
adamoe_status adamoe_added_tokens_read(const adamoe_place *place, const json_t *value,
                                       const adamoe_normalizer *normalizer, adamoe_vocabulary *vocabulary,
                                       adamoe_added_tokens *out);
/* The next added token of a text: the leftmost, and of those the longest. What lies between two of them is
 * for the caller; a match may begin before the end of the one before it (rstrip). */
adamoe_status adamoe_added_next(const adamoe_added_set *set, adamoe_view text, pcre2_match_data *match_data,
                                adamoe_added_walk *walk, bool *found, adamoe_added_match *match);
void adamoe_added_tokens_free(adamoe_added_tokens *added);

/* ----------------------------------------------------- pre-tokenizer (tokenizer/pre_tokenizer.c, _read.c) */

/* What becomes of the matches of a pattern that splits a text. */
typedef enum adamoe_split_behavior {
    ADAMOE_SPLIT_ISOLATED,             /* words of their own */
    ADAMOE_SPLIT_REMOVED,              /* nothing */
    ADAMOE_SPLIT_CONTIGUOUS,           /* words of their own, adjacent ones joined */
    ADAMOE_SPLIT_MERGED_WITH_PREVIOUS, /* the end of the word before */
    ADAMOE_SPLIT_MERGED_WITH_NEXT,     /* the beginning of the word after */
} adamoe_split_behavior;

typedef enum adamoe_prepend_scheme {
    ADAMOE_PREPEND_ALWAYS,
    ADAMOE_PREPEND_FIRST, /* only where the text begins */
    ADAMOE_PREPEND_NEVER,
} adamoe_prepend_scheme;

/* The member "prepend_scheme" of a Metaspace, which pre-tokenizers and decoders share. */
adamoe_status adamoe_json_prepend_scheme(const adamoe_part *part, adamoe_prepend_scheme *out);

typedef enum adamoe_pre_tokenizer_kind {
    ADAMOE_PRE_TOKENIZER_SPLIT, /* Split, Digits */
    ADAMOE_PRE_TOKENIZER_BYTE_LEVEL,
    ADAMOE_PRE_TOKENIZER_METASPACE,
} adamoe_pre_tokenizer_kind;

typedef struct adamoe_pre_tokenizer_step {
    adamoe_pre_tokenizer_kind kind;
    adamoe_split_pattern pattern; /* its code is NULL where the step does not split */
    adamoe_split_behavior behavior;
    bool invert;           /* what the pattern does not match is the match */
    bool add_prefix_space; /* byte level */
    char replacement[4];   /* metaspace: what stands for a blank */
    size_t replacement_length;
    adamoe_prepend_scheme prepend; /* metaspace */
} adamoe_pre_tokenizer_step;

typedef struct adamoe_pre_tokenizer {
    adamoe_pre_tokenizer_step step[ADAMOE_PARTS_MOST];
    size_t steps;
    bool normalized; /* the text comes out of a normalizer */
} adamoe_pre_tokenizer;

/* Memory that pre-tokenizing needs, kept from text to text. Zero-initialise. */
typedef struct adamoe_pre_tokenizer_work {
    adamoe_text prefixed[ADAMOE_PARTS_MOST], mapped[ADAMOE_PARTS_MOST];
} adamoe_pre_tokenizer_work;

typedef adamoe_status (*adamoe_word_function)(void *context, adamoe_view word);

adamoe_status adamoe_pre_tokenizer_read(const adamoe_place *place, const json_t *value, bool normalized,
                                        adamoe_pre_tokenizer *out);
/* Calls `word` for each word of a text that is not empty, in order. `at_start`: nothing stands before it. */
adamoe_status adamoe_pre_tokenize(const adamoe_pre_tokenizer *pre_tokenizer, adamoe_view text, bool at_start,
                                  pcre2_match_data *match, adamoe_pre_tokenizer_work *work,
                                  adamoe_word_function word, void *context);
void adamoe_pre_tokenizer_work_free(adamoe_pre_tokenizer_work *work);
void adamoe_pre_tokenizer_free(adamoe_pre_tokenizer *pre_tokenizer);

/* -------------------------------------------------------------------- byte level (tokenizer/byte_level.c) */

/* GPT-2 writes each byte as a printable character: Latin-1's printable ones stand for themselves, the others
 * are counted upwards from U+0100. */
uint32_t adamoe_byte_character(uint8_t byte);
/* The byte that a character stands for; false for a character that stands for none. */
bool adamoe_character_byte(uint32_t character, uint8_t *byte);

/* ----------------------------------------------------------------------- token lists (tokenizer/tokens.c) */

/* Appends the tokens of `more`. Errors: memory; then some may have been appended. */
adamoe_status adamoe_tokens_append_all(adamoe_tokens *tokens, const adamoe_tokens *more);

/* ------------------------------------------------------------------------ template (tokenizer/template.c) */

/* What the post-processor puts around a text. */
typedef struct adamoe_template {
    adamoe_tokens before, after;
} adamoe_template;

adamoe_status adamoe_template_read(const adamoe_place *place, const json_t *value,
                                   const adamoe_vocabulary *vocabulary, adamoe_template *out);
void adamoe_template_free(adamoe_template *template);

/* ----------------------------------------------------------------- decoder (tokenizer/decoder.c, _read.c) */

/* Texts one after the other in one piece of memory: those of the tokens, as decoder steps change them. */
typedef struct adamoe_texts {
    adamoe_text bytes;
    size_t *end; /* [count] where each ends in `bytes` */
    size_t count, capacity;
} adamoe_texts;

adamoe_view adamoe_texts_get(const adamoe_texts *texts, size_t i);
/* Makes the bytes after the last text a text. */
adamoe_status adamoe_texts_end(adamoe_texts *texts);
void adamoe_texts_free(adamoe_texts *texts);

typedef enum adamoe_decoder_kind {
    ADAMOE_DECODER_REPLACE,
    ADAMOE_DECODER_BYTE_FALLBACK,
    ADAMOE_DECODER_FUSE,
    ADAMOE_DECODER_STRIP,
    ADAMOE_DECODER_BYTE_LEVEL,
    ADAMOE_DECODER_METASPACE,
} adamoe_decoder_kind;

typedef struct adamoe_decoder_step {
    adamoe_decoder_kind kind;
    char *pattern, *content; /* replace; strip and metaspace: `pattern` is the character */
    size_t pattern_length, content_length;
    size_t strip_start, strip_stop;
    bool drop_first; /* metaspace: the blanks of the first token were put there by the pre-tokenizer */
} adamoe_decoder_step;

typedef struct adamoe_decoder {
    adamoe_decoder_step step[ADAMOE_PARTS_MOST];
    size_t steps;
    bool present; /* without a decoder, blanks go between the tokens */
} adamoe_decoder;

adamoe_status adamoe_decoder_read(const adamoe_place *place, const json_t *value, adamoe_decoder *out);
/* Replaces the texts of tokens by one text. */
adamoe_status adamoe_decode_texts(const adamoe_decoder *decoder, adamoe_texts *texts);
void adamoe_decoder_free(adamoe_decoder *decoder);

#endif
