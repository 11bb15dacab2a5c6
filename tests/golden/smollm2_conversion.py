"""Compares a folder that datasets/convert/from_gguf.py made with the GGUF file as transformers reads it.

    python smollm2_conversion.py FOLDER FILE.gguf ARC

ARC is a folder with AI2's JSONL files. Compared are the ids of every stem and every choice, and of every prompt with
its choice as it is scored; the weights, value for value; and the logits of a few texts. Prints what it finds, and
exits 1 where anything differs. transformers_model.py says which packages are needed.

The two tokenizers are not the same for every text: transformers derives GPT-2's words from the file, without digits
apart, and an unknown token. As no merge holds a digit, they part only where several blanks stand before a digit, and
at characters with one of the 21 bytes that are not in the vocabulary. No text of ARC has either.
"""
import argparse
import glob
import json
import os
import sys

import tokenizers
import torch

import transformers_model

TEXTS = ["The capital of France is", "Question: Which gas do plants absorb?\nAnswer: carbon dioxide",
         "1 + 1 = 2, 12 x 12 = 144.", "def f(x):\n    return x + 1\n"]


def texts_of(question):
    yield question["stem"]
    for choice in question["choices"]:
        yield choice["text"]
        yield f"Question: {question['stem']}\nAnswer: {choice['text']}"


def arc_texts(folder):
    for path in sorted(glob.glob(os.path.join(folder, "*.jsonl"))):
        with open(path, encoding="utf-8") as file:
            for line in file:
                yield from texts_of(json.loads(line)["question"])


def compare_ids(ours, theirs, texts):
    count, differ = 0, []
    for text in texts:
        count += 1
        if ours.encode(text, add_special_tokens=False).ids != transformers_model.encode(theirs, text):
            differ.append(text)
    return count, differ


def compare_weights(ours, theirs):
    """Names of the weights of which a value differs, or that only one has."""
    one, other = ours.state_dict(), theirs.state_dict()
    return [name for name in one.keys() | other.keys()
            if name not in one or name not in other or not torch.equal(one[name], other[name])]


def logits_of(model, tokens):
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens]), use_cache=False).logits


def main():
    parser = argparse.ArgumentParser(description="Compares a converted folder with the GGUF file.")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("gguf", metavar="FILE.gguf")
    parser.add_argument("arc", metavar="ARC", help="a folder with AI2's JSONL files")
    arguments = parser.parse_args()

    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(arguments.folder, "tokenizer.json"))
    derived = transformers_model.load_tokenizer(arguments.gguf)
    count, differ = compare_ids(tokenizer, derived, arc_texts(arguments.arc))
    print(f"tokenizer: {len(differ)} of {count} texts differ" + "".join(f"\n  {text!r}" for text in differ[:20]))
    ours = transformers_model.load_model(arguments.folder)
    theirs = transformers_model.load_model(arguments.gguf)
    weights = compare_weights(ours, theirs)
    print(f"weights: {len(weights)} of {len(ours.state_dict())} differ" + "".join(f"\n  {name}" for name in weights))
    largest = 0.0
    for text in TEXTS:
        tokens = tokenizer.encode(text, add_special_tokens=False).ids
        one, other = logits_of(ours, tokens), logits_of(theirs, tokens)
        largest = max(largest, (one - other).abs().max().item())
        print(f"{text!r}: then {tokenizer.decode([one[0, -1].argmax().item()])!r}")
    print(f"logits: largest difference {largest:.3g}")
    return 1 if count == 0 or differ or weights or largest != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
