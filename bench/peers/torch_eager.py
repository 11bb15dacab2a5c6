"""PyTorch, eagerly: rows in the order of experts, one product after the other; and torch._grouped_mm where torch has it.

    adamoe check --command 'python3 bench/peers/torch_eager.py' --kernel torch-eager
"""
import adamoe_kernel
import numpy
import torch
from torch.nn.functional import silu

VERSION = f"torch {torch.__version__}"
ALL = ("float32", "float16", "bfloat16")


def combine(plan, layer, rows, x):
    """The weighted sum of each token's rows."""
    y = torch.zeros(plan.tokens, layer.hidden_size)
    places = rows[torch.from_numpy(plan.token_row.astype(numpy.int64))]
    y.index_add_(0, torch.from_numpy(plan.token), places * adamoe_kernel.tensor(plan.combine)[:, None])
    return plan.add_self(y.numpy(), x)


@adamoe_kernel.kernel("torch-eager", silu_error=4, weights=ALL, implementation=VERSION,
                      setup=lambda layer: tuple(adamoe_kernel.tensor(w).float() for w in (layer.w1, layer.w3, layer.w2)))
def eager(layer, x, plan):
    """PyTorch float32, one expert after the other"""
    torch.set_num_threads(layer.threads)
    w1, w3, w2 = layer.state
    a = torch.from_numpy(plan.gather(x))
    out = torch.empty(plan.rows, layer.hidden_size)
    for e, rows in plan.experts_with_rows():
        out[rows] = (silu(a[rows] @ w1[e].T) * (a[rows] @ w3[e].T)) @ w2[e].T
    return combine(plan, layer, out, x)


def stack(layer):
    n, _, ff, d = layer.w13.shape
    w13, w2 = adamoe_kernel.tensor(layer.w13).bfloat16(), adamoe_kernel.tensor(layer.w2).bfloat16()
    return w13.reshape(n, 2 * ff, d).transpose(1, 2), w2.transpose(1, 2)


@adamoe_kernel.kernel("torch-grouped", x="bfloat16", h="bfloat16", weight="bfloat16", up="bfloat16", down="bfloat16",
                      silu_error=4, weights=ALL, implementation=VERSION, setup=stack,
                      why_not=None if hasattr(torch, "_grouped_mm") else f"{VERSION} has no torch._grouped_mm")
def grouped(layer, x, plan):
    """PyTorch bfloat16, all experts in one torch._grouped_mm"""
    if layer.hidden_size % 8 or layer.intermediate_size % 8:
        raise adamoe_kernel.NotSupported("torch._grouped_mm: rows of a multiple of 16 bytes alone")
    torch.set_num_threads(layer.threads)
    w13, w2 = layer.state
    ends = adamoe_kernel.tensor(plan.offset[1:].astype(numpy.int32))
    a = torch.from_numpy(plan.gather(x)).bfloat16()
    gate, up = torch._grouped_mm(a, w13, offs=ends).float().chunk(2, dim=-1)
    out = torch._grouped_mm((silu(gate) * up).bfloat16(), w2, offs=ends).float()
    return combine(plan, layer, out, x)


adamoe_kernel.run()
