"""The example with one of ten mistakes, by its number: what somebody who writes such a kernel gets wrong."""
import sys

import adamoe_kernel
import numpy

mistake = int(sys.argv[1])


def silu(z):
    if mistake == 1:  # exp(-z) overflows below -88: the limit is right, but not the way there, and not the derivative
        return z / (1 + numpy.exp(-z)) if numpy.all(z > -80) else numpy.where(z > -10, z, 0) / (1 + numpy.exp(-z))
    t = numpy.exp(-numpy.abs(z))
    return numpy.where(z >= 0, z, z * t) / (1 + t)


@adamoe_kernel.kernel("mistaken", silu_error=4, guarantees=("batch",) if mistake == 9 else (),
                      weights=("float32", "float16", "bfloat16"))
def experts(layer, x, plan):
    out = numpy.zeros((plan.rows, layer.hidden_size), numpy.float32)
    for e, rows in plan.experts_with_rows():
        w1, w3, w2 = (adamoe_kernel.to_float32(w[e]) for w in (layer.w1, layer.w3, layer.w2))
        if mistake == 2:  # w1 and w3 change places: silu(w3 x) * w1 x
            w1, w3 = w3, w1
        a = x[plan.input[rows]]
        if plan.dispatch is not None and mistake != 3:  # 3: inputs are not scaled
            a = a * plan.dispatch[rows, None]
        h = silu(a @ w1.T) * (a @ w3.T)
        if mistake == 4:  # h is rounded to float16, which is not said
            h = h.astype(numpy.float16).astype(numpy.float32)
        if mistake == 5:  # a block of 16 terms, and the rest forgotten
            whole = max(1, h.shape[1] // 16) * 16
            h, w2 = h[:, :whole], w2[:, :whole]
        out[rows] = h @ w2.T
    y = numpy.zeros((plan.tokens, layer.hidden_size), numpy.float32)
    if plan.self_scale is not None and mistake != 6:  # 6: identity experts are taken for zero ones
        y += plan.self_scale[:, None] * x
    combine = plan.combine[plan.token_row] if mistake == 7 and plan.rows else plan.combine  # 7: by row, not by place
    if mistake == 8:  # every token has as many places as the first one
        k = int(plan.token_offset[1]) if plan.tokens else 0
        for t in range(plan.tokens):
            for place in range(t * k, min((t + 1) * k, len(plan.token_row))):
                y[t] += combine[place] * out[plan.token_row[place]]
        return y
    if mistake == 9 and plan.tokens % 2:  # the batch decides about the order of sums, and the bits are promised
        for place in range(len(plan.token_row) - 1, -1, -1):
            y[plan.token[place]] += combine[place] * out[plan.token_row[place]]
        return y
    if mistake == 10:  # what repeats is written once: y[t] += ... with an array of indices
        y[plan.token] += combine[:, None] * out[plan.token_row]
        return y
    numpy.add.at(y, plan.token, combine[:, None] * out[plan.token_row])
    return y


adamoe_kernel.run()
