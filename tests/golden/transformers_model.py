"""What the oracles share: a Llama model and its tokenizer, loaded by transformers from a GGUF file or a folder.

A GGUF file goes through transformers' own reader (`gguf_file`): its weights, its undoing of the rotary order and
its tokenizer are then independent of datasets/convert/. A folder is a plain Hugging Face one.

Needs transformers 4.46, PyTorch, gguf, accelerate and NumPy < 2. The figures that this project states were made with
transformers 4.46.3, tokenizers 0.20.3, PyTorch 1.13.0 (Debian 12's python3-torch), gguf 0.19.0, accelerate 1.0.1
and NumPy 1.24.2; accelerate's later releases want a later PyTorch. Debian's libblas3 is the naive BLAS: with
libopenblas0 the oracle takes a twentieth of the time, and its log-probabilities change by less than 1e-4.
"""
import os

import torch
import transformers


def load_model(path):
    """In float32. transformers 4.46 takes a GGUF file without a head for one whose head is to be initialised at
    random, with no more than a warning; such a head is the embedding, and that must be said."""
    settings = {"torch_dtype": torch.float32, "output_loading_info": True}
    if os.path.isdir(path):
        model, loading = transformers.AutoModelForCausalLM.from_pretrained(path, **settings)
    else:
        folder, name = os.path.split(os.path.abspath(path))
        model, loading = transformers.AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=name, tie_word_embeddings=True, **settings)
    if any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        raise SystemExit(f"{path}: {loading}")
    return model.eval()


def load_tokenizer(path):
    if os.path.isdir(path):
        return transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(path, "tokenizer.json"))
    folder, name = os.path.split(os.path.abspath(path))
    return transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)


def encode(tokenizer, text):
    """Without special tokens: SmolLM2's tokenizer has none around a text, but transformers gives every tokenizer of
    a Llama one before it."""
    return tokenizer(text, add_special_tokens=False).input_ids
