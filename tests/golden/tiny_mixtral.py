"""Makes tiny_mixtral/: a random Mixtral of 2 layers and the logits that Hugging Face transformers gives for it.

Run it as `python tests/golden/tiny_mixtral.py`, in an environment with transformers 4.46, PyTorch and NumPy < 2.
The committed files were made with transformers 4.46.3, PyTorch 1.13.0 (Debian 12's python3-torch), NumPy 1.24.2
and safetensors 0.8.0. transformers 4.40 lets a query see one key more than the window holds; check_window
refuses such a release.
"""
import os

import torch
import transformers

import golden

WINDOW = 5
SEED = 183  # of the seeds below 200 the one with the largest routing margin


def build(window):
    config = transformers.MixtralConfig(
        vocab_size=96, hidden_size=32, intermediate_size=18, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=8, num_experts_per_tok=2, max_position_embeddings=64,
        rms_norm_eps=1e-5, rope_theta=10000.0, sliding_window=window, attn_implementation="eager")
    return golden.randomise(transformers.MixtralForCausalLM(config), SEED, gate_gain=2.0)


def routing_margin(model, tokens):
    """The smallest distance, over layers and tokens, between the last logit selected and the first one not."""
    with torch.no_grad():
        layers = model(input_ids=tokens, use_cache=False, output_router_logits=True).router_logits
    largest = torch.cat(layers).sort(dim=-1, descending=True).values
    selected = model.config.num_experts_per_tok
    return (largest[:, selected - 1] - largest[:, selected]).min().item()


def check_window(with_window, without):
    """The window changes nothing while the text fits into it, and every position after that."""
    difference = (with_window - without).abs().amax(dim=(0, 2))
    assert difference[:WINDOW].max() == 0, difference
    assert difference[WINDOW:].min() > 1e-3, difference


def main():
    model = build(WINDOW)
    tokens = golden.random_tokens(model.config.vocab_size, 2, 16, SEED)
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny_mixtral")
    logits = golden.save(folder, model, tokens)
    check_window(logits, golden.logits_of(build(None).double(), tokens))
    print(f"smallest routing margin {routing_margin(model, tokens):.3f}")


if __name__ == "__main__":
    main()
