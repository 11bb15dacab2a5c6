/*
 * Unicode's normal form NFC.
 */
#ifndef ADAMOE_TOKENIZER_NFC_H
#define ADAMOE_TOKENIZER_NFC_H

#include "tokenizer/parts.h"

/* Appends the normal form of a text, which is well-formed UTF-8. It takes time in proportion to its length. Errors:
 * memory. */
adamoe_status adamoe_text_append_nfc(adamoe_text *out, adamoe_view text);

#endif
