"""What kt-kernel's AVX2 experts make of numbers far from 1: plain NumPy, in double, is the judge. One expert whose matrices
only pick entries of x, so that y_j = silu(x_j) x_j and no sum has more than one term.

    python3 bench/peers/far_numbers.py        (pip install kt-kernel)
"""
import numpy
import torch
from kt_kernel import kt_kernel_ext as ext

d, ff = 64, 32
pick = torch.zeros(ff, d)
pick[range(ff), range(ff)] = 1.0
weights = [w.bfloat16().contiguous() for w in (pick, pick, pick.T)]

config = ext.WorkerPoolConfig()
config.subpool_count, config.subpool_numa_map, config.subpool_thread_count = 1, [0], [1]
pool = ext.CPUInfer(config)
on_device, order = torch.zeros(1, dtype=torch.bool), torch.arange(1)
moe = ext.moe.MOEConfig(1, 1, d, ff, on_device.data_ptr())
moe.pool, moe.max_len = pool.backend_, 16
moe.gate_projs, moe.up_projs, moe.down_projs = ([[w.data_ptr()]] for w in weights)
experts = ext.moe.AVX2BF16_MOE(moe)
pool.submit(experts.load_weights_task(order.data_ptr()))
pool.sync()


def kt(x):
    a, y = torch.from_numpy(x).bfloat16()[None].contiguous(), torch.full((1, d), torch.nan, dtype=torch.bfloat16)
    count, ids, weight = torch.tensor([1], dtype=torch.int32), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1)
    pool.submit(experts.forward_task(count.data_ptr(), 1, ids.data_ptr(), weight.data_ptr(), a.data_ptr(), y.data_ptr(),
                                     False))
    pool.sync()
    return y[0].float().numpy()


for power, sign in ((0, 1), (-20, 1), (-60, 1), (-66, 1), (20, 1), (30, 1), (31, 1), (50, 1), (5, -1), (20, -1), (50, -1)):
    x = numpy.zeros(d, numpy.float32)
    x[3] = sign * 2.0**power
    with numpy.errstate(over="ignore"):
        expected = float(x[3]) ** 2 / (1.0 + numpy.exp(-float(x[3])))
    got = float(kt(x)[3])
    wrong = not abs(got - expected) <= 2.0**-7 * abs(expected)  # a bfloat16, twice rounded
    print(f"x = {'-' if sign < 0 else ''}2^{power}: expected {expected:.3g}, got {got:.3g}{'  wrong' if wrong else ''}")
