/*
 * UTF-8 as Unicode defines it: no surrogates, nothing above U+10FFFF, no longer form than needed.
 */
#ifndef ADAMOE_FILES_UTF8_H
#define ADAMOE_FILES_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What adamoe_utf8_next reports in place of a character. */
#define ADAMOE_ILL_FORMED UINT32_MAX

/* Decodes the first character of text[length], length > 0, and returns how many bytes it takes. Where the
 * bytes are ill-formed, *character is ADAMOE_ILL_FORMED and the result is the length of what one U+FFFD
 * replaces: the longest part that could have begun a character, at least one byte. */
size_t adamoe_utf8_next(const char *text, size_t length, uint32_t *character);

/* The byte at which text[length] first is ill-formed; `length` where it is well-formed throughout. */
size_t adamoe_utf8_well_formed(const char *text, size_t length);

/* The number of characters (code points) of a well-formed text. */
size_t adamoe_utf8_count(const char *text, size_t length);

/* Encodes a character other than a surrogate, at most U+10FFFF; returns how many bytes that took. */
size_t adamoe_utf8_write(uint32_t character, char bytes[4]);

/* Unicode's property White_Space. */
bool adamoe_is_white_space(uint32_t character);

/* What Python's str.strip takes: White_Space and the four separators of ASCII. */
bool adamoe_is_python_space(uint32_t character);

#endif
