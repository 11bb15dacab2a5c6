"""Makes tiny_gradient/: random models with null experts, and the gradients that PyTorch gives for them.

Run it as `python tests/golden/tiny_gradient.py`, in an environment with PyTorch, NumPy and safetensors. The
committed files were made with PyTorch 1.13.0 (Debian 12's python3-torch), NumPy 1.24.2 and safetensors 0.8.0.

The forward is written here from the model's definition, with nothing of a model library: RMSNorm, grouped-query
attention with rotary embedding and a sliding window, the AdaMoE layer, the balance loss, cross-entropy. PyTorch
does the differentiation, in float32. The models are Mixtral-shaped; the folders differ in what CASES says.

A folder holds config.json, model.safetensors, and gradient.safetensors: `tokens` and `targets` I64 [sequences,
length] (-1: no target), `loss` F32 [2] (cross-entropy, balance with alpha), and under `gradient.` and the name of a
weight its gradient in float32. The objective stands in the __metadata__ of gradient.safetensors.
"""
import json
import math
import os

import numpy
import safetensors.numpy
import torch
import torch.nn.functional as functional

BASE = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_act": "silu",
        "vocab_size": 24, "hidden_size": 12, "intermediate_size": 7, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "num_local_experts": 4,
        "num_null_experts": 4, "num_experts_per_tok": 3, "norm": "true", "null_kind": "zero",
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 5,
        "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2}
CASES = {
    "null_averaged": ({}, {"form": "null_averaged", "pooling": "pooled", "alpha": 0.5}),
    "switch_summed": ({"norm": "all", "null_kind": "identity", "tie_word_embeddings": True, "sliding_window": None},
                      {"form": "switch", "pooling": "summed", "alpha": 0.5}),
}
SEQUENCES, LENGTH = 2, 12
MARGIN = 0.01  # of the router's logits at the border of the selection: no rounding moves it


def shapes(config):
    d, ff, hd = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * hd, config["num_key_value_heads"] * hd
    yield "model.embed_tokens.weight", (config["vocab_size"], d)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", (d,)
        yield at + "post_attention_layernorm.weight", (d,)
        for name, rows, columns in ("q", q, d), ("k", kv, d), ("v", kv, d), ("o", d, q):
            yield f"{at}self_attn.{name}_proj.weight", (rows, columns)
        yield at + "block_sparse_moe.gate.weight", (config["num_local_experts"], d)
        yield at + "block_sparse_moe.gate2.weight", (config["num_null_experts"], d)
        for expert in range(config["num_local_experts"]):
            for name, shape in ("w1", (ff, d)), ("w3", (ff, d)), ("w2", (d, ff)):
                yield f"{at}block_sparse_moe.experts.{expert}.{name}.weight", shape
    yield "model.norm.weight", (d,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], d)


def random_weights(config, seed):
    """Deviation 1/sqrt(fan-in); norms around 1; the router's rows twice as large, so that experts differ."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes(config):
        values = torch.randn(shape, generator=generator)
        gain = 2.0 if "gate" in name else 1.0
        weights[name] = 1 + 0.3 * values if len(shape) == 1 else gain * values / shape[1] ** 0.5
    return weights


def rms_norm(x, gain, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * gain


def rotate(x, theta):
    """x is [..., position, head_dim]."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * theta ** (-torch.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


def attention(config, weights, at, x):
    """x is [length, hidden_size]."""
    length, hd = x.shape[0], config["head_dim"]
    q, k, v = ((x @ weights[f"{at}self_attn.{name}_proj.weight"].T).reshape(length, -1, hd).transpose(0, 1)
               for name in "qkv")
    q, k = rotate(q, config["rope_theta"]), rotate(k, config["rope_theta"])
    group = config["num_attention_heads"] // config["num_key_value_heads"]
    k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
    distance = torch.arange(length)[:, None] - torch.arange(length)
    hidden = (distance < 0) | (distance >= (config["sliding_window"] or length))
    scores = (q @ k.transpose(1, 2) / math.sqrt(hd)).masked_fill(hidden, -math.inf)
    mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(length, -1)
    return mixed @ weights[f"{at}self_attn.o_proj.weight"].T


def expert(weights, at, x):
    return (functional.silu(x @ weights[at + "w1.weight"].T) * (x @ weights[at + "w3.weight"].T)) \
        @ weights[at + "w2.weight"].T


def experts(config, weights, at, x, routed):
    """x is [tokens, hidden_size]; appends (p, selected) to `routed`."""
    n, k = config["num_local_experts"], config["num_experts_per_tok"]
    at += "block_sparse_moe."
    logits = x @ torch.cat([weights[at + "gate.weight"], weights[at + "gate2.weight"]]).T
    order = logits.detach().sort(-1, descending=True)
    margin = (order.values[:, k - 1] - order.values[:, k]).min()
    assert margin > MARGIN, margin
    selected = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, order.indices[:, :k], True)
    p = logits.softmax(-1)
    routed.append((p, selected))
    is_true = torch.arange(logits.shape[1]) < n
    over = {"true": selected & is_true, "all": selected, "none": torch.ones_like(selected)}[config["norm"]]
    share = torch.exp(logits) * over
    weight = share / share.sum(-1, keepdim=True).clamp_min(1e-30)
    y = torch.zeros_like(x)
    for e in range(n):
        rows = selected[:, e].nonzero()[:, 0]
        y = y.index_add(0, rows, weight[rows, e, None] * expert(weights, f"{at}experts.{e}.", x[rows]))
    if config["null_kind"] == "identity":
        y = y + x * (p * (selected & ~is_true)).sum(-1, keepdim=True)
    return y


def balance_loss(config, objective, routed):
    """reference/README.md section 3: (n+m) sum f P; f has no gradient."""
    n, k = config["num_local_experts"], config["num_experts_per_tok"]
    if objective["pooling"] == "pooled":
        routed = [tuple(torch.cat(part) for part in zip(*routed))]
    loss = 0
    for p, selected in routed:
        f = selected.float().mean(0)
        if objective["form"] == "null_averaged":
            f = torch.cat([f[:n], f[n:].mean().expand(len(f) - n)])
        if objective["pooling"] == "summed":
            f = f / k
        loss = loss + len(f) * (f * p.mean(0)).sum()
    return objective["alpha"] * loss


def losses(config, objective, weights, tokens, targets):
    x = weights["model.embed_tokens.weight"][tokens]
    routed, d, eps = [], config["hidden_size"], config["rms_norm_eps"]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        normed = rms_norm(x, weights[at + "input_layernorm.weight"], eps)
        x = x + torch.stack([attention(config, weights, at, sequence) for sequence in normed])
        normed = rms_norm(x, weights[at + "post_attention_layernorm.weight"], eps)
        x = x + experts(config, weights, at, normed.reshape(-1, d), routed).reshape(x.shape)
    x = rms_norm(x, weights["model.norm.weight"], eps)
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    cross_entropy = functional.cross_entropy((x @ head.T).flatten(0, 1), targets.flatten(), ignore_index=-1)
    return cross_entropy, balance_loss(config, objective, routed), routed


def make(folder, config, objective, seed):
    weights = {name: value.requires_grad_() for name, value in random_weights(config, seed).items()}
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(config["vocab_size"], (SEQUENCES, LENGTH), generator=generator)
    targets = torch.roll(tokens, -1, 1)
    targets[:, -1] = -1
    targets[0, :3] = -1
    cross_entropy, balance, routed = losses(config, objective, weights, tokens, targets)
    (cross_entropy + balance).backward()

    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
        file.write("\n")
    write(folder, "model.safetensors", {name: value.detach() for name, value in weights.items()}, {})
    write(folder, "gradient.safetensors",
          {"tokens": tokens, "targets": targets, "loss": torch.stack([cross_entropy, balance]).detach(),
           **{"gradient." + name: value.grad for name, value in weights.items()}},
          {name: str(value) for name, value in objective.items()})
    load = sum(s[:, :config["num_local_experts"]].sum() for _, s in routed) / (SEQUENCES * LENGTH * len(routed))
    print(f"{os.path.basename(folder)}: seed {seed}, loss {cross_entropy:.3f} + {balance:.3f}, load {load:.2f}")


def write(folder, name, tensors, metadata):
    with open(os.path.join(folder, name), "wb") as file:
        tensors = {name: numpy.ascontiguousarray(value.numpy()) for name, value in tensors.items()}
        file.write(safetensors.numpy.save(tensors, {"format": "pt", **metadata}))


def main():
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny_gradient")
    for name, (changes, objective) in CASES.items():
        for seed in range(1000):
            try:
                make(os.path.join(here, name), {**BASE, **changes}, objective, seed)
                break
            except AssertionError:  # a logit near the border of the selection: the next seed
                continue


if __name__ == "__main__":
    main()
