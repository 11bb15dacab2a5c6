"""A tiny random LongCat-Flash model as Hugging Face transformers saves it, and what its expert layers give: the folder
and the files that tests/bench/longcat_test.c reads.

    pip install torch transformers safetensors numpy      (in a virtual environment outside the tree)
    python tests/golden/longcat/make.py

The committed files were made with transformers 5.24.0, PyTorch 2.15.0, NumPy 2.4.6 and safetensors 0.8.0. Weights are
bfloat16; layer0.safetensors and layer1.safetensors hold `hidden_states`, and `expected.output`, `expected.logits` and
`expected.choice` of the layer in double. Seeds are tried until the experts that are selected have a clear margin: the
bias decides some, and identity experts are among them.
"""
import copy
import os

import numpy
import safetensors.numpy
import torch
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
MARGIN = 1e-4  # of p + bias, between the first one not selected and the selected ones; float32 rounds 1e-7 of it
TOKENS = 12


def config():
    return transformers.LongcatFlashConfig(
        vocab_size=32, hidden_size=16, num_layers=2, num_attention_heads=2, max_position_embeddings=32,
        ffn_hidden_size=12, q_lora_rank=8, kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, head_dim=4,
        v_head_dim=4, moe_topk=4, n_routed_experts=6, zero_expert_num=3, expert_ffn_hidden_size=10,
        routed_scaling_factor=6.0, attn_implementation="eager", experts_implementation="eager")


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            values = torch.randn(weight.shape, generator=generator)
            weight.copy_((values / weight.shape[-1] ** 0.5).bfloat16().float())
        for layer in model.model.layers:
            bias = layer.mlp.router.e_score_correction_bias
            bias.copy_((0.05 * torch.randn(bias.shape, generator=generator)).bfloat16().float())
    return model.eval()


def expected(layer, states):
    """Output, logits, choice by p + bias, and its margin; the bias must have changed some choice."""
    with torch.no_grad():
        output = layer(states[None])[0]
        logits = torch.nn.functional.linear(states, layer.router.classifier.weight)
        p = logits.softmax(dim=-1)
        biased = p + layer.router.e_score_correction_bias
    order = biased.sort(dim=-1, descending=True)
    k = layer.router.top_k
    plain = p.topk(k, dim=-1).indices.sort(dim=-1).values
    changed = (plain != order.indices[:, :k].sort(dim=-1).values).any(dim=-1).sum().item()
    identities = (order.indices[:, :k] >= 6).sum().item()
    gaps = order.values[:, :k] - order.values[:, 1:k + 1]
    return output, logits, order.indices[:, :k], gaps.min().item() if changed > 2 and identities > 8 else 0.0


def main():
    for seed in range(1, 20000):
        model = randomise(transformers.LongcatFlashForCausalLM(config()), seed)
        states = torch.randn(2, TOKENS, 16, generator=torch.Generator().manual_seed(seed)).bfloat16().double()
        double = copy.deepcopy(model).double()
        results = [expected(layer.mlp, states[i]) for i, layer in enumerate(double.model.layers)]
        if min(result[3] for result in results) > MARGIN:
            break
    else:
        raise AssertionError("no seed has the margin")
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(HERE)
    os.chmod(os.path.join(HERE, "model.safetensors"), 0o644)
    generation = os.path.join(HERE, "generation_config.json")
    if os.path.exists(generation):
        os.remove(generation)
    for i, (output, logits, choice, margin) in enumerate(results):
        with torch.no_grad():
            rounding = (model.model.layers[i].mlp(states[i][None].float())[0] - output).abs().max().item()
        print(f"seed {seed}, layer {i}: margin {margin:.1e}, double against float32 {rounding:.1e}")
        with open(os.path.join(HERE, f"layer{i}.safetensors"), "wb") as file:
            file.write(safetensors.numpy.save({
                "hidden_states": states[i].numpy().astype(numpy.float32),
                "expected.output": output.numpy().astype(numpy.float32),
                "expected.logits": logits.numpy().astype(numpy.float32),
                "expected.choice": choice.contiguous().numpy()}))


if __name__ == "__main__":
    main()
