"""Golden maps with LoRA experts: value, balance loss and gradients by PyTorch's autograd, in double.

    python3 tests/golden/lora_experts.py

Made with PyTorch 2; any version gives the same up to the last places. Written as one would in PyTorch, with a product
for each expert: it shares nothing with reference/lora/lora_experts.c but the formula.
"""
import json
import pathlib
import struct

import torch

OUT = pathlib.Path(__file__).parent / "lora_experts.safetensors"


def case(seed, tokens, inputs, outputs, rank, n, m, k, alpha, norm, form="null_averaged", balance=0.0):
    generator = torch.Generator().manual_seed(seed)

    def values(*shape):
        return torch.randn(shape, generator=generator).double().float().double().requires_grad_()

    x, frozen, dy = values(tokens, inputs), values(outputs, inputs), values(tokens, outputs).detach()
    a, b = values(n, rank, inputs), values(n, outputs, rank)
    router = values(n + m, inputs) if k else None
    adapted = [alpha / rank * (x @ a[e].T) @ b[e].T for e in range(n)]
    loss = torch.zeros(())
    if router is None:
        y = x @ frozen.T + adapted[0]
    else:
        logits = x @ router.T
        p = logits.softmax(-1)
        selected = torch.zeros(tokens, n + m).scatter(1, p.topk(k).indices, 1.0).double()
        true = torch.tensor([i < n for i in range(n + m)])
        over = {"true": selected * true, "all": selected, "none": torch.ones_like(selected)}[norm]
        total = (p * over).sum(-1, keepdim=True)
        weights = torch.where(total > 0, p * selected * true / total.clamp_min(1e-300), torch.zeros_like(p))
        y = x @ frozen.T + sum(weights[:, e:e + 1] * adapted[e] for e in range(n))
        f = selected.mean(0) / k
        if form == "null_averaged" and m:
            f = torch.cat([f[:n], f[n:].mean().expand(m)])
        loss = balance * (n + m) * (f * p.mean(0)).sum()
    ((y * dy).sum() + loss).backward()
    tensors = {"x": x, "frozen": frozen, "dy": dy, "a": a.reshape(n * rank, inputs),
               "b": b.transpose(1, 2).reshape(n * rank, outputs), "expected.y": y, "expected.dx": x.grad,
               "expected.da": a.grad.reshape(n * rank, inputs),
               "expected.db": b.grad.transpose(1, 2).reshape(n * rank, outputs)}
    if router is not None:
        tensors |= {"router": router, "expected.drouter": router.grad}
    facts = dict(n=n, m=m, k=max(k, 1), rank=rank, alpha=alpha, norm=norm, form=form, balance=balance, loss=float(loss))
    if k:
        facts["all_null"] = int((selected[:, :n].sum(1) == 0).sum())
    return tensors, facts


CASES = {
    "top2": case(1, 11, 13, 9, 3, 4, 0, 2, 6.0, "true", "switch", 0.7),
    "adamoe": case(2, 17, 12, 15, 2, 4, 5, 4, 5.0, "true", "null_averaged", 0.9),
    "all_null": case(3, 23, 10, 7, 2, 2, 6, 2, 4.0, "true", "null_averaged", 0.3),
    "norm_all": case(4, 9, 10, 11, 2, 3, 3, 3, 2.0, "all", "switch", 0.5),
    "norm_none": case(5, 9, 10, 11, 2, 3, 3, 3, 2.0, "none", "switch", 0.5),
    "plain": case(6, 5, 8, 6, 4, 1, 0, 0, 8.0, "true"),
}

if __name__ == "__main__":
    header, blobs, offset = {"__metadata__": {}}, [], 0
    for name, (tensors, facts) in CASES.items():
        for key, value in facts.items():
            header["__metadata__"][f"{name}.{key}"] = str(value)
        for key, tensor in tensors.items():
            blob = tensor.detach().float().contiguous().numpy().tobytes()
            header[f"{name}.{key}"] = {"dtype": "F32", "shape": list(tensor.shape),
                                       "data_offsets": [offset, offset + len(blob)]}
            blobs.append(blob)
            offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    OUT.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    for name, (_, facts) in CASES.items():
        print(name, facts)
