/*
 * Decoding, checking and encoding of UTF-8. Left out: normalisation and every property but White_Space.
 */
#include "files/utf8.h"

/* What a lead byte demands. The bounds of the second byte exclude surrogates, characters above U+10FFFF and
 * forms that are longer than needed (table 3-7 of the Unicode standard). */
typedef struct sequence {
    size_t length; /* 0: no character begins so */
    uint8_t second_least, second_most;
    uint8_t bits; /* of the character, in the lead byte */
} sequence;

static sequence sequence_of(uint8_t lead)
{
    if (lead < 0x80) {
        return (sequence){1, 0, 0, lead};
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        return (sequence){2, 0x80, 0xBF, lead & 0x1F};
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        return (sequence){3, lead == 0xE0 ? 0xA0 : 0x80, lead == 0xED ? 0x9F : 0xBF, lead & 0x0F};
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        return (sequence){4, lead == 0xF0 ? 0x90 : 0x80, lead == 0xF4 ? 0x8F : 0xBF, lead & 0x07};
    }
    return (sequence){0, 0, 0, 0};
}

size_t adamoe_utf8_next(const char *text, size_t length, uint32_t *character)
{
    const sequence form = sequence_of((uint8_t)text[0]);
    *character = ADAMOE_ILL_FORMED;
    if (form.length == 0) {
        return 1;
    }
    uint32_t value = form.bits;
    for (size_t i = 1; i < form.length; i++) {
        const uint8_t least = i == 1 ? form.second_least : 0x80;
        const uint8_t most = i == 1 ? form.second_most : 0xBF;
        if (i == length || (uint8_t)text[i] < least || (uint8_t)text[i] > most) {
            return i;
        }
        value = value << 6 | ((uint8_t)text[i] & 0x3F);
    }
    *character = value;
    return form.length;
}

size_t adamoe_utf8_well_formed(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length) {
        uint32_t character;
        const size_t bytes = adamoe_utf8_next(text + i, length - i, &character);
        if (character == ADAMOE_ILL_FORMED) {
            break;
        }
        i += bytes;
    }
    return i;
}

size_t adamoe_utf8_count(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        count += ((uint8_t)text[i] & 0xC0) != 0x80;
    }
    return count;
}

size_t adamoe_utf8_write(uint32_t character, char bytes[4])
{
    if (character < 0x80) {
        bytes[0] = (char)character;
        return 1;
    }
    const size_t length = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--) {
        bytes[i] = (char)(0x80 | (character & 0x3F));
        character >>= 6;
    }
    /* As many leading ones as there are bytes. */
    bytes[0] = (char)((0xF00u >> length & 0xFF) | character);
    return length;
}

bool adamoe_is_white_space(uint32_t character)
{
    return (character >= 0x09 && character <= 0x0D) || character == 0x20 || character == 0x85 ||
           character == 0xA0 || character == 0x1680 || (character >= 0x2000 && character <= 0x200A) ||
           character == 0x2028 || character == 0x2029 || character == 0x202F || character == 0x205F ||
           character == 0x3000;
}

bool adamoe_is_python_space(uint32_t character)
{
    return adamoe_is_white_space(character) || (character >= 0x1c && character <= 0x1f);
}
