"""A device that is none: memory that only copies reach, so that a kernel of it does what one of a GPU does. Its arithmetic
is float64, as a device's own may be another than the host's."""
import adamoe_kernel
import numpy


class Memory:
    """What lies on the device. NumPy cannot use it by mistake: it is no array and has no buffer."""

    __slots__ = ("_content",)

    def __init__(self, array):
        self._content = numpy.array(array, dtype=numpy.float64)  # the copy to the device

    def to_host(self):
        return self._content.astype(numpy.float32)  # the copy back

    def __array__(self, *arguments, **keywords):
        raise TypeError("memory of the device, used on the host")


def launch(function, *arguments):
    """Runs a function on the device: it sees the content, and so does its result."""
    return Memory(function(*(a._content if isinstance(a, Memory) else a for a in arguments)))


def expert(x, w1, w3, w2):
    t = numpy.exp(-numpy.abs(g := x @ w1.T))
    return (numpy.where(g >= 0, g, g * t) / (1 + t) * (x @ w3.T)) @ w2.T


def to_device(layer):
    """Once for each layer."""
    return [tuple(Memory(w[e]) for w in (layer.w1, layer.w3, layer.w2)) for e in range(layer.experts)]


@adamoe_kernel.kernel("mock-device", silu_error=4, accumulate="float64", setup=to_device)
def on_device(layer, x, plan):
    rows = Memory(plan.gather(x))
    out = launch(lambda r: numpy.zeros((plan.rows, layer.hidden_size)), rows)
    for e, some in plan.experts_with_rows():
        part = launch(lambda r, *w: expert(r[some], *w), rows, *layer.state[e])
        out = launch(lambda o, p: numpy.concatenate([o[: some.start], p, o[some.stop :]]), out, part)
    y = numpy.zeros((plan.tokens, layer.hidden_size), numpy.float64)
    numpy.add.at(y, plan.token, plan.combine[:, None].astype(numpy.float64) * out.to_host()[plan.token_row])
    return plan.add_self(y, x)


if __name__ == "__main__":
    adamoe_kernel.run()
