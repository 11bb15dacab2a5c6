/*
 * What int8 products need beside their tiles: quantised inputs and scaled sums. Included once for each
 * instruction set, after tile_loop.h; INPUT_TERMS terms of type input_term, stored as q + EXCESS, make the
 * four bytes of one row's group.
 */
#define MOST_STEPS 127.0f

/* The steps are counted with a rounded quotient, half to even, as reference/numbers.h defines it. */
static void quantise(const float *terms, size_t count, float scale, void *to, size_t stride)
{
    char *const out = to;
    for (size_t c = 0; c < count; c += LANES) {
        const size_t here = count - c < LANES ? count - c : LANES;
        float steps[LANES] = {0};
        if (scale > 0.0f) {
            const lanes q = lanes_round(lanes_divide(lanes_load_first(terms + c, here), lanes_all(scale)));
            lanes_store(steps, lanes_smaller(lanes_larger(q, lanes_all(-MOST_STEPS)), lanes_all(MOST_STEPS)));
        }
        for (size_t i = 0; i < (here + INPUT_TERMS - 1) / INPUT_TERMS * INPUT_TERMS; ++i) {
            input_term *group = (input_term *)(void *)(out + (c + i) / INPUT_TERMS * stride);
            group[(c + i) % INPUT_TERMS] = (input_term)((int)(i < here ? steps[i] : 0.0f) + EXCESS);
        }
    }
}

static void scale_sums(void *sums, size_t stride, size_t rows, packed_scales scales)
{
    for (size_t r = 0; r < rows; ++r) {
        for (size_t v = 0; v < PACKED_VECTORS; ++v) {
            char *at = (char *)sums + (r * stride + v * LANES) * sizeof(float);
            const lanes sum = tile_to_lanes(tile_load(at), scales.excess + v * LANES);
            const lanes scaled = lanes_multiply(sum, lanes_load(scales.output + v * LANES));
            lanes_store((float *)(void *)at, lanes_multiply(scaled, lanes_all(scales.row[r])));
        }
    }
}
