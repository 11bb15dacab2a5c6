/*
 * The alphabet of byte-level tokenizers. Left out: the pattern that splits a text
 * (tokenizer/pre_tokenizer.c).
 */
#include "tokenizer/parts.h"

/* Bytes that are a printable character of Latin-1, and no blank: they stand for themselves. The others lie in
 * three runs, 0x00 .. 0x20, 0x7F .. 0xA0 and 0xAD. */
static bool is_printable(uint32_t byte)
{
    return (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
}

uint32_t adamoe_byte_character(uint8_t byte)
{
    if (is_printable(byte)) {
        return byte;
    }
    const uint32_t run_before = byte <= 0x20 ? 0 : byte <= 0xA0 ? 0x21u : 0x21u + 0x22u;
    const uint32_t run_begins = byte <= 0x20 ? 0 : byte <= 0xA0 ? 0x7Fu : 0xADu;
    return 0x100 + run_before + (byte - run_begins);
}

bool adamoe_character_byte(uint32_t character, uint8_t *byte)
{
    if (character < 0x100) {
        *byte = (uint8_t)character;
        return is_printable(character);
    }
    const uint32_t index = character - 0x100;
    if (index > 0x43) {
        return false;
    }
    *byte = (uint8_t)(index < 0x21 ? index : index < 0x43 ? index - 0x21 + 0x7F : 0xAD);
    return true;
}
