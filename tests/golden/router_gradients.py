"""Gradients of every router's layer by PyTorch's autograd, in double: what tests/reference/routers/router_golden_test.c
reads. The layers are those of tests/golden/routers.py; what is selected, placed and refused is taken from what they
expect, and everything between, down to the objective, is written here from the definitions.

Run by hand, from any folder, with PyTorch (made with 1.13) and NumPy:

    python3 tests/golden/router_gradients.py

objective = sum of direction * y + sum over the losses of their weight, 1.25 and 0.75, times the loss. One file holds all
layers: LAYER.direction, LAYER.objective, and LAYER.gradient.TENSOR for every floating-point tensor that the layer reads.
"""

import json
import math
import pathlib
import struct

import numpy as np
import torch

from layer import save

HERE = pathlib.Path(__file__).parent
WEIGHTS = (1.25, 0.75)


def load(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8:8 + size]), raw[8 + size:]
    metadata = header.pop("__metadata__")
    types = {"F32": np.float32, "I64": np.int64}
    return metadata, {name: np.frombuffer(data[slice(*t["data_offsets"])], types[t["dtype"]]).reshape(t["shape"]).copy()
                      for name, t in header.items()}


class Layer:
    def __init__(self, metadata, tensors):
        self.given = metadata
        self.expected = {k[9:]: v for k, v in tensors.items() if k.startswith("expected.")}
        self.t = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) if v.dtype == np.float32
                  else torch.tensor(v) for k, v in tensors.items() if not k.startswith("expected.")}
        self.x = self.t["hidden_states"]
        self.S, self.d = self.x.shape
        self.n = int(metadata["experts"])
        self.self_scale, self.after, self.losses = 0.0, 0.0, []

    def number(self, name, default=None):
        return float(self.given.get(name, default))

    def weight(self, name):
        return self.t[f"block_sparse_moe.{name}.weight"]

    def logits(self):
        rows = [self.weight("gate")] + ([self.weight("gate2")] if "block_sparse_moe.gate2.weight" in self.t else [])
        return self.x @ torch.cat(rows).T

    def choices(self, ids):
        """[S, ids], 1 where a token chose the id, before refusals."""
        chosen = torch.zeros(self.S, ids, dtype=torch.float64)
        return chosen.scatter(1, torch.tensor(self.expected["choice"]), 1.0)

    def shares(self, chosen):
        return chosen.sum(0) / self.S

    def expert(self, e, x):
        w1, w3, w2 = (self.weight(f"experts.{e}.{name}") for name in ("w1", "w3", "w2"))
        return (torch.nn.functional.silu(x @ w1.T) * (x @ w3.T)) @ w2.T

    def plan(self, weight):
        """The rows of the plan, by the weights [S, ids]."""
        y = torch.zeros(self.S, self.d, dtype=torch.float64)
        for e in range(self.n):
            tokens = torch.tensor([s for s, expert, _ in self.expected["index"] if expert == e], dtype=torch.long)
            y = y.index_add(0, tokens, weight[tokens, e:e + 1] * self.expert(e, self.x[tokens]))
        return y


def by_rule(l):
    logits = l.logits()
    ids, norm = logits.shape[1], l.given["norm"]
    chosen, p = l.choices(ids), torch.softmax(logits, 1)
    true = torch.arange(ids) < l.n
    over = {"true": chosen.bool() & true, "none": torch.ones_like(chosen).bool()}[norm]
    weight = torch.softmax(torch.where(over, logits, torch.tensor(-math.inf, dtype=torch.float64)), 1)
    weight = torch.where(over.any(1, keepdim=True), weight, torch.zeros_like(weight))
    if l.given.get("null_kind") == "identity":
        l.self_scale = (p * chosen * ~true).sum(1)
    f, P = l.shares(chosen), p.mean(0)
    averaged = torch.cat([f[:l.n], f[l.n:].mean().expand(ids - l.n)]) if ids > l.n else f
    l.losses = [ids * (f @ P), ids * (averaged @ P)]
    return l.plan(weight)


def token_choice(l):
    A = torch.softmax(l.logits(), 1)
    first = torch.nn.functional.one_hot(torch.tensor(l.expected["choice"][:, 0]), l.n).to(torch.float64)
    mass = A.sum(0)
    l.losses = [l.n * (l.shares(first) @ A.mean(0)), (mass.std(unbiased=False) / mass.mean()) ** 2]
    return l.plan(A)


def expert_choice(l):
    return l.plan(torch.softmax(l.logits(), 1))


def soft_moe(l):
    epsilon, phi = l.number("norm_epsilon"), l.t["router.phi"]
    hat = [a / (torch.linalg.vector_norm(a, dim=1, keepdim=True) + epsilon) for a in (l.x, phi)]
    logits = l.t["router.scale"] * (hat[0] @ hat[1].T)
    D, B, p = torch.softmax(logits, 0), torch.softmax(logits, 1), len(phi) // l.n
    slots = D.T @ l.x
    return sum(B[:, e * p:(e + 1) * p] @ l.expert(e, slots[e * p:(e + 1) * p]) for e in range(l.n))


def localities(l, p):
    nodes, eta, home = int(l.given["nodes"]), 0.1, l.t["router.home"]
    f = l.shares(l.choices(l.n))
    locality = 0.0
    for h in range(nodes):
        current = p[home == h].mean(0)
        wanted = eta / l.n + (1 - eta) / (l.n // nodes) * (torch.arange(l.n) // (l.n // nodes) == h)
        locality = locality + 0.01 * (home == h).to(torch.float64).mean() * (current * torch.log(current / wanted)).sum()
    l.losses = [0.01 * l.n * (f @ p.mean(0)), locality]


def locmoe(l):
    p = torch.softmax(torch.relu(l.x.reshape(l.S, l.n, -1).mean(-1)), 1)
    localities(l, p)
    return l.plan(p)


def locmoe_plus(l):
    group = l.d // l.n
    indicators = torch.eye(l.n, dtype=torch.float64).repeat_interleave(group, 1)
    affinity = torch.nn.functional.cosine_similarity(l.x[:, None], indicators[None], dim=2)
    p = torch.softmax(affinity / l.number("temperature"), 1)
    localities(l, p)
    return l.plan(p)


def memoe(l):
    anchors = torch.cat([torch.zeros(1, l.t["router.anchors"].shape[1], dtype=torch.float64), l.t["router.anchors"]])
    G = torch.softmax(torch.cat([l.x, anchors[l.t["router.anchor_id"] + 1]], 1) @ l.weight("gate").T, 1)
    gate, up, down = (l.t[f"mlp.{name}.weight"] for name in ("gate_proj", "up_proj", "down_proj"))
    l.after = (torch.nn.functional.silu(l.x @ gate.T) * (l.x @ up.T)) @ down.T
    return l.plan(l.number("lambda") * G)


def top_p(l):
    p = torch.softmax(l.logits(), 1)
    count = torch.bincount(torch.tensor(l.expected["index"][:, 1]), minlength=l.n).to(torch.float64)
    l.losses = [0.01 * l.n * (count / l.S @ p.mean(0)), 1e-4 * -(p * torch.log(p)).sum(1).mean()]
    return l.plan(p)


def loss_free(l):
    logits = l.logits()
    s = torch.sigmoid(logits) if l.given["score"] == "sigmoid" else torch.softmax(logits, 1)
    total = (s * l.choices(l.n)).sum(1, keepdim=True) + 1e-20
    return l.plan(l.number("scale") * (s / total if l.given["normalise"] == "1" else s))


def longcat(l):
    logits = l.logits()
    ids, k, expected, groups = logits.shape[1], l.number("top_k"), l.number("expected_k"), int(l.given["groups"])
    p, chosen = torch.softmax(logits, 1), l.choices(logits.shape[1])
    weight = l.number("scale") * p
    l.self_scale = (weight * chosen)[:, l.n:].sum(1)
    count, P = chosen.sum(0), p.mean(0)
    size = l.n // groups
    loss = sum(groups / (expected * l.S) * count[g * size:(g + 1) * size].sum() * P[g * size:(g + 1) * size].sum()
               for g in range(groups))
    loss = loss + count[l.n:].sum() / ((k - expected) * l.S) * P[l.n:].sum()
    l.losses = [l.number("alpha") * loss]
    return l.plan(weight)


def moe_plus_plus(l):
    logits = l.logits()
    if "router.residual.weight" in l.t:
        logits = logits + l.t["router.previous_logits"] @ l.t["router.residual.weight"].T
    ids, constant, copy, zero = logits.shape[1], *(int(l.given[k]) for k in ("constant", "copy", "zero"))
    p, chosen = torch.softmax(logits, 1), l.choices(logits.shape[1])
    nonzero = chosen * (torch.arange(ids) < ids - zero)
    weight = p
    if l.given["norm"] == "nonzero":
        total = (p * nonzero).sum(1, keepdim=True)
        weight = torch.where(total > 0, p / torch.where(total > 0, total, torch.ones_like(total)), torch.zeros_like(p))
    took = chosen.clone()
    for s, i in l.expected["rejected"]:
        took[s, i] = 0
    others = weight * took
    l.self_scale = others[:, l.n + constant:l.n + constant + copy].sum(1)
    for c in range(constant):
        a = torch.softmax(l.x @ l.t[f"router.constant.{c}.gate"].T, 1)
        w = others[:, l.n + c]
        l.self_scale = l.self_scale + w * a[:, 0]
        l.after = l.after + (w * a[:, 1])[:, None] * l.t[f"router.constant.{c}.vector"]
    eta = torch.where(torch.arange(ids) < l.n, 1.0, l.number("tau")).to(torch.float64)
    l.losses = [l.number("beta") * (eta * l.shares(chosen) * p.mean(0)).sum()]
    return l.plan(weight)


def null_copies(l):
    logits = l.logits()
    copies = math.floor(l.n * (1 - l.number("rho")) / l.number("rho") + 0.5)
    logits = torch.cat([logits[:, :l.n], logits[:, l.n:].expand(-1, copies)], 1)
    ids = l.n + copies
    chosen, p = l.choices(ids), torch.softmax(logits, 1)
    over = chosen.bool() & (torch.arange(ids) < l.n)
    weight = torch.where(over, torch.exp(logits), torch.zeros_like(logits))
    total = weight.sum(1, keepdim=True)
    l.losses = [0.02 * ids * (l.shares(chosen) @ p.mean(0)), 0.001 * (torch.logsumexp(logits, 1) ** 2).mean()]
    return l.plan(weight / torch.where(total > 0, total, torch.ones_like(total)))


def remoe(l):
    w = torch.relu(l.logits())
    f = l.n / (l.number("target_k") * l.S) * (w > 0).sum(0)
    l.losses = [(f * w).sum() / l.S]
    return l.plan(w)


ROUTERS = {"adamoe": by_rule, "top_k": by_rule, "softmax_token_choice": token_choice,
           "sinkhorn_token_choice": token_choice, "softmax_expert_choice": expert_choice,
           "sinkhorn_expert_choice": expert_choice, "sparse_expert_choice": expert_choice}


def main():
    tensors = {}
    for path in sorted((HERE / "routers").glob("*.safetensors")):
        layer, name = Layer(*load(path)), path.stem
        y = (ROUTERS.get(layer.given["router"]) or globals()[layer.given["router"]])(layer)
        if isinstance(layer.self_scale, torch.Tensor):
            y = y + layer.self_scale[:, None] * layer.x
        y = y + layer.after
        error = (y - torch.tensor(layer.expected["output"])).abs().max()
        assert error < 1e-5, f"{name}: the output is {error:.1e} from what is expected"
        direction = np.random.default_rng(len(tensors)).standard_normal((layer.S, layer.d)).astype(np.float32)
        objective = (torch.tensor(direction) * y).sum() + sum(w * loss for w, loss in zip(WEIGHTS, layer.losses))
        objective.backward()
        tensors[f"{name}.direction"] = direction
        tensors[f"{name}.objective"] = np.array([objective.item()], np.float32)
        for tensor, value in layer.t.items():
            if value.is_floating_point() and value.grad is not None:
                tensors[f"{name}.gradient.{tensor}"] = value.grad.numpy().astype(np.float32)
    save(HERE / "router_gradients.safetensors", tensors, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
