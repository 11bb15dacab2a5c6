"""ggml, which llama.cpp computes with: the graph of build_moe_ffn, by ggml_experts.cpp beside this file.

GGML_EXPERTS is the shared object that was built of it. Products of float16 and bfloat16 round their inputs too; those
of float32 round nothing.

    GGML_EXPERTS=./libggml_experts.so adamoe check --command 'python3 bench/peers/ggml.py' --kernel ggml-float32
"""
import ctypes
import os

import adamoe_kernel
import numpy

library = ctypes.CDLL(os.path.abspath(os.environ["GGML_EXPERTS"]))
library.experts_version.restype = ctypes.c_char_p
library.experts_compute.restype = ctypes.c_bool
VERSION = f"ggml {library.experts_version().decode()}"


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def declare(name, dtype, operand, weights, convert):
    def pack(layer):
        return [numpy.ascontiguousarray(convert(w)) for w in (layer.w1, layer.w3, layer.w2)]

    @adamoe_kernel.kernel(name, x=operand, h=operand, weight=operand, silu_error=4, weights=weights, setup=pack,
                          implementation=VERSION, summary=f"ggml, weights in {operand}")
    def experts(layer, x, plan):
        ids, weights = plan.topk(null_id=0)  # ggml knows no null experts: one of weight 0 is computed instead
        ids, y = ids.astype(numpy.int32), numpy.empty((plan.tokens, layer.hidden_size), numpy.float32)
        if plan.tokens == 0:
            return y
        size = ctypes.c_int64
        if not library.experts_compute(layer.threads, dtype, size(layer.experts), size(layer.hidden_size),
                                       size(layer.intermediate_size), size(ids.shape[1]), size(plan.tokens),
                                       *map(pointer, layer.state), pointer(x), pointer(ids), pointer(weights), pointer(y)):
            raise MemoryError("ggml")
        return plan.add_self(y, x)


declare("ggml-float32", 0, "float32", ("float32", "float16", "bfloat16"), adamoe_kernel.to_float32)
declare("ggml-bfloat16", 2, "bfloat16", ("bfloat16",), numpy.asarray)
adamoe_kernel.run()
