/*
 * What the names of cases are made of, printed and read: sizes, words of a list, and what several kinds have.
 */
#ifndef ADAMOE_CHECK_CASES_WORDS_H
#define ADAMOE_CHECK_CASES_WORDS_H

#include "check/cases/cases.h"

/* ---------------------------------------------------------------------------------------------- to a name */

/* "/n:8/m:8/k:3/tokens:7", "/values:huge" or nothing, and "/weights:bf16". */
void adamoe_name_append_mixture(adamoe_case_name *name, const adamoe_case *c);
void adamoe_name_append_magnitude(adamoe_case_name *name, const adamoe_case *c);
void adamoe_name_append_weights(adamoe_case_name *name, const adamoe_case *c);

/* -------------------------------------------------------------------------------------------- from a name */

/* Moves *cursor behind `text` if it is there. */
bool adamoe_name_take(const char **cursor, const char *text);

/* Behind `label`, a size of at most 2^22; or one of `words`, up to the next `/` or the end, whose index *out
 * becomes. False where it is not there; where *cursor is then is not said. */
bool adamoe_name_take_size(const char **cursor, const char *label, size_t *out);
bool adamoe_name_take_word(const char **cursor, const char *label, const char *const *words, size_t count,
                           size_t *out);

bool adamoe_name_take_mixture(const char **cursor, adamoe_case *c);
void adamoe_name_take_magnitude(const char **cursor, adamoe_case *c); /* which may be missing */
bool adamoe_name_take_weights(const char **cursor, adamoe_case *c);

/* ------------------------------------------------------------------------------------------------- limits */

/* a b c <= 2^28, where each is at most 2^22. */
bool adamoe_is_bearable(size_t a, size_t b, size_t c);

/* n, m and k go together, and tokens (n + m) is bearable. */
bool adamoe_mixture_fits(const adamoe_case *c);

#endif
