"""Makes tiny_llama/: a random dense Llama with grouped-query attention and a tied head, and its logits.

How to run it, and with which versions the committed files were made: see tiny_mixtral.py.
"""
import os

import transformers

import golden

SEED = 1


def main():
    config = transformers.LlamaConfig(
        vocab_size=96, hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-6, rope_theta=500000.0,
        tie_word_embeddings=True, attn_implementation="eager")
    model = golden.randomise(transformers.LlamaForCausalLM(config), SEED)
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny_llama")
    golden.save(folder, model, golden.random_tokens(config.vocab_size, 2, 16, SEED))


if __name__ == "__main__":
    main()
