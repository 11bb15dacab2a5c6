/*
 * Bytes that grow, and what the parts of a tokenizer do with them.
 */
#include "tokenizer/parts.h"
#include "files/utf8.h"

#include <stdlib.h>
#include <string.h>

adamoe_status adamoe_tokenizer_out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "tokenizer: out of memory");
}

void *adamoe_grown(void *memory, size_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity && memory != NULL) {
        return memory;
    }
    /* Doubling keeps the cost of appending constant. */
    size_t larger = *capacity < 16 ? 16 : *capacity;
    while (larger < count) {
        if (larger > SIZE_MAX / 2) {
            return NULL;
        }
        larger *= 2;
    }
    void *moved = reallocarray(memory, larger, size);
    if (moved != NULL) {
        *capacity = larger;
    }
    return moved;
}

char *adamoe_view_copy(adamoe_view view)
{
    char *copy = malloc(view.length + 1);
    if (copy != NULL) {
        if (view.length > 0) {
            memcpy(copy, view.data, view.length);
        }
        copy[view.length] = '\0';
    }
    return copy;
}

bool adamoe_view_equal(adamoe_view a, adamoe_view b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

adamoe_view adamoe_text_view(const adamoe_text *text)
{
    return (adamoe_view){text->data, text->length};
}

adamoe_status adamoe_text_append(adamoe_text *text, adamoe_view more)
{
    if (more.length == 0) {
        return adamoe_ok();
    }
    if (more.length > SIZE_MAX - text->length) {
        return adamoe_tokenizer_out_of_memory();
    }
    char *moved = adamoe_grown(text->data, &text->capacity, text->length + more.length, 1);
    if (moved == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    text->data = moved;
    memcpy(text->data + text->length, more.data, more.length);
    text->length += more.length;
    return adamoe_ok();
}

adamoe_status adamoe_text_append_replaced(adamoe_text *text, adamoe_view more, adamoe_view pattern,
                                          adamoe_view content)
{
    while (more.length >= pattern.length) {
        const char *match = memmem(more.data, more.length, pattern.data, pattern.length);
        if (match == NULL) {
            break;
        }
        const size_t before = (size_t)(match - more.data);
        ADAMOE_TRY(adamoe_text_append(text, (adamoe_view){more.data, before}));
        ADAMOE_TRY(adamoe_text_append(text, content));
        more.data += before + pattern.length;
        more.length -= before + pattern.length;
    }
    return adamoe_text_append(text, more);
}

adamoe_status adamoe_text_append_repaired(adamoe_text *text, adamoe_view bytes)
{
    while (bytes.length > 0) {
        const size_t good = adamoe_utf8_well_formed(bytes.data, bytes.length);
        ADAMOE_TRY(adamoe_text_append(text, (adamoe_view){bytes.data, good}));
        bytes.data += good;
        bytes.length -= good;
        if (bytes.length > 0) {
            uint32_t character;
            const size_t bad = adamoe_utf8_next(bytes.data, bytes.length, &character);
            ADAMOE_TRY(adamoe_text_append(text, (adamoe_view){"\xEF\xBF\xBD", 3}));
            bytes.data += bad;
            bytes.length -= bad;
        }
    }
    return adamoe_ok();
}

void adamoe_text_free(adamoe_text *text)
{
    free(text->data);
    *text = (adamoe_text){0};
}
