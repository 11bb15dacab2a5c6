/*
 * What products of bfloat16 pairs need beside their tiles: rounded inputs and rounded h. After avx512/lanes.h.
 */
#include <string.h>

#define INPUT_TERMS 2
#define PAIR_BYTES  4

/* An odd last output gets a zero beside it: outputs that do not exist are NaN where an input is infinite. */
static inline void store_hidden(float *to, lanes h, size_t outputs)
{
    uint16_t term[LANES];
    const __m256bh rounded = _mm512_cvtneps_pbh(h);
    memcpy(term, &rounded, sizeof term);
    if (outputs % INPUT_TERMS != 0) {
        term[outputs] = 0;
    }
    memcpy(to, term, (outputs + 1) / INPUT_TERMS * PAIR_BYTES);
}

#define STORE_HIDDEN store_hidden
#include "packed/tile_finish.h"

static void round_terms(const float *terms, size_t count, void *to)
{
    char *out = to;
    for (size_t c = 0; c < count; c += LANES, out += sizeof(__m256bh)) {
        const size_t left = count - c, groups = (left + 1) / INPUT_TERMS;
        const __m256bh rounded = _mm512_cvtneps_pbh(load_columns(terms + c, left));
        memcpy(out, &rounded, left >= LANES ? sizeof rounded : groups * PAIR_BYTES);
    }
}
