"""A kernel in NumPy: the experts one after the other, all their rows at once.

    adamoe check --command 'python3 example.py' --kernel numpy-example
"""
import numpy

import adamoe_kernel


def silu(z):
    t = numpy.exp(-numpy.abs(z))  # exp(-z) overflows for z < -88, where silu is still a number
    return numpy.where(z >= 0, z, z * t) / (1 + t)


@adamoe_kernel.kernel("numpy-example", silu_error=4, weights=("float32", "float16", "bfloat16"))
def experts(layer, x, plan):
    """NumPy, one expert after the other"""
    out = numpy.empty((plan.rows, layer.hidden_size), numpy.float32)
    for e, rows in plan.experts_with_rows():
        w1, w3, w2 = (adamoe_kernel.to_float32(w[e]) for w in (layer.w1, layer.w3, layer.w2))
        a = x[plan.input[rows]]
        if plan.dispatch is not None:
            a = a * plan.dispatch[rows, None]
        out[rows] = (silu(a @ w1.T) * (a @ w3.T)) @ w2.T
    y = numpy.zeros((plan.tokens, layer.hidden_size), numpy.float32)
    if plan.self_scale is not None:
        y += plan.self_scale[:, None] * x
    numpy.add.at(y, plan.token, plan.combine[:, None] * out[plan.token_row])
    return y


if __name__ == "__main__":
    adamoe_kernel.run()
