/*
 * What int8 products need beside their tiles: quantised inputs and scaled sums. Included once for each
 * instruction set, after tile_loop.h; INPUT_TERMS terms make one row's group. Before it are defined:
 *   store_steps(steps, groups, to, stride)    stores the first groups of a vector of whole steps as tiles
 * read them, `stride` bytes apart NEGATIVE_EXCESS                           1 where a row's negative steps
 * are added to each of its sums, once too much; otherwise 0 tile_to_lanes(sum, excess, row_excess)    sums
 * less what is too much in them, as floats
 */
#define MOST_STEPS 127.0f

#ifndef STEPS_AT
/* Where the group with term c of a row begins. */
#define STEPS_AT(to, c, stride) ((to) + (c) / INPUT_TERMS * (stride))
#endif

static float step_of(float largest)
{
    return largest / MOST_STEPS;
}

/* The steps are counted with a rounded quotient, half to even, as reference/numbers.h defines it. */
static int32_t quantise(const float *terms, size_t count, float scale, void *to, size_t stride)
{
    const lanes step = lanes_all(scale), most = lanes_all(MOST_STEPS), least = lanes_all(-MOST_STEPS);
    const lanes zero = lanes_all(0.0f);
    char *out = to;
    lanes negative = zero; /* whole numbers: the sum is exact */
    for (size_t c = 0; c < count; c += LANES) {
        const size_t here = count - c < LANES ? count - c : LANES;
        lanes q = zero;
        if (scale > 0.0f) {
            q = lanes_round(lanes_divide(load_columns(terms + c, here), step));
            q = lanes_smaller(lanes_larger(q, least), most);
        }
        store_steps(q, (here + INPUT_TERMS - 1) / INPUT_TERMS, STEPS_AT(out, c, stride), stride);
        negative = lanes_add(negative, lanes_smaller(q, zero));
    }
    return NEGATIVE_EXCESS * (int32_t)lanes_sum(negative);
}

static void scale_sums(void *sums, size_t stride, size_t rows, packed_scales scales)
{
    for (size_t r = 0; r < rows; ++r) {
        for (size_t v = 0; v < PACKED_VECTORS; ++v) {
            char *at = (char *)sums + (r * stride + v * LANES) * sizeof(float);
            const lanes sum = tile_to_lanes(tile_load(at), scales.excess + v * LANES, scales.row[r].excess);
            const lanes scaled = lanes_multiply(sum, lanes_load(scales.output + v * LANES));
            lanes_store((float *)(void *)at, lanes_multiply(scaled, lanes_all(scales.row[r].step)));
        }
    }
}
