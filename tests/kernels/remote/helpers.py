"""What adamoe_kernel.py gives beside serving: plans to ids and back, bfloat16, and torch where it is there."""
import adamoe_kernel
import numpy
from adamoe_kernel import NotSupported, Plan

random = numpy.random.default_rng(1)


def naive(ids, weights, outputs):
    """The sum over each token's true experts, from outputs [tokens, experts]."""
    n = outputs.shape[1]
    return [sum(w * outputs[t, i] for i, w in zip(row, weights[t]) if 0 <= i < n) for t, row in enumerate(ids)]


def by_plan(plan, outputs):
    rows = outputs[plan.input, plan.expert]
    y = numpy.zeros(plan.tokens)
    numpy.add.at(y, plan.token, plan.combine * rows[plan.token_row])
    return y


def check_round_trip(tokens, n, m, k):
    """Ids of null experts are -1, n and above; the plan means the same, and so do the ids that it gives."""
    scores = random.random((tokens, n + m))
    ids = numpy.argsort(-scores, axis=1)[:, :k].astype(numpy.int64)
    ids[(ids >= n) & (ids % 2 == 0)] = -1
    weights = random.random((tokens, k)).astype(numpy.float32)
    outputs = random.random((tokens, n))
    plan = Plan.from_topk(ids, weights, n)
    assert plan.rows == ((ids >= 0) & (ids < n)).sum()
    assert numpy.all(numpy.diff(plan.offset.astype(int)) >= 0) and plan.offset[-1] == plan.rows
    for t in range(tokens):  # the rows of a list ascend
        row = plan.token_row[plan.token_offset[t]:plan.token_offset[t + 1]].astype(int)
        assert numpy.all(numpy.diff(row) > 0)
    expected = naive(ids, weights, outputs)
    assert numpy.allclose(by_plan(plan, outputs), expected)
    for null_id in (-1, n):
        back, back_weights = plan.topk(null_id)
        assert back.shape == back_weights.shape and back.shape[1] >= 1
        assert numpy.allclose(naive(back, back_weights, outputs), expected)
        assert set(numpy.unique(back[(back < 0) | (back >= n)])) <= {null_id}
        again = Plan.from_topk(back, back_weights, n)
        for name in ("offset", "input", "token_offset", "token_row", "combine"):
            assert numpy.array_equal(getattr(again, name), getattr(plan, name)), name


def check_refusals():
    plan = Plan.from_topk([[0, 1], [1, -1]], [[.5, .5], [1., 0.]], 2)
    assert plan.topk(width=4)[0].shape == (2, 4)
    refused(lambda: plan.topk(width=1), NotSupported, "a token has 2 experts")
    slots = Plan(2, 1, 2, plan.offset, plan.input * 0, plan.token_offset, plan.token_row, plan.combine)
    refused(slots.topk, NotSupported, "slots")
    foreign = Plan(2, 2, 2, plan.offset, 1 - plan.input, plan.token_offset, plan.token_row, plan.combine)
    refused(foreign.topk, NotSupported, "another one's row")
    scaled = Plan(2, 2, 2, plan.offset, plan.input, plan.token_offset, plan.token_row, plan.combine,
                  dispatch=numpy.ones(3, numpy.float32))
    refused(scaled.topk, NotSupported, "scaled")
    refused(lambda: Plan.from_topk([[1, 1]], [[.5, .5]], 2), ValueError, "twice")


def refused(call, kind, text):
    try:
        call()
    except kind as reason:
        assert text in str(reason), reason
    else:
        raise AssertionError(f"not refused: {text}")


def check_bfloat16():
    """Exactly, to nearest even, around each of some values; and all of them there and back."""
    every = numpy.arange(65536, dtype=numpy.uint16)
    finite = (every & 0x7F80) != 0x7F80
    back = adamoe_kernel.to_bfloat16(adamoe_kernel.to_float32(every))
    assert numpy.array_equal(back[finite], every[finite])
    nan = (every & 0x7F80 == 0x7F80) & (every & 0x7F != 0)
    assert numpy.isnan(adamoe_kernel.to_float32(back[nan])).all()
    for bits in (0x0000, 0x0001, 0x3F80, 0x3F81, 0x7F7F, 0xC2FF):
        exact = numpy.uint32(bits << 16)
        for lower, up in ((0, 0), (0x7FFF, 0), (0x8000, bits & 1), (0x8001, 1), (0xFFFF, 1)):
            value = numpy.array([exact + numpy.uint32(lower)], numpy.uint32).view(numpy.float32)
            assert adamoe_kernel.to_bfloat16(value)[0] == bits + up, (hex(bits), hex(lower))


def check_torch():
    """Skipped, and said, without torch."""
    try:
        import torch
    except ImportError:
        print("skipped: torch is not here")
        return
    values = numpy.array([1, -2.5, 3e38], numpy.float32)
    bits = adamoe_kernel.to_bfloat16(values)
    tensor = adamoe_kernel.tensor(bits)
    assert tensor.dtype == torch.bfloat16 and tensor.float().tolist() == adamoe_kernel.to_float32(bits).tolist()
    shared = adamoe_kernel.tensor(values)
    values[0] = 7
    assert shared[0] == 7
    values.setflags(write=False)
    assert adamoe_kernel.tensor(values).data_ptr() == shared.data_ptr()


for sizes in ((7, 8, 8, 3), (1, 1, 0, 1), (0, 4, 4, 2), (33, 8, 24, 8), (5, 4, 60, 4), (64, 1, 3, 2)):
    check_round_trip(*sizes)
check_refusals()
check_bfloat16()
check_torch()
print("all of the helpers do what they say")
