"""Intel Extension for PyTorch: llm.modules.GatedMLPMOE, in float32. (Its fused_experts needs AMX.)

    adamoe check --command 'python3 bench/peers/ipex.py' --kernel ipex-float32 --timeout 200
"""
import adamoe_kernel

adamoe_kernel.send_prints_to_stderr()
import intel_extension_for_pytorch
import torch
from intel_extension_for_pytorch.llm.modules import GatedMLPMOE

VERSION = f"IPEX {intel_extension_for_pytorch.__version__}, torch {torch.__version__}"


def pack(layer):
    n, _, ff, d = layer.w13.shape
    w13, w2 = adamoe_kernel.tensor(layer.w13).float(), adamoe_kernel.tensor(layer.w2).float()
    return GatedMLPMOE(w13.reshape(n, 2 * ff, d).clone(), w2.clone(), use_prepack=False)


@adamoe_kernel.kernel("ipex-float32", silu_error=4, weights=("float32", "float16", "bfloat16"), implementation=VERSION,
                      setup=pack)
def gated(layer, x, plan):
    """IPEX GatedMLPMOE, float32"""
    torch.set_num_threads(layer.threads)
    ids, weights = plan.topk(null_id=0)
    routing = torch.from_numpy(weights), torch.from_numpy(ids)
    with torch.no_grad():
        y = layer.state(adamoe_kernel.tensor(x).clone(), False, ids.shape[1], torch.zeros(plan.tokens, layer.experts), False,
                        custom_routing_function=lambda **_: routing)
    return plan.add_self(y.numpy(), x)


adamoe_kernel.run()
