"""Makes a layer file, for `adamoe layer`, of the expert layer of a LongCat-Flash model.

    python3 datasets/convert/longcat_layer.py FOLDER LAYER OUT.safetensors [--states FILE.safetensors]
        [--tokens N] [--seed N]

FOLDER is the model's own: config.json, and model.safetensors or shards with their index. LAYER counts the layers that
have experts, from 0. --states gives `hidden_states` [tokens, hidden_size], and whatever is expected of the layer
(`expected.output` and others); without it they are random, of deviation 1. Only the layer's own tensors are read,
byte for byte, and no package is needed.

The rows of `mlp.router.classifier.weight` become the gates of the true and of the identity experts, which have no
weights; `e_score_correction_bias` becomes the router's bias. The config names top_k and scale. What it does not name
does not change what the layer computes: expected_k is top_k times the share of true experts, and rate and alpha, of
training, are 0.

Left out, and the reason why no verb reads such a folder: multi-head latent attention, and the two attentions and two
dense layers beside the experts of each layer.

Exit codes: 0 done, 2 bad usage or bad input, 4 the environment failed. OUT appears whole or not at all.
"""
import argparse
import array
import json
import os
import random
import struct
import sys


class BadInput(Exception):
    """What cannot be converted; the text names the place."""


class Tensor:
    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, shape, data

    def rows(self, first, end):
        size = len(self.data) // self.shape[0]
        return Tensor(self.dtype, [end - first, *self.shape[1:]], self.data[first * size:end * size])

    def at(self, index):
        part = self.rows(index, index + 1)
        return Tensor(part.dtype, part.shape[1:], part.data)


class File:
    """A safetensors file, of which tensors are read one by one."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 1 << 62
            if length > os.path.getsize(path) - 8:
                raise BadInput(f"{path}: no safetensors file, or damaged")
            try:
                self.header = json.loads(file.read(length))
            except ValueError as error:
                raise BadInput(f"{path}: header: {error}") from error
        self.start = 8 + length

    def names(self):
        return [name for name in self.header if name != "__metadata__"]

    def read(self, name):
        entry = self.header[name]
        first, end = entry["data_offsets"]
        with open(self.path, "rb") as file:
            file.seek(self.start + first)
            data = file.read(end - first)
        if len(data) != end - first:
            raise BadInput(f"{self.path}: {name}: the file is too short")
        return Tensor(entry["dtype"], entry["shape"], data)


class Model:
    def __init__(self, folder):
        self.folder = folder
        with open(os.path.join(folder, "config.json"), encoding="utf-8-sig") as file:
            self.config = json.load(file)
        index = os.path.join(folder, "model.safetensors.index.json")
        if os.path.exists(os.path.join(folder, "model.safetensors")):
            whole = File(os.path.join(folder, "model.safetensors"))
            self.shard = {name: whole for name in whole.names()}
        else:
            with open(index, encoding="utf-8-sig") as file:
                names = json.load(file)["weight_map"]
            shards = {shard: File(os.path.join(folder, shard)) for shard in sorted(set(names.values()))}
            self.shard = {name: shards[shard] for name, shard in names.items()}

    def number(self, *keys, default=None):
        """By any of the names that a key has had."""
        for key in keys:
            if self.config.get(key) is not None:
                return self.config[key]
        if default is None:
            raise BadInput(f"{self.folder}/config.json: {keys[0]}: missing")
        return default

    def refuse(self, key, *neutral):
        if self.config.get(key) not in (None, *neutral):
            raise BadInput(f"{self.folder}/config.json: {key}: {self.config[key]!r} is not implemented")

    def read(self, name, shape):
        if name not in self.shard:
            raise BadInput(f"{self.folder}: tensor {name}: missing")
        tensor = self.shard[name].read(name)
        if tensor.shape != shape:
            raise BadInput(f"{self.folder}: tensor {name}: shape {tensor.shape} where {shape} is expected")
        return tensor


def read_experts(model, prefix, experts, identities, d):
    """w1, w3 and w2 of each expert. Transformers gives the identity experts rows in the first stack that nothing reads."""
    ff = model.number("expert_ffn_hidden_size", "moe_intermediate_size")
    out = {}
    stack = prefix + "experts.gate_up_proj"
    if stack in model.shard:
        count = model.shard[stack].header[stack]["shape"][0]
        if count not in (experts, experts + identities):
            raise BadInput(f"{model.folder}: tensor {stack}: {count} experts where {experts} are expected")
        both = model.read(stack, [count, 2 * ff, d])
        down = model.read(prefix + "experts.down_proj", [experts, d, ff])
        for e in range(experts):
            out |= {f"{e}.w1": both.at(e).rows(0, ff), f"{e}.w3": both.at(e).rows(ff, 2 * ff), f"{e}.w2": down.at(e)}
    else:
        for e in range(experts):
            name = f"{prefix}experts.{e}."
            out |= {f"{e}.w1": model.read(name + "gate_proj.weight", [ff, d]),
                    f"{e}.w3": model.read(name + "up_proj.weight", [ff, d]),
                    f"{e}.w2": model.read(name + "down_proj.weight", [d, ff])}
    return {f"block_sparse_moe.experts.{name}.weight": tensor for name, tensor in out.items()}


def read_layer(model, layer):
    if model.config.get("model_type") != "longcat_flash":
        raise BadInput(f"{model.folder}/config.json: model_type: {model.config.get('model_type')!r} is no longcat_flash")
    model.refuse("router_bias", False)
    model.refuse("norm_topk_prob", False)
    model.refuse("zero_expert_type", "identity")
    model.refuse("hidden_act", "silu")
    d, prefix = model.number("hidden_size"), f"model.layers.{layer}.mlp."
    experts, top_k = model.number("n_routed_experts", "num_local_experts"), model.number("moe_topk", "num_experts_per_tok")
    identities = model.number("zero_expert_num", default=0)
    gate = model.read(prefix + "router.classifier.weight", [experts + identities, d])
    tensors = {"block_sparse_moe.gate.weight": gate.rows(0, experts)}
    if identities > 0:
        tensors["block_sparse_moe.gate2.weight"] = gate.rows(experts, experts + identities)
    tensors["router.bias"] = model.read(prefix + "router.e_score_correction_bias", [experts + identities])
    metadata = {"router": "longcat", "top_k": top_k, "scale": model.number("routed_scaling_factor", default=1.0),
                "expected_k": top_k * experts / (experts + identities), "rate": 0, "groups": 1, "alpha": 0,
                "identity": identities}
    return tensors | read_experts(model, prefix, experts, identities, d), metadata, d


def read_states(arguments, d):
    if arguments.states is None:
        drawn = random.Random(arguments.seed)
        values = array.array("f", (drawn.gauss(0.0, 1.0) for _ in range(arguments.tokens * d)))
        if sys.byteorder == "big":
            values.byteswap()
        return {"hidden_states": Tensor("F32", [arguments.tokens, d], values.tobytes())}
    file = File(arguments.states)
    tensors = {name: file.read(name) for name in file.names() if name == "hidden_states" or name.startswith("expected.")}
    if "hidden_states" not in tensors or tensors["hidden_states"].shape[1:] != [d]:
        raise BadInput(f"{arguments.states}: hidden_states: missing, or not of {d} columns")
    return tensors


def write(path, tensors, metadata):
    header, offset = {"__metadata__": {key: str(value) for key, value in metadata.items()}}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape,
                        "data_offsets": [offset, offset + len(tensor.data)]}
        offset += len(tensor.data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    try:
        with open(path + ".part", "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for tensor in tensors.values():
                file.write(tensor.data)
        os.replace(path + ".part", path)
    except OSError:
        if os.path.exists(path + ".part"):
            os.remove(path + ".part")
        raise


def main():
    parser = argparse.ArgumentParser(description="A layer file of the expert layer of a LongCat-Flash model.")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("layer", metavar="LAYER", type=int)
    parser.add_argument("out", metavar="OUT.safetensors")
    parser.add_argument("--states", metavar="FILE.safetensors", help="hidden states, and what is expected")
    parser.add_argument("--tokens", metavar="N", type=int, default=64, help="random ones (default: 64)")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="of those")
    arguments = parser.parse_args()
    try:
        tensors, metadata, d = read_layer(Model(arguments.folder), arguments.layer)
        states = read_states(arguments, d)
    except (BadInput, FileNotFoundError, NotADirectoryError, ValueError) as error:
        print(f"longcat_layer.py: {error}", file=sys.stderr)
        return 2
    try:
        write(arguments.out, states | tensors, metadata)
    except OSError as error:
        print(f"longcat_layer.py: {error}", file=sys.stderr)
        return 4
    print(f"{arguments.out}: layer {arguments.layer}, {metadata['identity']} identity experts, "
          f"top-{metadata['top_k']}, scale {metadata['scale']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
