/*
 * Decoders: from the texts of tokens back to a text. Each step turns a list of texts into another, and what
 * is left in the end is joined. How they are read is in tokenizer/decoder_read.c.
 */
#include "tokenizer/parts.h"
#include "files/utf8.h"

#include <stdlib.h>
#include <string.h>

adamoe_view adamoe_texts_get(const adamoe_texts *texts, size_t i)
{
    const size_t begin = i == 0 ? 0 : texts->end[i - 1];
    return (adamoe_view){texts->bytes.data == NULL ? "" : texts->bytes.data + begin, texts->end[i] - begin};
}

adamoe_status adamoe_texts_end(adamoe_texts *texts)
{
    size_t *end = adamoe_grown(texts->end, &texts->capacity, texts->count + 1, sizeof *end);
    if (end == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    texts->end = end;
    end[texts->count++] = texts->bytes.length;
    return adamoe_ok();
}

void adamoe_texts_free(adamoe_texts *texts)
{
    adamoe_text_free(&texts->bytes);
    free(texts->end);
    *texts = (adamoe_texts){0};
}

static adamoe_status append(adamoe_texts *out, adamoe_view text)
{
    ADAMOE_TRY(adamoe_text_append(&out->bytes, text));
    return adamoe_texts_end(out);
}

static adamoe_status replace(const adamoe_decoder_step *step, const adamoe_texts *in, adamoe_texts *out)
{
    const adamoe_view pattern = {step->pattern, step->pattern_length};
    const adamoe_view content = {step->content, step->content_length};
    for (size_t i = 0; i < in->count; i++) {
        ADAMOE_TRY(adamoe_text_append_replaced(&out->bytes, adamoe_texts_get(in, i), pattern, content));
        ADAMOE_TRY(adamoe_texts_end(out));
    }
    return adamoe_ok();
}

/* Two hexadecimal digits, or a sign and one: the package reads the byte in this way too. */
static bool parse_byte_token(adamoe_view text, char *byte)
{
    if (text.length != 6 || memcmp(text.data, "<0x", 3) != 0 || text.data[5] != '>') {
        return false;
    }
    static const char digits[] = "00112233445566778899AaBbCcDdEeFf"; /* each twice */
    const char *high = memchr(digits, text.data[3], sizeof digits - 1);
    const char *low = memchr(digits, text.data[4], sizeof digits - 1);
    if (low == NULL || (high == NULL && text.data[3] != '+')) {
        return false;
    }
    const int value = (high == NULL ? 0 : (int)(high - digits) / 2) * 16 + (int)(low - digits) / 2;
    *byte = (char)value;
    return true;
}

/* Adds a run of bytes: as one text where it is UTF-8, else as one U+FFFD for each byte. */
static adamoe_status end_bytes(adamoe_text *run, adamoe_texts *out)
{
    if (adamoe_utf8_well_formed(run->data, run->length) == run->length) {
        if (run->length > 0) {
            ADAMOE_TRY(append(out, adamoe_text_view(run)));
        }
    } else {
        for (size_t i = 0; i < run->length; i++) {
            ADAMOE_TRY(append(out, (adamoe_view){"\xEF\xBF\xBD", 3}));
        }
    }
    run->length = 0;
    return adamoe_ok();
}

static adamoe_status append_or_collect(adamoe_view text, adamoe_text *run, adamoe_texts *out)
{
    char byte;
    if (parse_byte_token(text, &byte)) {
        return adamoe_text_append(run, (adamoe_view){&byte, 1});
    }
    ADAMOE_TRY(end_bytes(run, out));
    return append(out, text);
}

static adamoe_status byte_fallback(const adamoe_texts *in, adamoe_texts *out)
{
    adamoe_text run = {0};
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < in->count && status.code == ADAMOE_OK; i++) {
        status = append_or_collect(adamoe_texts_get(in, i), &run, out);
    }
    if (status.code == ADAMOE_OK) {
        status = end_bytes(&run, out);
    }
    adamoe_text_free(&run);
    return status;
}

static adamoe_status fuse(const adamoe_texts *in, adamoe_texts *out)
{
    return append(out, adamoe_text_view(&in->bytes));
}

static adamoe_status strip(const adamoe_decoder_step *step, const adamoe_texts *in, adamoe_texts *out)
{
    const size_t bytes = step->pattern_length;
    for (size_t i = 0; i < in->count; i++) {
        adamoe_view text = adamoe_texts_get(in, i);
        for (size_t cut = 0;
             cut < step->strip_start && text.length >= bytes && memcmp(text.data, step->pattern, bytes) == 0;
             cut++) {
            text.data += bytes;
            text.length -= bytes;
        }
        for (size_t cut = 0; cut < step->strip_stop && text.length >= bytes &&
                             memcmp(text.data + text.length - bytes, step->pattern, bytes) == 0;
             cut++) {
            text.length -= bytes;
        }
        ADAMOE_TRY(append(out, text));
    }
    return adamoe_ok();
}

/* The bytes that the characters of a token stand for; the token's own where one of them stands for none. */
static adamoe_status append_mapped(adamoe_text *out, adamoe_view text)
{
    const size_t before = out->length;
    for (size_t i = 0; i < text.length;) {
        uint32_t character;
        uint8_t byte;
        i += adamoe_utf8_next(text.data + i, text.length - i, &character);
        if (!adamoe_character_byte(character, &byte)) {
            out->length = before;
            return adamoe_text_append(out, text);
        }
        ADAMOE_TRY(adamoe_text_append(out, (adamoe_view){(const char *)&byte, 1}));
    }
    return adamoe_ok();
}

static adamoe_status byte_level(const adamoe_texts *in, adamoe_texts *out)
{
    adamoe_text mapped = {0};
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < in->count && status.code == ADAMOE_OK; i++) {
        status = append_mapped(&mapped, adamoe_texts_get(in, i));
    }
    if (status.code == ADAMOE_OK) {
        status = adamoe_text_append_repaired(&out->bytes, adamoe_text_view(&mapped));
    }
    adamoe_text_free(&mapped);
    ADAMOE_TRY(status);
    return adamoe_texts_end(out);
}

static adamoe_status metaspace(const adamoe_decoder_step *step, const adamoe_texts *in, adamoe_texts *out)
{
    const adamoe_view replacement = {step->pattern, step->pattern_length};
    for (size_t i = 0; i < in->count; i++) {
        const adamoe_view content = {" ", i == 0 && step->drop_first ? 0 : 1};
        ADAMOE_TRY(adamoe_text_append_replaced(&out->bytes, adamoe_texts_get(in, i), replacement, content));
        ADAMOE_TRY(adamoe_texts_end(out));
    }
    return adamoe_ok();
}

/* Without a decoder: a blank between the tokens. */
static adamoe_status join(const adamoe_texts *in, adamoe_texts *out)
{
    for (size_t i = 0; i < in->count; i++) {
        ADAMOE_TRY(adamoe_text_append(&out->bytes, (adamoe_view){" ", i == 0 ? 0 : 1}));
        ADAMOE_TRY(adamoe_text_append(&out->bytes, adamoe_texts_get(in, i)));
    }
    return adamoe_texts_end(out);
}

static adamoe_status apply(const adamoe_decoder_step *step, const adamoe_texts *in, adamoe_texts *out)
{
    switch (step->kind) {
    case ADAMOE_DECODER_REPLACE:
        return replace(step, in, out);
    case ADAMOE_DECODER_BYTE_FALLBACK:
        return byte_fallback(in, out);
    case ADAMOE_DECODER_STRIP:
        return strip(step, in, out);
    case ADAMOE_DECODER_BYTE_LEVEL:
        return byte_level(in, out);
    case ADAMOE_DECODER_METASPACE:
        return metaspace(step, in, out);
    default:
        return fuse(in, out);
    }
}

/* The texts of *texts become those of *next, whose memory is freed. */
static void take(adamoe_texts *texts, adamoe_texts *next)
{
    adamoe_texts_free(texts);
    *texts = *next;
    *next = (adamoe_texts){0};
}

adamoe_status adamoe_decode_texts(const adamoe_decoder *decoder, adamoe_texts *texts)
{
    adamoe_texts next = {0};
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i < decoder->steps && status.code == ADAMOE_OK; i++) {
        status = apply(&decoder->step[i], texts, &next);
        take(texts, &next);
    }
    if (status.code == ADAMOE_OK) {
        status = decoder->present ? fuse(texts, &next) : join(texts, &next);
        take(texts, &next);
    }
    return status;
}
