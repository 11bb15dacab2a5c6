"""What torch._grouped_mm makes of a batch in which no token has an expert: plain NumPy, whose product of no rows is no rows,
is the judge.

    python3 bench/peers/no_rows.py        (a torch that has _grouped_mm)
"""
import numpy
import torch

experts, d, ff = 4, 64, 32
w = numpy.ones((experts, d, ff), numpy.float32)
for rows in ([2, 0, 1, 0], [0, 0, 0, 3], [0, 0, 0, 0]):
    ends = numpy.cumsum(rows).astype(numpy.int32)
    x = numpy.ones((ends[-1], d), numpy.float32)
    expected = numpy.concatenate([x[end - count:end] @ w[e] for e, (end, count) in enumerate(zip(ends, rows))])
    try:
        y = torch._grouped_mm(torch.from_numpy(x).bfloat16(), torch.from_numpy(w).bfloat16(), offs=torch.from_numpy(ends))
        got = "right" if numpy.array_equal(y.float().numpy(), expected) else "wrong"
    except RuntimeError as error:
        got = f"RuntimeError: {str(error).splitlines()[0]}"
    print(f"rows of each expert {rows}, shape {expected.shape}: {got}")
