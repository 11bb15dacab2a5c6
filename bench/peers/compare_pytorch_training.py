#!/usr/bin/env python3
"""Tokens per second of `adamoe train` against eager PyTorch: the same architecture, texts, batch and AdamW.

    python bench/peers/compare_pytorch_training.py --adamoe build/release/bin/adamoe --config config.json \
        --corpus datasets/wordnet/corpus.txt

The PyTorch side is what one writes: a Mixtral-shaped model in eager mode, experts in a loop with index_add
(as Hugging Face's block), scaled_dot_product_attention, texts padded to the longest of a batch, the switch
balance loss, clipping, torch.optim.AdamW. Only real tokens count on either side, the head is computed for all
positions on either side. Both run in turn, PyTorch with one and with two threads, of which the better one is
compared; the ratio is the median over rounds. The first steps of each run are not counted.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import torch
import torch.nn.functional as F
from torch import nn

WARM_UP = 5  # steps


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, self.heads, self.kv = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
        self.width = d // self.heads
        self.q = nn.Linear(d, d, bias=False)
        self.k = nn.Linear(d, self.kv * self.width, bias=False)
        self.v = nn.Linear(d, self.kv * self.width, bias=False)
        self.o = nn.Linear(d, d, bias=False)
        angle = torch.arange(c["max_position_embeddings"]).float()[:, None] * (
            c["rope_theta"] ** (-torch.arange(0, self.width, 2).float() / self.width))
        self.register_buffer("cosine", torch.cat([angle.cos(), angle.cos()], -1))
        self.register_buffer("sine", torch.cat([angle.sin(), angle.sin()], -1))

    def rotate(self, x):
        a, b = x.chunk(2, -1)
        length = x.shape[2]
        return x * self.cosine[:length] + torch.cat([-b, a], -1) * self.sine[:length]

    def forward(self, x):
        b, t, d = x.shape
        q = self.rotate(self.q(x).view(b, t, self.heads, self.width).transpose(1, 2))
        k = self.rotate(self.k(x).view(b, t, self.kv, self.width).transpose(1, 2))
        v = self.v(x).view(b, t, self.kv, self.width).transpose(1, 2)
        k, v = (z.repeat_interleave(self.heads // self.kv, 1) for z in (k, v))
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:  # before PyTorch 2
            later = torch.ones(t, t, dtype=torch.bool).triu(1)
            y = (q @ k.transpose(-1, -2) / self.width**0.5).masked_fill(later, -torch.inf).softmax(-1) @ v
        return self.o(y.transpose(1, 2).reshape(b, t, d))


class Expert(nn.Module):
    def __init__(self, d, ff):
        super().__init__()
        self.w1, self.w3 = nn.Linear(d, ff, bias=False), nn.Linear(d, ff, bias=False)
        self.w2 = nn.Linear(ff, d, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Experts(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.n, self.k = c["num_local_experts"], c["num_experts_per_tok"]
        self.gate = nn.Linear(c["hidden_size"], self.n, bias=False)
        self.experts = nn.ModuleList(Expert(c["hidden_size"], c["intermediate_size"]) for _ in range(self.n))

    def forward(self, x):
        shape, x = x.shape, x.reshape(-1, x.shape[-1])
        logits = self.gate(x)
        p = logits.softmax(-1)
        weight, chosen = p.topk(self.k, -1)
        weight = weight / weight.sum(-1, keepdim=True)
        y = torch.zeros_like(x)
        mask = F.one_hot(chosen, self.n).permute(2, 1, 0)
        for e, expert in enumerate(self.experts):
            place, token = torch.where(mask[e])
            y.index_add_(0, token, expert(x[token]) * weight[token, place, None])
        return y.view(shape), logits


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.first = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.second = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.attention, self.experts = Attention(c), Experts(c)

    def forward(self, x):
        x = x + self.attention(self.first(x))
        y, logits = self.experts(self.second(x))
        return x + y, logits


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embedding = nn.Embedding(c["vocab_size"], c["hidden_size"])
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.head = nn.Linear(c["hidden_size"], c["vocab_size"], bias=False)
        if c.get("tie_word_embeddings"):
            self.head.weight = self.embedding.weight

    def forward(self, ids, targets, real):
        x, routers = self.embedding(ids), []
        for layer in self.layers:
            x, logits = layer(x)
            routers.append(logits)
        loss = F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten(), ignore_index=-1)
        n, k = self.c["num_local_experts"], self.c["num_experts_per_tok"]
        p = torch.cat(routers).softmax(-1)
        counted = real.flatten().repeat(len(routers)).float()
        selected = F.one_hot(p.topk(k, -1).indices, n).sum(1).float()
        mean_p = (p * counted[:, None]).sum(0) / counted.sum()
        mean_f = (selected * counted[:, None]).sum(0) / counted.sum()
        return loss + 0.02 * n * (mean_f * mean_p).sum()


def pad(texts):
    longest = max(map(len, texts))
    ids = torch.zeros(len(texts), longest, dtype=torch.long)
    targets = torch.full_like(ids, -1)
    real = torch.zeros_like(ids, dtype=torch.bool)
    for i, text in enumerate(texts):
        ids[i, : len(text)] = torch.tensor(text)
        targets[i, : len(text) - 1] = torch.tensor(text[1:])
        real[i, : len(text)] = True
    return ids, targets, real


def train_pytorch(config, batches, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = Model(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    tokens = start = 0
    for step, (ids, targets, real) in enumerate(batches):
        if step == WARM_UP:
            tokens, start = 0, time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        model(ids, targets, real).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        tokens += int(real.sum())
    return tokens / (time.perf_counter() - start)


def train_adamoe(o, threads, folder, *options):
    subprocess.run([o.adamoe, "train", "--config", o.config, "--corpus", o.corpus, "--steps", str(o.steps),
                    "--batch", str(o.batch), "--threads", str(threads), "--log-every", str(o.steps), "-o",
                    folder, *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = [json.loads(line) for line in (pathlib.Path(folder) / "log.jsonl").read_text().splitlines()]
    counted = log[WARM_UP:]
    return sum(step["tokens"] for step in counted) / (counted[-1]["seconds"] - log[WARM_UP - 1]["seconds"])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("adamoe", "config", "corpus"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--steps", type=int, default=60)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2, help="of adamoe; PyTorch runs with 1 and with this")
    o = p.parse_args()
    config = json.loads(pathlib.Path(o.config).read_text())
    lines = pathlib.Path(o.corpus).read_text().splitlines()[: o.batch * o.steps]
    with tempfile.TemporaryDirectory() as top:
        train_adamoe(o, o.threads, top + "/tokenizer")
        text = subprocess.run([o.adamoe, "tokenize", "--model", top + "/tokenizer"], check=True, text=True,
                              input="\n".join(lines) + "\n", stdout=subprocess.PIPE).stdout
        ids = [[int(i) for i in line.split()] for line in text.splitlines()]
        batches = [pad(ids[i : i + o.batch]) for i in range(0, len(ids), o.batch)]
        rates = {"adamoe": []} | {f"pytorch, {t} thread{'s'[:t > 1]}": [] for t in sorted({1, o.threads})}
        for i in range(o.rounds):
            rates["adamoe"].append(train_adamoe(o, o.threads, f"{top}/{i}", "--tokenizer",
                                                top + "/tokenizer/tokenizer.json"))
            for t in sorted({1, o.threads}):
                rates[f"pytorch, {t} thread{'s'[:t > 1]}"].append(train_pytorch(config, batches, t))
    for name, rate in rates.items():
        print(f"{name:20} {statistics.median(rate):8.0f} tokens/s  ({min(rate):.0f} .. {max(rate):.0f})")
    best = max((name for name in rates if name != "adamoe"), key=lambda name: statistics.median(rates[name]))
    ratio = sorted(a / b for a, b in zip(rates["adamoe"], rates[best]))
    print(f"adamoe over {best}: {statistics.median(ratio):.2f} ({ratio[0]:.2f} .. {ratio[-1]:.2f}, "
          f"{o.rounds} rounds in turn, {o.steps} steps of {o.batch} texts, PyTorch {torch.__version__})")


if __name__ == "__main__":
    main()
