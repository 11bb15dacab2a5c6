"""Golden layers computed in NumPy, in double: what tests/reference/oracle_test.c and the examples of `adamoe layer` read.

Run by hand, from any folder, with NumPy (made with 2.4; any version gives the same bits up to the last place of the
exponentials):

    python3 tests/golden/layer.py

Weights and inputs are small multiples of powers of two, so that every router logit is exact in float32 in any order
of summation: which experts are selected does not depend on rounding, and ties are exact.
"""

import json
import pathlib
import struct

import numpy as np

HERE = pathlib.Path(__file__).parent / "layer"


def save(path, tensors, metadata):
    names = {np.dtype(np.float32): "F32", np.dtype(np.int64): "I64"}
    header, offset = {"__metadata__": metadata}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(array.tobytes())


def layer(seed, tokens, d, ff, n, m, k, norm="true", null_kind="zero", copies=False):
    random = np.random.default_rng(seed)

    def grid(*shape, step=2.0 ** -6, reach=32):
        return (random.integers(-reach, reach + 1, shape) * step).astype(np.float32)

    x, gate = grid(tokens, d), grid(n, d)
    gate2 = np.tile(gate, (m // n, 1)) if copies else grid(m, d)
    w1, w3, w2 = grid(n, ff, d, step=2.0 ** -7), grid(n, ff, d, step=2.0 ** -7), grid(n, d, ff, step=2.0 ** -7)

    f64 = np.float64
    logits = x.astype(f64) @ np.concatenate([gate, gate2]).astype(f64).T
    ids = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)

    output, weights = np.zeros((tokens, d)), np.zeros((tokens, k))
    for t in range(tokens):
        selected = [i for i in ids[t] if i < n or norm == "all"]
        norm_sum = sum(np.exp(logits[t, i] - logits[t].max()) for i in selected)
        for j, i in enumerate(ids[t]):
            if i >= n:
                continue
            weights[t, j] = p[t, i] if norm == "none" else np.exp(logits[t, i] - logits[t].max()) / norm_sum
        for j in sorted(range(k), key=lambda place: ids[t, place]):
            i = ids[t, j]
            if i < n:
                a, b = w1[i].astype(f64) @ x[t], w3[i].astype(f64) @ x[t]
                output[t] += weights[t, j] * (w2[i].astype(f64) @ (a / (1 + np.exp(-a)) * b))
            elif null_kind == "identity":
                output[t] += p[t, i] * x[t]

    f = np.bincount(ids.ravel(), minlength=n + m) / tokens
    averaged = np.concatenate([f[:n], np.full(m, f[n:].mean() if m else 0.0)])
    P = p.mean(axis=0)
    tensors = {"hidden_states": x, "block_sparse_moe.gate.weight": gate, "block_sparse_moe.gate2.weight": gate2}
    for e in range(n):
        for name, w in (("w1", w1), ("w2", w2), ("w3", w3)):
            tensors[f"block_sparse_moe.experts.{e}.{name}.weight"] = np.ascontiguousarray(w[e])
    tensors |= {
        "expected.router_logits": logits.astype(np.float32),
        "expected.selected_experts": ids.astype(np.int64),
        "expected.routing_weights": weights.astype(np.float32),
        "expected.true_experts_per_token": (ids < n).sum(axis=1).astype(np.int64),
        "expected.output_f64_rounded": output.astype(np.float32),
    }
    metadata = {
        "num_local_experts": str(n), "num_null_experts": str(m), "num_experts_per_tok": str(k),
        "hidden_size": str(d), "intermediate_size": str(ff), "tokens": str(tokens),
        "norm": norm, "null_kind": null_kind,
        "plain_balance_loss": repr((n + m) * float(f @ P)),
        "null_averaged_balance_loss": repr((n + m) * float(averaged @ P)),
        "released_code_balance_loss": repr((n + m) * float(f @ P)),
    }
    return tensors, metadata


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    save(HERE / "small.safetensors", *layer(1, tokens=13, d=24, ff=20, n=4, m=5, k=3))
    save(HERE / "ties.safetensors", *layer(2, tokens=9, d=17, ff=11, n=4, m=8, k=4, copies=True))
    save(HERE / "identity.safetensors", *layer(3, tokens=7, d=16, ff=9, n=3, m=3, k=3, null_kind="identity"))
    save(HERE / "norm_all.safetensors", *layer(4, tokens=7, d=16, ff=9, n=3, m=3, k=3, norm="all"))
    save(HERE / "norm_none.safetensors", *layer(5, tokens=7, d=16, ff=9, n=3, m=3, k=3, norm="none"))
    save(HERE / "all_selected.safetensors", *layer(6, tokens=5, d=11, ff=7, n=3, m=2, k=5))
