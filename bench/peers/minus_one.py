"""What vLLM's cpu_fused_moe makes of an id of -1, by which other backends mark "no expert": plain NumPy is the judge.

    VLLM_LIBRARY=.../_C_AVX2.abi3.so python3 bench/peers/minus_one.py
"""
import os

import numpy
import torch

torch.ops.load_library(os.environ["VLLM_LIBRARY"])
n, d, ff, tokens = 1, 64, 32, 33
random = numpy.random.default_rng(1)
w13, w2, x = (random.integers(-2, 3, shape).astype(numpy.float32) for shape in ((n, 2 * ff, d), (n, d, ff), (tokens, d)))


def vllm(ids, weights):
    packed = [torch.empty(w.shape) for w in (w13, w2)]
    for w, p in zip((w13, w2), packed):
        torch.ops._C.prepack_moe_weight(torch.from_numpy(w), p, "vec")
    y = torch.full((len(ids), d), torch.nan)
    torch.ops._C.cpu_fused_moe(y, torch.from_numpy(x), *packed, None, None, torch.tensor(weights),
                               torch.tensor(ids, dtype=torch.int32), False, "silu", "vec")
    return y.numpy()


def judge(ids, weights):
    y = numpy.zeros((len(ids), d))
    for t, row in enumerate(ids):
        for e, c in zip(row, weights[t]):
            if e >= 0:
                gate, up = numpy.split(w13[e].astype(float) @ x[t], 2)
                y[t] += c * (w2[e] @ (gate / (1 + numpy.exp(-gate)) * up))
    return y


half = [t % 2 for t in range(tokens)]
for what, null_id in (("0, of weight 0", 0), ("-1", -1), ("n", n)):
    ids, weights = [[null_id if null else 0] for null in half], [[0.0 if null else 1.0] for null in half]
    expected = judge([[0]] * tokens, weights)
    wrong = numpy.abs(vllm(ids, weights) - expected).max(axis=1) > 1e-3 * numpy.abs(expected).max()
    print(f"null experts as {what}: {wrong.sum()} of {tokens} tokens are wrong: {numpy.flatnonzero(wrong).tolist()}")
