/*
 * exp and silu on vectors, for any instruction set that has a lanes.h. Include that first.
 */
#ifndef ADAMOE_VECTOR_LANES_MATH_H
#define ADAMOE_VECTOR_LANES_MATH_H

/* exp(x) for x <= 88 (above, infinity is not reached: callers subtract a maximum first): x = n ln 2 + r with
 * |r| <= ln 2 / 2, a Taylor polynomial of degree 7 (relative error under 2^-27), times 2^n. ln 2 is split so
 * that n times its high part is exact. Below -104 the result is 0; between -87.3 and there it underflows
 * gradually. NaN stays NaN. */
static inline lanes lanes_exp(lanes x)
{
    /* The second operand is what max and min return for NaN. */
    x = lanes_smaller(lanes_all(88.0f), lanes_larger(lanes_all(-126.0f), x));
    const lanes n = lanes_round(lanes_multiply(x, lanes_all(0x1.715476p+0f)));
    lanes r = lanes_fma(n, lanes_all(-0x1.62e4p-1f), x);
    r = lanes_fma(n, lanes_all(-0x1.7f7d1cp-20f), r);
    lanes p = lanes_all(1.0f / 5040.0f);
    p = lanes_fma(p, r, lanes_all(1.0f / 720.0f));
    p = lanes_fma(p, r, lanes_all(1.0f / 120.0f));
    p = lanes_fma(p, r, lanes_all(1.0f / 24.0f));
    p = lanes_fma(p, r, lanes_all(1.0f / 6.0f));
    p = lanes_fma(p, r, lanes_all(0.5f));
    p = lanes_fma(p, r, lanes_all(1.0f));
    p = lanes_fma(p, r, lanes_all(1.0f));
    return lanes_scale(p, n);
}

/* silu(z) = z / (1 + exp(-z)), through exp(-|z|), which cannot overflow. */
static inline lanes lanes_silu(lanes z)
{
    const lanes one = lanes_all(1.0f), e = lanes_exp(lanes_subtract(lanes_all(0.0f), lanes_magnitude(z)));
    return lanes_divide(lanes_multiply(z, lanes_where_positive(z, one, e)), lanes_add(one, e));
}

#endif
