"""Kernels in Python for `adamoe --command 'python3 FILE.py'`: see kernels/remote/README.md.

    import numpy, adamoe_kernel

    @adamoe_kernel.kernel(silu_error=4)
    def mine(layer, x, plan):
        ...
        return y        # [plan.tokens, layer.hidden_size], float32

    adamoe_kernel.run()

It needs NumPy alone. `tensor` gives any of the arrays to PyTorch, without a copy.
"""
import functools
import json
import mmap
import os
import socket
import sys
import time
import traceback

import numpy

VERSION = 1
_LONGEST = 65536
_NUMPY = {"float32": numpy.float32, "float16": numpy.float16, "bfloat16": numpy.uint16}
_kernels = []
_processors = len(os.sched_getaffinity(0))
_promised = [name for name in os.environ.get("ADAMOE_PROMISE", "").split(",") if name]


class NotSupported(Exception):
    """The kernel does not do this: the case is skipped, and the reason is shown."""


# ------------------------------------------------------------------------------------------------------ numbers


def to_float32(array):
    """Weights as float32: bfloat16 comes as uint16, the upper half of a float32."""
    if array.dtype == numpy.uint16:
        return (array.astype(numpy.uint32) << 16).view(numpy.float32)
    return array.astype(numpy.float32, copy=False)


def to_bfloat16(array):
    """float32 as bfloat16 in uint16, rounded to nearest even; a NaN stays one."""
    bits = numpy.ascontiguousarray(array, dtype=numpy.float32).view(numpy.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)
    return numpy.where(numpy.isnan(array), (bits >> 16).astype(numpy.uint16) | 0x40, rounded)


def tensor(array):
    """The array as a torch tensor that shares its memory; uint16 becomes torch.bfloat16. Do not write to it."""
    import torch
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that NumPy would not let anybody write there
        if array.dtype == numpy.uint16:
            return torch.from_numpy(array.view(numpy.int16)).view(torch.bfloat16)
        if array.dtype == numpy.uint32:
            return torch.from_numpy(array.view(numpy.int32))
        return torch.from_numpy(array)


# ----------------------------------------------------------------------------------------------- layer and plan


class Layer:
    """The weights of one layer, read-only, and a place for what a kernel makes of them once (`setup`).

    w13  [experts, 2, intermediate_size, hidden_size]: w1 and w3 of each expert, one behind the other
    w1   [experts, intermediate_size, hidden_size], w3 likewise: views of w13
    w2   [experts, hidden_size, intermediate_size]
    dtype is float32, float16 or bfloat16, which NumPy sees as uint16; threads is how many a call may use, not more than there are processors.
    """

    def __init__(self, memory, message):
        self.hidden_size = message["hidden_size"]
        self.intermediate_size = message["intermediate_size"]
        self.experts = message["experts"]
        self.null_experts = message["null_experts"]
        self.dtype = message["dtype"]
        self.threads = min(message["threads"], _processors)
        n, d, ff = self.experts, self.hidden_size, self.intermediate_size
        self.w13 = _array(memory, _NUMPY[self.dtype], message["w13"], (n, 2, ff, d))
        self.w2 = _array(memory, _NUMPY[self.dtype], message["w2"], (n, d, ff))
        self.w1, self.w3 = self.w13[:, 0], self.w13[:, 1]
        self.state = None  # what `setup` returned


class Plan:
    """Which rows of x go to which expert, and what becomes of them: adamoe_plan of reference/adamoe.h.

    Row r of expert e, offset[e] <= r < offset[e + 1], reads x[input[r]] (times dispatch[r], where there is one).
    y[t] is the sum over places i, token_offset[t] <= i < token_offset[t + 1], of combine[i] times the output of row
    token_row[i], plus self_scale[t] * x[t] where there is a self_scale.
    """

    dispatch = self_scale = None

    def __init__(self, tokens, inputs, experts, offset, input, token_offset, token_row, combine, dispatch=None,
                 self_scale=None):
        self.tokens, self.inputs, self.experts = tokens, inputs, experts
        self.rows = len(input)
        self.offset, self.input, self.dispatch = offset, input, dispatch
        self.token_offset, self.token_row, self.combine = token_offset, token_row, combine
        self.self_scale = self_scale

    def experts_with_rows(self):
        """(expert, slice of its rows) for each expert that has any."""
        ends = self.offset.tolist()
        return [(e, slice(ends[e], ends[e + 1])) for e in range(self.experts) if ends[e] < ends[e + 1]]

    @functools.cached_property
    def expert(self):
        """[rows] the expert of each row."""
        return numpy.repeat(numpy.arange(self.experts), numpy.diff(self.offset.astype(numpy.int64)))

    @functools.cached_property
    def token(self):
        """[places] the token of each place."""
        return numpy.repeat(numpy.arange(self.tokens), numpy.diff(self.token_offset.astype(numpy.int64)))

    def gather(self, x):
        """[rows, hidden_size] the input of each row."""
        rows = x[self.input]
        return rows if self.dispatch is None else rows * self.dispatch[:, None]

    def topk(self, null_id=-1, width=None):
        """(topk_ids, topk_weights), both [tokens, k], as engines take them: a token with fewer experts has places of
        `null_id` and weight 0. k is the longest list of a token, at least 1, or `width`. NotSupported where the plan is
        not one of a routing: a row that is scaled, or that more than its token reads. self_scale is left to add_self."""
        if self.dispatch is not None or self.inputs != self.tokens:
            raise NotSupported("ids and weights of tokens cannot say a plan with slots or scaled inputs")
        if numpy.any(self.input[self.token_row] != self.token):
            raise NotSupported("ids and weights of tokens cannot say that a token sums another one's row")
        counts = numpy.diff(self.token_offset.astype(numpy.int64))
        k = max(1, int(counts.max(initial=0))) if width is None else width
        if counts.max(initial=0) > k:
            raise NotSupported(f"a token has {counts.max()} experts; there is room for {k}")
        place = numpy.arange(len(self.token_row)) - self.token_offset[:-1].astype(numpy.int64)[self.token]
        ids = numpy.full((self.tokens, k), null_id, numpy.int64)
        weights = numpy.zeros((self.tokens, k), numpy.float32)
        ids[self.token, place] = self.expert[self.token_row]
        weights[self.token, place] = self.combine
        return ids, weights

    @classmethod
    def from_topk(cls, ids, weights, experts, self_scale=None):
        """The plan of ids and weights [tokens, k], of which ids below 0 or from `experts` on are null experts; a token's
        sum goes through its experts in ascending order, and no expert comes twice in a token."""
        ids, weights = numpy.asarray(ids), numpy.asarray(weights, numpy.float32)
        token, column = numpy.nonzero((ids >= 0) & (ids < experts))
        expert, weight = ids[token, column].astype(numpy.int64), weights[token, column]
        by_expert = numpy.lexsort((token, expert))
        row = numpy.empty(len(expert), numpy.int64)
        row[by_expert] = numpy.arange(len(expert))
        by_token = numpy.lexsort((row, token))
        if numpy.any((numpy.diff(token[by_token]) == 0) & (numpy.diff(expert[by_token]) == 0)):
            raise ValueError("an expert comes twice in one token")
        offset = numpy.searchsorted(expert[by_expert], numpy.arange(experts + 1))
        token_offset = numpy.searchsorted(token, numpy.arange(len(ids) + 1))
        u32 = numpy.uint32
        return cls(len(ids), len(ids), experts, offset.astype(u32), token[by_expert].astype(u32),
                   token_offset.astype(u32), row[by_token].astype(u32), weight[by_token], self_scale=self_scale)

    def add_self(self, y, x):
        """y, with what identity experts add: self_scale * x."""
        return y if self.self_scale is None else y + self.self_scale[:, None] * x


def _array(memory, dtype, at, shape):
    return numpy.ndarray(shape, dtype, memory, at)


# ------------------------------------------------------------------------------------------------- declarations


def kernel(name=None, *, silu_error, x="float32", h="float32", weight="float32", accumulate="float32",
           up="float32", down="float32", y="float32", guarantees=(), weights=("float32",), tiles=None, summary=None, implementation=None, why_not=None, setup=None):
    """Makes a function of (layer, x, plan) a kernel. What is declared is what it is judged by:

    silu_error      the largest relative error of its silu, in units of 2^-24; 4 is that of z / (1 + exp(-z)) in float32
    x, h, weight    what its operands are rounded to: float32, bfloat16 or int8
    accumulate      what its sums are kept in: float32, int32 (of int8) or float64
    up, down, y     what w1 x and w3 x, w2 h, and y are rounded to: float32 or bfloat16
    guarantees      of "runs", "threads", "batch", "placement": for which its bits are the same. The environment's
                    ADAMOE_PROMISE=runs,batch promises in the author's place, to see whether it would hold
    weights         stored weights that it takes: "float32", "float16", "bfloat16"
    tiles           {"rows": tokens, "columns": outputs, "depth": terms} of the blocks that it computes in
    implementation  what computes, with its version; shown with times
    why_not         why it cannot run here, or None
    setup           a function of layer, called once for each layer; what it returns is layer.state
    """

    def declare(function):
        own = name or function.__name__.replace("_", "-")
        announced = {"name": own, "summary": summary or (function.__doc__ or "in Python").strip().splitlines()[0],
                     "x": x, "h": h, "weight": weight, "accumulate": accumulate, "up": up, "down": down,
                     "y": y, "silu_error": silu_error,
                     "guarantees": list(guarantees) + [g for g in _promised if g not in guarantees], "weights": list(weights), "tiles": tiles or {},
                     "implementation": implementation or f"numpy {numpy.__version__}"}
        if why_not is not None:
            announced["why_not"] = why_not
        _kernels.append((announced, function, setup))
        return function

    return declare


# ------------------------------------------------------------------------------------------------------- serving


class _Server:
    def __init__(self, connection):
        self.connection = connection
        self.kernels = {announced["name"]: (function, setup) for announced, function, setup in _kernels}
        self.layers = {}
        self.inputs = self.outputs = None
        self.data = self.message = self.made = None  # the last message, and the arrays that it names

    def hear(self):
        data, control, _, _ = self.connection.recvmsg(_LONGEST, 64)
        descriptors = numpy.frombuffer(control[0][2], numpy.int32).tolist() if control else []
        return data, descriptors

    def say(self, message):
        sys.stdout.flush()  # what was printed is seen now
        self.connection.send(message if isinstance(message, bytes) else json.dumps(message).encode())

    def prepare(self, message, descriptors):
        function, setup = self.kernels[message["kernel"]]
        layer = Layer(_map(descriptors[0], message["bytes"], mmap.PROT_READ), message)
        if setup is not None:
            made = setup(layer)
            layer.state = layer.state if made is None else made  # it may have set it by itself
        self.layers[message["object"]] = function, layer
        return {"ok": True}

    def release(self, message, descriptors):
        del self.layers[message["object"]]
        return {"ok": True}

    def arrays(self, m, layer, descriptors):
        """x, the sizes and arrays of Plan, and y."""
        if descriptors:
            self.inputs = _map(descriptors[0], m["regions"][0], mmap.PROT_READ)
            self.outputs = _map(descriptors[1], m["regions"][1], mmap.PROT_READ | mmap.PROT_WRITE)
        tokens, rows, places, d = m["tokens"], m["rows"], m["places"], layer.hidden_size
        u32, f32 = numpy.uint32, numpy.float32
        shapes = {"offset": (u32, layer.experts + 1), "input": (u32, rows), "token_offset": (u32, tokens + 1),
                  "token_row": (u32, places), "combine": (f32, places), "dispatch": (f32, rows),
                  "self_scale": (f32, tokens)}
        plan = {name: _array(self.inputs, dtype, m[name], (count,))
                for name, (dtype, count) in shapes.items() if name in m}
        x = _array(self.inputs, f32, m["x"], (m["inputs"], d))
        y = _array(self.outputs, f32, m["y"], (tokens, d))
        return x, (tokens, m["inputs"], layer.experts), plan, y

    def experts(self, message, descriptors):
        function, layer = self.layers[message["object"]]
        layer.threads = min(message["threads"], _processors)
        if self.made is None or descriptors:
            self.made = self.arrays(message, layer, descriptors)
        x, sizes, plan, y = self.made
        got = _to_numpy(function(layer, x, Plan(*sizes, **plan)))
        if got.shape != y.shape:
            raise ValueError(f"the kernel returned an array of shape {got.shape}, expected {y.shape}")
        if got.dtype.kind != "f":
            raise ValueError(f"the kernel returned an array of {got.dtype}, expected floats")
        y[...] = got

    def answer(self, data, descriptors, start):
        if data != self.data:  # the same message again names the same arrays: calls of one size, as in a benchmark
            self.data, self.message, self.made = data, json.loads(data), None
        message = self.message
        try:
            if message["do"] == "experts":
                self.experts(message, descriptors)
                return b'{"ok":true,"seconds":%.9f}' % (time.perf_counter() - start)
            return getattr(self, message["do"])(message, descriptors)
        except NotSupported as reason:
            return {"error": str(reason), "code": "not supported"}
        except MemoryError as reason:
            return {"error": f"out of memory: {reason}", "code": "environment"}
        except Exception as reason:  # whatever a kernel raises is its answer
            return {"error": f"{type(reason).__name__}: {reason}{_where(reason)}"[:400]}

    def serve(self):
        self.say({"adamoe": VERSION, "kernels": [announced for announced, _, _ in _kernels]})
        while True:
            data, descriptors = self.hear()
            start = time.perf_counter()
            if not data:
                return
            self.say(self.answer(data, descriptors, start))


def _map(descriptor, size, protection):
    memory = mmap.mmap(descriptor, size, mmap.MAP_SHARED, protection)
    os.close(descriptor)
    return memory


def _to_numpy(array):
    if isinstance(array, numpy.ndarray):
        return array
    if hasattr(array, "detach"):
        return array.detach().float().cpu().numpy()  # a torch tensor, wherever it lives
    return numpy.asarray(array)


def _where(error):
    """The innermost line of the kernel's own file."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    return f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""


def send_prints_to_stderr():
    """Standard output must stay empty. A library that prints there by itself is led to standard error by this; call it
    before the library is imported."""
    sys.stdout.flush()
    os.dup2(2, 1)


def run():
    """Serves all kernels that were declared, until `adamoe` has no more to ask. Never returns."""
    where = os.environ.get("ADAMOE_KERNEL_SOCKET")
    if where is None:
        sys.exit(f"{os.path.basename(sys.argv[0])}: for `adamoe check --command 'python3 {sys.argv[0]}'` and other verbs")
    numpy.seterr(all="ignore")  # what overflows or is no number is seen in y
    _Server(socket.socket(fileno=int(where))).serve()
    sys.stdout.flush()
    os._exit(0)  # threads that a library left behind would wait for nothing
