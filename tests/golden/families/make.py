"""Makes tokenizer.json and the folders beside it: for each family of models that datasets/config/families.c knows a random one of 2 layers as Hugging
Face transformers saves it, and the logits that it gives.

    pip install torch transformers safetensors numpy      (in a virtual environment outside the tree)
    python tests/golden/families/make.py [NAME ...]

The committed files were made with transformers 5.24.0, PyTorch 2.15.0, NumPy 2.4.6 and safetensors 0.8.0. Weights are
bfloat16, and exact in float32. expected.safetensors holds `tokens` I64 [sequences, length] and `logits` F32 [sequences,
length, vocabulary], which come from the model converted to double: transformers still computes RMSNorm, the softmaxes
and the rotary angles in float32 inside. Seeds are tried until the experts that are selected have a clear margin.
"""
import copy
import json
import os
import sys

import numpy
import safetensors.numpy
import torch
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
MARGIN = 0.02  # of router logits, between the last one selected and the first one not
LENGTH = 16

SIZES = dict(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=None,
             attn_implementation="eager", experts_implementation="eager")
DENSE = dict(SIZES, intermediate_size=44)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


def theta(value):
    return {"rope_type": "default", "rope_theta": value}


# head_dim 16 gives waves of 6 to 20,000 positions: of LLAMA3's original 64, the short ones stay, the long ones are
# divided, and some lie in between.
FAMILIES = {
    "llama_linear": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(
        **DENSE, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0})),
    "llama_llama3": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(
        **DENSE, head_dim=16, rope_parameters=LLAMA3, tie_word_embeddings=True)),
    "llama_bias": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(
        **DENSE, rope_parameters=theta(1e4), attention_bias=True)),
    "mistral": lambda: transformers.MistralForCausalLM(transformers.MistralConfig(
        **DENSE, head_dim=16, sliding_window=5, rope_parameters=theta(1e4))),
    "qwen2": lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(
        **DENSE, rope_parameters=theta(1e6), tie_word_embeddings=True)),
    "qwen3": lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(
        **DENSE, head_dim=16, rope_parameters=theta(1e6))),
    "olmoe": lambda: transformers.OlmoeForCausalLM(transformers.OlmoeConfig(
        **SIZES, intermediate_size=12, num_experts=8, num_experts_per_tok=3, norm_topk_prob=False)),
    "olmoe_clip": lambda: transformers.OlmoeForCausalLM(transformers.OlmoeConfig(
        **SIZES, intermediate_size=12, num_experts=8, num_experts_per_tok=3, norm_topk_prob=False, clip_qkv=0.75)),
    "qwen3_moe": lambda: transformers.Qwen3MoeForCausalLM(transformers.Qwen3MoeConfig(
        **SIZES, head_dim=16, intermediate_size=44, moe_intermediate_size=12, num_experts=8, num_experts_per_tok=3,
        norm_topk_prob=True)),
    "qwen2_moe": lambda: transformers.Qwen2MoeForCausalLM(transformers.Qwen2MoeConfig(
        **SIZES, intermediate_size=44, moe_intermediate_size=12, shared_expert_intermediate_size=20, num_experts=6,
        num_experts_per_tok=2, norm_topk_prob=False)),
    "granite_moe": lambda: transformers.GraniteMoeForCausalLM(transformers.GraniteMoeConfig(
        **SIZES, intermediate_size=12, num_local_experts=8, num_experts_per_tok=3, embedding_multiplier=6.0,
        attention_multiplier=0.25, residual_multiplier=0.35, logits_scaling=3.0, tie_word_embeddings=True)),
    "granite_bias": lambda: transformers.GraniteMoeForCausalLM(transformers.GraniteMoeConfig(
        **SIZES, intermediate_size=12, num_local_experts=8, num_experts_per_tok=3, embedding_multiplier=6.0,
        attention_multiplier=0.25, residual_multiplier=0.35, logits_scaling=3.0, tie_word_embeddings=True,
        attention_bias=True)),
}


def randomise(model, seed):
    """Gaussian weights of deviation 1/sqrt(fan-in), so that logits are of order 1; gains around 1 and biases around 0,
    so that a forgotten one shows; routers twice as large, so that experts differ clearly."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            values = torch.randn(weight.shape, generator=generator)
            if name.endswith("bias"):
                values = 0.5 * values
            elif weight.dim() == 1:
                values = 1 + 0.3 * values
            else:
                gain = 2.0 if name.endswith(("mlp.gate.weight", "router.weight", "router.layer.weight")) else 1.0
                values = gain * values / weight.shape[-1] ** 0.5
            weight.copy_(values.bfloat16().float())
    return model.eval()


def run(model, tokens):
    routed = {"output_router_logits": True} if hasattr(model.config, "num_experts_per_tok") else {}
    with torch.no_grad():
        out = model(input_ids=tokens, use_cache=False, **routed)
    return out.logits, torch.cat([layer for layer in out.router_logits]) if routed else None


def margin_of(model, router_logits):
    if router_logits is None:
        return float("inf")
    largest = router_logits.sort(dim=-1, descending=True).values
    selected = model.config.num_experts_per_tok
    return (largest[:, selected - 1] - largest[:, selected]).min().item()


def build(make):
    for seed in range(1, 2000):
        model = randomise(make(), seed)
        tokens = torch.randint(model.config.vocab_size, (2, LENGTH), generator=torch.Generator().manual_seed(seed))
        logits, router_logits = run(copy.deepcopy(model).double(), tokens)
        margin = margin_of(model, router_logits)
        if margin > MARGIN:
            rounding = (logits - run(model, tokens)[0]).abs().max().item()
            assert logits.dtype == torch.float64 and rounding < 1e-5, rounding
            print(f"seed {seed}, margin {margin:.3f}, deviation of logits {logits.std():.2f}, double against "
                  f"float32 {rounding:.1e}")
            return model, tokens, logits
    raise AssertionError("no seed has the margin")


def write_tensors(path, tensors):
    with open(path, "wb") as file:  # save_file would leave a file that only its owner can read
        file.write(safetensors.numpy.save(tensors, {"format": "pt"}))


def save(name, make):
    folder = os.path.join(HERE, name)
    model, tokens, logits = build(make)
    os.makedirs(folder, exist_ok=True)
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)
    os.chmod(os.path.join(folder, "model.safetensors"), 0o644)
    generation = os.path.join(folder, "generation_config.json")
    if os.path.exists(generation):
        os.remove(generation)
    write_tensors(os.path.join(folder, "expected.safetensors"),
                  {"tokens": tokens.numpy(), "logits": logits.numpy().astype(numpy.float32)})
    print(name, sum(os.path.getsize(os.path.join(folder, file)) for file in os.listdir(folder)), "bytes")


def write_tokenizer():
    """tokenizer.json: characters, a few merges, unknown ones as <unk>; the vocabulary of all models here."""
    merges = ["t h", "th e", "i n", "e r", "a n", "o n"]
    tokens = ["<unk>", "<s>", "</s>", "\n"] + list(" abcdefghijklmnopqrstuvwxyz0123456789.,:?'ABCDEFQTWHIN")
    tokens += [merge.replace(" ", "") for merge in merges]
    assert len(tokens) == SIZES["vocab_size"]
    special = [{"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True} for i in range(3)]
    document = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
                "pre_tokenizer": None, "post_processor": None, "decoder": {"type": "Fuse"},
                "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                          "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                          "ignore_merges": False, "vocab": {token: i for i, token in enumerate(tokens)},
                          "merges": merges}}
    with open(os.path.join(HERE, "tokenizer.json"), "w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False)
        file.write("\n")


def main():
    write_tokenizer()
    for name in sys.argv[1:] or FAMILIES:
        save(name, FAMILIES[name])


if __name__ == "__main__":
    main()
