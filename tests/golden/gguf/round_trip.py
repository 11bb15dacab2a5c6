"""Writes GGUF files of the tiny models of tests/golden as llama.cpp's converter would, and converts them back.

    pip install gguf tokenizers safetensors numpy          (in a virtual environment outside the tree)
    python tests/golden/gguf/round_trip.py OUT [--transformers]

OUT gets FAMILY.exact/ and FAMILY.quantised/ for each model, made by datasets/convert/from_gguf.py from a GGUF file with
tensors in F32 and BF16, and in F16, Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0; kquants/ from one with random blocks of every K-quant; and
tokenizer.NAME/ for each kind of tokenizer. Every tensor must have the values of the model that the file was made from, as they
are or as the package gguf quantises and dequantises them; every key of config.json that a file can hold must say what the
model's own says; every tokenizer must give the ids of the one whose tokens it has. Exit code 1 where something differs.

--transformers besides has transformers read the tensors of the same GGUF files, for the architectures that it knows, and compares
the logits of both within 1e-5, by our config.json: its own lacks sizes of experts, window and rotary scaling (versions seen: transformers 5.24.0, PyTorch 2.15.0, gguf 0.19.0).
"""
import argparse
import json
import os
import sys

import gguf
import numpy
import safetensors
import safetensors.numpy
import tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..")
sys.path.insert(0, os.path.join(GOLDEN, "..", "..", "datasets", "convert"))
import from_gguf  # noqa: E402

TOKENIZER = os.path.join(GOLDEN, "families", "tokenizer.json")
Q = gguf.GGMLQuantizationType
EXACT = [Q.F32, Q.BF16]
QUANTISED = [Q.F16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0]
KQUANTS = [Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K]
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "mixtral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "olmoe": "olmoe",
                 "qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "granitemoe": "granitemoe"}
READ_BY_TRANSFORMERS = {"llama_linear", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe"}


def fail(text):
    print(text, file=sys.stderr)
    sys.exit(1)


# ---------------------------------------------------------------------------------------------------- a model


def bfloat16_file(path):
    """safetensors.numpy does not read bfloat16, which is the upper half of a float32."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = file.read()
    out = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            raw = numpy.frombuffer(data[begin:end], dtype={"BF16": numpy.uint16, "F32": numpy.float32}[entry["dtype"]])
            if entry["dtype"] == "BF16":
                raw = (raw.astype(numpy.uint32) << 16).view(numpy.float32)
            out[name] = raw.reshape(entry["shape"])
    return out


def models():
    """(name, config, tensors, folder)"""
    folders = {name: os.path.join(GOLDEN, "families", name) for name in sorted(os.listdir(os.path.join(GOLDEN, "families")))}
    folders["mixtral"] = os.path.join(GOLDEN, "tiny_mixtral")
    for name, folder in folders.items():
        if os.path.exists(os.path.join(folder, "config.json")):
            with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
                yield name, json.load(file), bfloat16_file(os.path.join(folder, "model.safetensors")), folder


# ------------------------------------------------------------------------------------------------- a GGUF file


def interleave(rows, heads):
    """The permute() of llama.cpp's converter."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def gguf_tensors(config, tensors):
    """GGUF name -> values, by the package's own map from Hugging Face's names."""
    architecture = ARCHITECTURES[config["model_type"]]
    kind = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture)
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    stacks, out = {}, {}
    for name, values in tensors.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")) and architecture in ("llama", "granitemoe"):
            heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
            values = interleave(values, heads)
        if ".experts." in name:
            front, rest = name.split(".experts.")
            number, part = rest.split(".", 1)
            stacks.setdefault(f"{front}.experts.{part}", {})[int(number)] = values
        elif name.endswith("input_linear.weight"):
            layer = name.split(".")[2]
            half = values.shape[1] // 2
            out[f"blk.{layer}.ffn_gate_exps.weight"], out[f"blk.{layer}.ffn_up_exps.weight"] = values[:, :half], values[:, half:]
        elif name.endswith("shared_expert_gate.weight"):
            out[names.get_name(name, (".weight",))] = values.reshape(-1)
        else:
            out[names.get_name(name, (".weight", ".bias"))] = values
    for name, experts in stacks.items():
        stack = numpy.stack([experts[j] for j in range(len(experts))])
        out[names.get_name(name, (".weight",))] = stack
    return out


def write_gguf(path, config, tensors, types, tokenizer=None, sliding_window=True):
    writer = gguf.GGUFWriter(path, ARCHITECTURES[config["model_type"]])
    heads = config["num_attention_heads"]
    rope = config.get("rope_parameters") or {"rope_theta": config.get("rope_theta", 1e4)}
    writer.add_vocab_size(len(tensors["model.embed_tokens.weight"]))
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if config.get("sliding_window") and sliding_window:
        writer.add_sliding_window(config["sliding_window"])
    if "num_experts_per_tok" in config:
        writer.add_expert_count(config.get("num_experts") or config["num_local_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
    for key, add in (("attention_multiplier", writer.add_attention_scale), ("embedding_multiplier", writer.add_embedding_scale),
                     ("residual_multiplier", writer.add_residual_scale), ("logits_scaling", writer.add_logit_scale)):
        if key in config:
            add(config[key])
    for name in ("bos", "eos"):
        if config.get(f"{name}_token_id") is not None:
            writer.add_uint32(f"tokenizer.ggml.{name}_token_id", config[f"{name}_token_id"])
    if tokenizer is not None:
        tokenizer(writer)
    made = {}
    for number, (name, values) in enumerate(sorted(gguf_tensors(config, tensors).items())):
        kind = types[number % len(types)] if values.ndim > 1 else Q.F32
        if values.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] != 0:
            kind = Q.F32
        made[name] = kind
        writer.add_tensor(name, gguf.quantize(numpy.ascontiguousarray(values), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return made


def convert(path, out, tokenizer=None):
    try:
        from_gguf.convert(path, out, tokenizer)
    except from_gguf.BadInput as error:
        fail(f"{path}: {error}")


# -------------------------------------------------------------------------------------------------- comparison


def compare_config(name, ours, theirs):
    rope = theirs.get("rope_parameters") or {"rope_theta": theirs.get("rope_theta")}
    expected = {key: value for key, value in theirs.items() if key in ours and key != "torch_dtype"}
    expected["rope_theta"] = rope["rope_theta"]
    for key, value in expected.items():
        got = ours[key]
        same = abs(got - value) <= 1e-6 * abs(value) if isinstance(value, float) else got == value
        if not same and not (value is None and key in ("head_dim", "pad_token_id", "rope_scaling", "sliding_window")):
            fail(f"{name}: config.json: {key}: {got!r}, the model has {value!r}")
    if "norm_topk_prob" in theirs and ours.get("norm_topk_prob") != theirs["norm_topk_prob"]:
        fail(f"{name}: norm_topk_prob: {ours.get('norm_topk_prob')}")


def quantised_like(name, made, config, tensors):
    """The model's own tensors, each as its GGUF tensor's type leaves it."""
    out = {}
    for key, values in tensors.items():
        target = {"a": values}
        single = next(iter(gguf_tensors(config, {key.replace(f".experts.{key.split('.experts.')[1].split('.')[0]}.",
                                                             ".experts.0.") if ".experts." in key else key: values}))) \
            if not key.endswith(("input_linear.weight",)) else None
        if single is None:
            layer, half = key.split(".")[2], values.shape[1] // 2
            parts = [(values[:, :half], f"blk.{layer}.ffn_gate_exps.weight"), (values[:, half:], f"blk.{layer}.ffn_up_exps.weight")]
            out[key] = numpy.concatenate([there_and_back(part, made[part_name]) for part, part_name in parts], axis=1)
        else:
            out[key] = there_and_back(target["a"], made[single])
    return out


def there_and_back(values, kind):
    return gguf.dequantize(gguf.quantize(numpy.ascontiguousarray(values), kind), kind)


def compare_tensors(name, folder, expected):
    ours = safetensors.numpy.load_file(os.path.join(folder, "model.safetensors"))
    if ours.keys() != expected.keys():
        fail(f"{name}: tensors differ: {sorted(ours.keys() ^ expected.keys())[:4]}")
    for key, values in expected.items():
        if ours[key].shape != values.shape or not numpy.array_equal(ours[key].astype(numpy.float32), values):
            fail(f"{name}: {key}: other values")


def compare_logits(name, path, folder):
    import torch
    import transformers
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    ours = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        os.path.dirname(path), gguf_file=os.path.basename(path), config=ours.config, dtype=torch.float32)
    tokens = torch.arange(3, 35).reshape(2, 16) % config["vocab_size"]
    with torch.no_grad():
        difference = (ours.eval()(tokens).logits - theirs.eval()(tokens).logits).abs().max().item()
    print(f"{name}: logits of transformers' own reading differ by at most {difference:.1e}")
    if not difference <= 1e-5:
        fail(f"{name}: logits differ")


def round_trip(out, name, config, tensors, types, end):
    path, folder = os.path.join(out, f"{name}.{end}.gguf"), os.path.join(out, f"{name}.{end}")
    made = write_gguf(path, config, tensors, types)
    convert(path, folder, TOKENIZER)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        compare_config(name, json.load(file), config)
    compare_tensors(f"{name}.{end}", folder, quantised_like(name, made, config, tensors))
    print(f"{name}.{end}: {len(tensors)} tensors, {', '.join(sorted({kind.name for kind in made.values()}))}")
    return path, folder


# ---------------------------------------------------------------------------------------------------- K-quants


def random_blocks(rng, kind, rows, columns):
    """Any bits are a block, but for scales that are float16, which must be finite: small numbers."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (rows, columns // block, size), dtype=numpy.uint8)
    places = {Q.Q2_K: (size - 4, size - 2), Q.Q3_K: (size - 2,), Q.Q4_K: (0, 2), Q.Q5_K: (0, 2), Q.Q6_K: (size - 2,)}[kind]
    for place in places:
        scale = rng.uniform(1e-4, 1e-3, blocks.shape[:2]).astype(numpy.float16)
        blocks[:, :, place:place + 2] = scale[..., None].view(numpy.uint8)
    return blocks.reshape(rows, -1)


def kquants(out):
    """A dense model of width 256 whose tensors have every K-quant."""
    rng = numpy.random.default_rng(1)
    config = {"model_type": "llama", "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1,
              "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
              "rope_theta": 1e4, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2}
    path, folder = os.path.join(out, "kquants.gguf"), os.path.join(out, "kquants")
    writer = gguf.GGUFWriter(path, "llama")
    for key, add in (("max_position_embeddings", writer.add_context_length), ("hidden_size", writer.add_embedding_length),
                     ("vocab_size", writer.add_vocab_size), ("num_hidden_layers", writer.add_block_count), ("intermediate_size", writer.add_feed_forward_length),
                     ("num_attention_heads", writer.add_head_count), ("num_key_value_heads", writer.add_head_count_kv),
                     ("rms_norm_eps", writer.add_layer_norm_rms_eps), ("rope_theta", writer.add_rope_freq_base)):
        add(config[key])
    shapes = {"token_embd": (64, 256), "blk.0.attn_q": (256, 256), "blk.0.attn_k": (128, 256), "blk.0.attn_v": (128, 256),
              "blk.0.attn_output": (256, 256), "blk.0.ffn_gate": (256, 256), "blk.0.ffn_up": (256, 256),
              "blk.0.ffn_down": (256, 256)}
    expected = {}
    for number, (name, shape) in enumerate(shapes.items()):
        kind = KQUANTS[number % len(KQUANTS)]
        raw = random_blocks(rng, kind, *shape)
        writer.add_tensor(f"{name}.weight", raw, raw_dtype=kind)
        expected[name] = gguf.dequantize(raw, kind)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", numpy.ones(256, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    convert(path, folder, TOKENIZER)
    ours = safetensors.numpy.load_file(os.path.join(folder, "model.safetensors"))
    if not numpy.array_equal(ours["model.layers.0.mlp.down_proj.weight"], expected["blk.0.ffn_down"]) or not numpy.array_equal(
            ours["model.layers.0.self_attn.o_proj.weight"], expected["blk.0.attn_output"]):
        fail("kquants: other values")
    print("kquants:", ", ".join(kind.name for kind in KQUANTS))
    return path, folder


# --------------------------------------------------------------------------------------------------- tokenizers

TEXTS = ["The capital of France is", "a  b   c", "it's 1234567 o'clock\n\n  end ", "naïve café e\u0301 日本 🙂", "", " x", "\t\n"]


def write_tokenizer(document, model, pre, scores):
    vocabulary = sorted(document["model"]["vocab"], key=document["model"]["vocab"].get)
    added = {token["content"]: token["special"] for token in document["added_tokens"]}
    kinds = [gguf.TokenType.CONTROL if added.get(token) else gguf.TokenType.USER_DEFINED if token in added else
             gguf.TokenType.BYTE if scores and len(token) == 6 and token.startswith("<0x") else gguf.TokenType.NORMAL
             for token in vocabulary]
    if scores:
        kinds[vocabulary.index(document["model"]["unk_token"])] = gguf.TokenType.UNKNOWN

    def add(writer):
        writer.add_tokenizer_model(model)
        if pre is not None:
            writer.add_tokenizer_pre(pre)
        writer.add_token_list(vocabulary)
        writer.add_token_types(kinds)
        if scores:
            writer.add_token_scores([-float(i) for i in range(len(vocabulary))])
        else:
            writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge)
                                     for merge in document["model"]["merges"]])
    return add, len(vocabulary)


def tokenizer_round_trip(out, name, source, model, pre, expected):
    """A tiny model with the tokens of `source`; `expected` changes that document into what must come back."""
    with open(source, encoding="utf-8") as file:
        document = json.load(file)
    add, count = write_tokenizer(document, model, pre, model == "llama")
    rng = numpy.random.default_rng(1)
    config = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
              "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
              "bos_token_id": 1, "eos_token_id": 2}
    front, d = "model.layers.0.", 32
    shapes = {"model.embed_tokens.weight": (count, d), "model.norm.weight": (d,), front + "input_layernorm.weight": (d,),
              front + "post_attention_layernorm.weight": (d,)}
    shapes.update({f"{front}{part}.weight": (d, d) for part in (
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
        "mlp.down_proj")})
    path, folder = os.path.join(out, f"tokenizer.{name}.gguf"), os.path.join(out, f"tokenizer.{name}")
    write_gguf(path, config, {key: rng.standard_normal(shape).astype(numpy.float32) for key, shape in shapes.items()}, [Q.F32], add)
    convert(path, folder)
    document.update(expected)
    ours = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    theirs = tokenizers.Tokenizer.from_str(json.dumps(document))
    for text in TEXTS:
        if ours.encode(text).ids != theirs.encode(text).ids:
            fail(f"tokenizer.{name}: {text!r}: {ours.encode(text).ids}, the model's own has {theirs.encode(text).ids}")
    print(f"tokenizer.{name}: {count} tokens, the same ids for {len(TEXTS)} texts")


def split(pattern):
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}


def tokenizer_round_trips(out):
    byte_level = os.path.join(GOLDEN, "tokenizers", "byte_level.json")
    plain = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    qwen = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    no_bos = {"post_processor": None, "normalizer": None}
    with open(byte_level, encoding="utf-8") as file:
        second = next(token for token, i in json.load(file)["model"]["vocab"].items() if i == 1)
    bos = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": second, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
           "special_tokens": {second: {"id": second, "ids": [1], "tokens": [second]}}}
    digits = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, plain]}
    for pre, expected in (("gpt-2", {**no_bos, "pre_tokenizer": plain}), ("smollm", {**no_bos, "pre_tokenizer": digits}),
                          ("refact", {**no_bos, "pre_tokenizer": digits}),
                          ("olmo", {**no_bos, "normalizer": {"type": "NFC"}, "pre_tokenizer": plain}),
                          ("qwen2", {**no_bos, "normalizer": {"type": "NFC"}, "pre_tokenizer": split(qwen)}),
                          ("llama-bpe", {**no_bos, "pre_tokenizer": split(qwen.replace(r"\p{N}| ?[", r"\p{N}{1,3}| ?[")),
                                         "post_processor": bos})):
        tokenizer_round_trip(out, pre, byte_level, "gpt2", pre, expected)
    tokenizer_round_trip(out, "llama", os.path.join(GOLDEN, "tokenizers", "byte_fallback.json"), "llama", None, {})


def main():
    parser = argparse.ArgumentParser(description="GGUF files of the tiny models, converted back.")
    parser.add_argument("out")
    parser.add_argument("--transformers", action="store_true")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    for name, config, tensors, _ in models():
        if name == "llama_llama3":
            continue  # llama.cpp writes its scaling for an original context of 8192 alone
        path, folder = round_trip(arguments.out, name, config, tensors, EXACT, "exact")
        if arguments.transformers and name in READ_BY_TRANSFORMERS:
            compare_logits(name, path, folder)
        round_trip(arguments.out, name, config, tensors, QUANTISED, "quantised")
    path, folder = kquants(arguments.out)
    if arguments.transformers:
        compare_logits("kquants", path, folder)
    tokenizer_round_trips(arguments.out)


if __name__ == "__main__":
    main()
