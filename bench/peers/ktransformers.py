"""kt-kernel of KTransformers: its experts in bfloat16, called below KTMoEWrapper, whose loader takes files alone. On
processors with bfloat16 products that is its class for AMX, which does without tiles there; elsewhere the one for AVX2.

    adamoe check --command 'python3 bench/peers/ktransformers.py' --kernel kt-bfloat16
"""
import adamoe_kernel

adamoe_kernel.send_prints_to_stderr()
import kt_kernel
import numpy
import torch
from kt_kernel import kt_kernel_ext as ext

with open("/proc/cpuinfo") as processor:
    CLASS = "AMXBF16_MOE" if "avx512_bf16" in processor.read() else "AVX2BF16_MOE"
VERSION = f"kt-kernel {kt_kernel.__version__}, torch {torch.__version__}, {CLASS}"
MOST_TOKENS, MOST_EXPERTS = 4096, 16  # of a call and of a token: buffers are made for them
pools = {}


def pool_of(threads):
    if threads not in pools:
        config = ext.WorkerPoolConfig()
        config.subpool_count, config.subpool_numa_map, config.subpool_thread_count = 1, [0], [threads]
        pools[threads] = ext.CPUInfer(config)
    return pools[threads]


def padded(matrices, rows, columns):
    return torch.nn.functional.pad(matrices, (0, columns - matrices.shape[-1], 0, rows - matrices.shape[-2])).contiguous()


class Packed:
    def __init__(self, layer):
        n = layer.experts
        d, ff = (size + -size % 32 for size in (layer.hidden_size, layer.intermediate_size))  # what it takes; zeros
        self.width = d
        self.weights = [padded(adamoe_kernel.tensor(w).bfloat16(), rows, columns)
                        for w, rows, columns in ((layer.w1, ff, d), (layer.w3, ff, d), (layer.w2, d, ff))]
        self.on_device = torch.zeros(n, dtype=torch.bool)
        self.order = torch.arange(n)
        self.pool = pool_of(layer.threads)
        config = ext.moe.MOEConfig(n, min(MOST_EXPERTS, n), d, ff, self.on_device.data_ptr())
        config.pool, config.max_len = self.pool.backend_, MOST_TOKENS
        one = [[w[e].data_ptr() for e in range(n)] for w in self.weights]
        config.gate_projs, config.up_projs, config.down_projs = [one[0]], [one[1]], [one[2]]
        self.moe = getattr(ext.moe, CLASS)(config)
        self.pool.submit(self.moe.load_weights_task(self.order.data_ptr()))
        self.pool.sync()


@adamoe_kernel.kernel("kt-bfloat16", x="bfloat16", h="bfloat16", weight="bfloat16", up="bfloat16", down="bfloat16", y="bfloat16",
                      silu_error=4, weights=("float32", "float16", "bfloat16"), implementation=VERSION, setup=Packed)
def experts(layer, x, plan):
    """kt-kernel, bfloat16"""
    packed = layer.state
    ids, weights = plan.topk(null_id=-1)
    if plan.tokens > MOST_TOKENS or ids.shape[1] > min(MOST_EXPERTS, layer.experts):
        raise adamoe_kernel.NotSupported(f"more than {MOST_TOKENS} tokens or {MOST_EXPERTS} experts of one")
    a = padded(adamoe_kernel.tensor(x).bfloat16(), plan.tokens, packed.width)
    y = torch.empty(plan.tokens, packed.width, dtype=torch.bfloat16)
    count = torch.tensor([plan.tokens], dtype=torch.int32)
    packed.pool.submit(packed.moe.forward_task(count.data_ptr(), ids.shape[1], ids.ctypes.data, weights.ctypes.data,
                                               a.data_ptr(), y.data_ptr(), False))
    packed.pool.sync()
    return plan.add_self(y[:, : layer.hidden_size].float().numpy(), x)


adamoe_kernel.run()
