/*
 * Pairwise test design, greedily: each row starts from a pair that has not met yet, and takes of every other
 * factor the value that brings the most new pairs. The result is near the smallest possible, not the
 * smallest.
 */
#include "check/cases/pairwise.h"

#include <stdlib.h>

#define UNSET SIZE_MAX

typedef struct design {
    const size_t *values;
    size_t factors, total; /* total: values of all factors */
    size_t *first;         /* [factors] where the values of a factor begin among all values */
    size_t *uses;          /* [total] how often a value was taken */
    bool *met;             /* [total, total] */
    size_t *row;           /* [rows + 1, factors] */
    size_t rows, capacity;
} design;

static bool *pair(design *d, size_t f, size_t v, size_t g, size_t w)
{
    return &d->met[(d->first[f] + v) * d->total + d->first[g] + w];
}

/* How many pairs of value v of factor f with the row's other values are new. */
static size_t new_pairs(design *d, const size_t *row, size_t f, size_t v)
{
    size_t count = 0;
    for (size_t g = 0; g < d->factors; ++g) {
        count += g != f && row[g] != UNSET && !*pair(d, f, v, g, row[g]);
    }
    return count;
}

/* Among values that bring equally many new pairs the one that was used least. */
static size_t best_value(design *d, const size_t *row, size_t f)
{
    size_t best = 0, best_count = 0;
    for (size_t v = 0; v < d->values[f]; ++v) {
        const size_t count = new_pairs(d, row, f, v);
        const bool less_used = d->uses[d->first[f] + v] < d->uses[d->first[f] + best];
        if (v == 0 || count > best_count || (count == best_count && less_used)) {
            best = v;
            best_count = count;
        }
    }
    return best;
}

static void complete_row(design *d, size_t *row)
{
    for (size_t f = 0; f < d->factors; ++f) {
        if (row[f] == UNSET) {
            row[f] = best_value(d, row, f);
        }
    }
    for (size_t f = 0; f < d->factors; ++f) {
        ++d->uses[d->first[f] + row[f]];
        for (size_t g = 0; g < d->factors; ++g) {
            *pair(d, f, row[f], g, row[g]) = true;
        }
    }
}

static bool reserve_row(design *d)
{
    if (d->rows < d->capacity) {
        return true;
    }
    const size_t capacity = 2 * d->capacity + 64;
    size_t *row = realloc(d->row, capacity * d->factors * sizeof *row);
    if (row == NULL) {
        return false;
    }
    d->row = row;
    d->capacity = capacity;
    return true;
}

static bool add_row(design *d, size_t f, size_t v, size_t g, size_t w)
{
    if (!reserve_row(d)) {
        return false;
    }
    size_t *row = d->row + d->rows * d->factors;
    for (size_t i = 0; i < d->factors; ++i) {
        row[i] = i == f ? v : i == g ? w : UNSET;
    }
    complete_row(d, row);
    ++d->rows;
    return true;
}

static bool cover_factors(design *d, size_t f, size_t g)
{
    for (size_t v = 0; v < d->values[f]; ++v) {
        for (size_t w = 0; w < d->values[g]; ++w) {
            if (!*pair(d, f, v, g, w) && !add_row(d, f, v, g, w)) {
                return false;
            }
        }
    }
    return true;
}

static bool cover_all(design *d)
{
    for (size_t f = 0; f < d->factors; ++f) {
        for (size_t g = f + 1; g < d->factors; ++g) {
            if (!cover_factors(d, f, g)) {
                return false;
            }
        }
    }
    return true;
}

static bool allocate(design *d)
{
    d->first = calloc(d->factors, sizeof *d->first);
    if (d->first == NULL) {
        return false;
    }
    for (size_t f = 0; f < d->factors; ++f) {
        d->first[f] = d->total;
        d->total += d->values[f];
    }
    d->uses = calloc(d->total, sizeof *d->uses);
    d->met = calloc(d->total * d->total, sizeof *d->met);
    return d->uses != NULL && d->met != NULL;
}

adamoe_status adamoe_pairwise(const size_t *values, size_t factors, size_t **out, size_t *rows)
{
    design d = {.values = values, .factors = factors};
    const bool complete = allocate(&d) && cover_all(&d);
    free(d.first);
    free(d.uses);
    free(d.met);
    if (!complete) {
        free(d.row);
        return adamoe_error(ADAMOE_ENVIRONMENT, "pairwise design: out of memory");
    }
    *out = d.row;
    *rows = d.rows;
    return adamoe_ok();
}
