"""A kernel that breaks in the way that its argument says."""
import os
import sys
import time

import adamoe_kernel
import numpy

how = sys.argv[1]
if how == "import":
    raise ImportError("libnone.so.1: cannot open shared object file")
if how == "between":  # it ends when the answer to a call has left
    say = adamoe_kernel._Server.say

    def last_words(server, message):
        say(server, message)
        if isinstance(message, bytes):
            os._exit(4)

    adamoe_kernel._Server.say = last_words


@adamoe_kernel.kernel(silu_error=4)
def broken(layer, x, plan):
    y = numpy.zeros((plan.tokens, layer.hidden_size), numpy.float32)
    if how == "raise":
        raise IndexError("expert 8 is out of range")
    if how == "exit":
        os._exit(3)
    if how == "abort":
        os.abort()
    if how == "loop":
        while True:
            time.sleep(1)
    if how == "shape":
        return y[:, :-1]
    if how == "type":
        return y.astype(numpy.int32)
    if how == "print":
        print("tokens:", plan.tokens)
    if how == "write":
        x[...] = 0
    if how == "skip":
        raise adamoe_kernel.NotSupported("only batches of one")
    return y


adamoe_kernel.run()
