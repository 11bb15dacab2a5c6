"""Makes tokenizers/: three small tokenizers, and what the package `tokenizers` makes of hard texts with them.

    pip install tokenizers==0.23.3          (in a virtual environment outside the tree)
    python byte_level_tokenizer.py [ARC]    (ARC: a folder with AI2's six JSONL files)

byte_level.json         GPT-2's kind
byte_level_digits.json  SmolLM2's kind: digits apart; merges as pairs
byte_fallback.json      Mixtral's kind: metaspace in a normalizer, unknown characters as bytes
expected.json           texts and the ids that each tokenizer gives them; and for each of ARC's files, when
                        the folder is given, a hash of all its ids (the questions are CC BY-SA and stay where
                        they are)
variants.json           changes to these tokenizers, each with a hash of what comes out for each text

The tokenizers are trained on sentences that this script makes up. Hashes are FNV-1a of 64 bits, where an id
enters as four bytes, the lowest first; of those for single texts only the lowest 16 bits are kept.
"""
import copy
import json
import os
import random
import sys

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizers")

# ------------------------------------------------------------------------------------------------ the corpus

NOUNS = """
animal plant energy water planet student experiment rock light temperature surface cell ocean river
mountain magnet battery wire force mass volume weather season forest insect bird question answer
scientist teacher machine motion sound heat cloud storm soil root leaf flower seed metal liquid gas
solid mixture solution reaction particle atom orbit moon sun star galaxy telescope microscope organism
population habitat food chain predator prey carbon oxygen nitrogen hydrogen fossil layer crust mantle
earthquake volcano glacier erosion
""".split()
VERBS = """
changes moves produces absorbs reflects measures observes increases decreases causes forms breaks
carries collects compares contains describes explains grows heats cools melts freezes evaporates
conducts attracts
""".split()
ADJECTIVES = """
small large hot cold warm bright dark heavy light fast slow dry wet green red blue young old common rare
natural physical chemical electrical different similar important solar
""".split()
ADVERBS = "slowly quickly often never usually mostly likely best less more".split()
GLUE = ["because", "when", "after", "and", "while", "so that", "but", "which", "if"]
ODD = ["don't", "it's", "we're", "they'll", "I've", "he'd", "I'm", "O'Neil", "café", "naïve", "Zürich",
       "piñata", "日本", "中文", "привет", "мир", "سلام", "😀", "→", "½", "20°C", "CO₂", "H2O", "e.g.", "(a)",
       "[b]", "{c}", "x=y", "a/b", "--", "...", "100%", "$5.00", "#1", "@home", "3,000", "1.5e-3", "\t", "\n\n"]


def sentence(rng):
    def phrase():
        article = ["the" if rng.random() < 0.6 else "a"]
        adjective = [rng.choice(ADJECTIVES)] if rng.random() < 0.5 else []
        return " ".join(article + adjective + [rng.choice(NOUNS)])

    def clause():
        words = [phrase(), rng.choice(VERBS), phrase()]
        return " ".join(words + ([rng.choice(ADVERBS)] if rng.random() < 0.3 else []))

    text = clause()
    if rng.random() < 0.5:
        text += (", " if rng.random() < 0.3 else " ") + rng.choice(GLUE) + " " + clause()
    if rng.random() < 0.3:
        text += " " + rng.choice(ODD)
    if rng.random() < 0.3:
        text += " " + str(rng.randint(0, 10 ** rng.randint(1, 5)))
    return text[0].upper() + text[1:] + rng.choice([".", ".", ".", "?", "!"])


def corpus():
    rng = random.Random(20240613)
    return [sentence(rng) for _ in range(6000)]


# -------------------------------------------------------------------------------------------- the tokenizers


def byte_level(digits_apart):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = (pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), split])
                               if digits_apart else split)
    tokenizer.decoder = decoders.ByteLevel()
    if not digits_apart:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] if digits_apart else ["<|endoftext|>"]
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=900 if digits_apart else 1000, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return json.loads(tokenizer.to_str())


def byte_fallback():
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                           decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % byte for byte in range(256)]
    # Words of the corpus one by one: whole sentences would be learnt as single tokens. Most characters that
    # are not ASCII are left to the byte tokens.
    words = [" " + word for line in corpus() for word in line.split(" ")
             if word.isascii() or word.startswith("caf")]
    tokenizer.normalizer, whole = normalizers.Replace(" ", "▁"), tokenizer.normalizer
    tokenizer.train_from_iterator(words, trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, show_progress=False))
    tokenizer.normalizer = whole
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = document["added_tokens"][:3]
    return document


def merges_as_strings(document):
    document["model"]["merges"] = [" ".join(pair) for pair in document["model"]["merges"]]
    return document


# ------------------------------------------------------------------------------------------------ the texts

TEXTS = [
    "", " ", "  ", "a", " a", "a ", "  a  ", "Hello world", "Hello  world", "   Hello   world   ",
    "I'm sure they'll say we've won; he'd've, it's, don't, you're, O'Neil's",
    "I'M SURE IT'S DON'T 'tis 'S 'x ''s", "123", "1 22 333 4444 55555", "a1b22c333",
    "3.14159, 2,718; 1e-10", "٣٤٥ १२३ Ⅷ ½ ² ③ 一二三", "x²+y³=z₁", "a\nb", "a\n\nb", "a \n b", "\n", "\r\n",
    "a\r\nb\r\n\r\n", "\t", "a\t\tb", "\ta \t b\t", " \n \n ", "\x0b\x0c", "a\u00a0b", "\u00a0\u00a0a",
    "a \u00a0 b", "a\u0085b", "\u0085", "a\u180eb \u180e c", "a\u3000b", "a\u2028b\u2029c",
    "a\u200bb\ufeffc", "\u2003\u2003x", "a\u202f1\u205f2\u1680", "\ufffd", "a\ufffdb", "\x00", "a\x00b",
    "\x7f\x80\x9f\xad", "\U0010ffff\ue000\ufdd0", "😀", "😀😀", "👩\u200d👩\u200d👧\u200d👦!", "🇩🇪🇫🇷", "👍🏽ok",
    "❤\ufe0f", "e\u0301 n\u0303 o\u0308", "\u0301x", "\u0915\u094d\u0937\u093f", "กำลัง",
    "한국어 ᄒ\u1161\u11ab", "日本語の文章です。", "中文，标点！", "العربية ١٢٣ سلام", "עברית", "Привет, мир!", "Ελληνικά",
    "ﬁ ﬂ ß ſt İ ı", "ǅ ʰ ª º", "!!!", "a--b...c", "(a) [b] {c} <d>", "C:\\dir\\file.txt",
    "http://example.org/a?b=c&d=%20", "user@example.org", "snake_case camelCase PascalCase ALLCAPS",
    "if (x == y) { return 1; }  // done", "<|endoftext|>", "a<|endoftext|>b", "a <|endoftext|> b",
    "<|endoftext|><|endoftext|>", "<|endoftext", "<|im_start|>x", "<s>", "<s>a</s>", "a <s> b", "x</s></s>",
    "<unk>", "<0x41>", "a<0x0A>b", "▁", "a▁b ▁▁ c", "▁a", " ▁a", "<s> a", "<s>▁", "[A] [AB] [ABC] [ABCD",
    "[AB]x", "word words sword word-word word_word word1 1word éword wordé word\u0301 word",
    "a  [L]  b  [R]  c  [LR]  d", "[L][R]", " [L] ", "\n[R]\n\n[L]\t", "[R]   [L]", "[LR]\u00a0\u0085[LR]",
    "[R]  <|endoftext|>", "ő  ő[L]", "[x y]", "ж xжx ж", "½½ ²²", "!\u180e!", "  \u180e",
    "<0x+A><0xG1><0x1G><0xC3><0xa9><0x-1>", "xxfoo foobar FOO", "Question: Which of these\nAnswer: the sun",
    " t", "the the the thethethe", "qqqqqqqqqqqqqqqqqqqq", "z" * 50, "ab" * 40, " " * 33, "\n" * 9,
    "é" * 17, "Ж" * 9 + "!" * 9 + "1" * 9,
]

# --------------------------------------------------------------------------------------------- the variants

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTES_ONLY = dict(BYTE_LEVEL, use_regex=False)
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = (CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTION + "?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTION + "?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = (CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|"
          r"\s*[\r\n]|\s+(?!\S)|\s+")
BEHAVIORS = ["Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"]


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def digits(individual):
    return {"type": "Digits", "individual_digits": individual}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def added(id, content, **settings):
    token = {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": False}
    token.update(settings)
    return token


def added_tokens(first):
    return [added(first, "[A]"), added(first + 1, "[AB]", special=True),
            added(first + 2, "[ABC]", normalized=True), added(first + 3, "[L]", lstrip=True),
            added(first + 4, "[R]", rstrip=True, special=True),
            added(first + 5, "[LR]", lstrip=True, rstrip=True), added(first + 6, "word", single_word=True),
            added(first + 7, "foo"), added(first + 8, "foobar", normalized=True, special=True),
            added(first + 9, "\n\n"), added(first + 10, "ő", rstrip=True), added(first + 11, "[x y]"),
            added(first + 12, "ж", single_word=True), added(first + 13, "bar", normalized=True),
            added(first + 14, "fo")]


def metaspace(scheme, split=True):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


def template(before, after, ids):
    def special(name):
        return {"SpecialToken": {"id": name, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {"type": "TemplateProcessing", "single": [special(name) for name in before] + [text] +
            [special(name) for name in after], "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": ids, "tokens": [name] * len(ids)}
                               for name in before + after}}


def replace(pattern, content):
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def prepend(text):
    return {"type": "Prepend", "prepend": text}


def normalize(*parts):
    return {"normalizer": {"type": "Sequence", "normalizers": list(parts)}}


def strip(content, start):
    return {"type": "Strip", "content": content, "start": start, "stop": 0}


def decode(*parts):
    return {"decoder": {"type": "Sequence", "decoders": list(parts)}}


def byte_level_variants():
    yield "as it is", {}
    yield "a blank before", {"pre_tokenizer": dict(BYTE_LEVEL, add_prefix_space=True)}
    yield "one word", {"pre_tokenizer": BYTES_ONLY}
    yield "no pre-tokenizer", {"pre_tokenizer": None}
    yield "numbers apart", {"pre_tokenizer": sequence(digits(False), BYTE_LEVEL)}
    yield "Llama 3", {"pre_tokenizer": sequence(split(LLAMA3), BYTES_ONLY)}
    yield "GPT-4", {"pre_tokenizer": sequence(split(CL100K), BYTES_ONLY)}
    yield "GPT-4o", {"pre_tokenizer": sequence(split(GPT4O), BYTES_ONLY)}
    for behavior in BEHAVIORS:
        for invert in (False, True):
            yield ("split at blanks, %s, %s" % (behavior, invert),
                   {"pre_tokenizer": sequence(split(" ", behavior, invert, "String"), BYTES_ONLY)})
            yield ("split at digits and stops, %s, %s" % (behavior, invert),
                   {"pre_tokenizer": sequence(split(r"\d|[.,!?\-\s]+", behavior, invert), BYTES_ONLY)})
    yield "nested", {"pre_tokenizer": sequence(sequence(split(r"[aeiou](?=\s)|(?<=t)h")), BYTE_LEVEL,
                                               sequence())}
    yield "words of the vocabulary", {"model": {"ignore_merges": True}}
    yield "added tokens", {"added_tokens": added_tokens(1000)}
    yield "no decoder", {"decoder": None}
    yield "NFC", {"normalizer": {"type": "NFC"}}
    yield "Qwen 2", dict(normalize({"type": "NFC"}), pre_tokenizer=sequence(split(QWEN2), BYTES_ONLY))
    yield "NFC, added tokens", {"normalizer": {"type": "NFC"}, "added_tokens": added_tokens(1000) + [
        added(1015, "o\u030b!", normalized=True), added(1016, "e\u0301", normalized=True, lstrip=True),
        added(1017, "\u1112\u1161\u11ab"), added(1018, "  ", normalized=True)]}
    yield "added tokens out of order", {"added_tokens": [
        added(1002, "[A]"), added(1000, "[AB]", special=True), added(0, "<|endoftext|>", special=True),
        added(1001, "word", single_word=True)]}
    yield "template", {"post_processor": {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        template(["<|endoftext|>"], ["end"], [0, 5])]}}


def byte_fallback_variants():
    metaspaces = {"normalizer": None, "post_processor": None}
    yield "as it is", {}
    yield "unknown fused", {"model": {"byte_fallback": False}}
    yield "unknown single", {"model": {"byte_fallback": False, "fuse_unk": False}}
    yield "unknown dropped", {"model": {"byte_fallback": False, "unk_token": None}}
    for scheme in ("always", "first", "never"):
        for cut in (True, False):
            yield ("metaspace, %s, %s" % (scheme, cut),
                   dict(metaspaces, pre_tokenizer=metaspace(scheme, cut), decoder=metaspace(scheme, cut)))
    yield "metaspace, older keys", dict(metaspaces, pre_tokenizer={
        "type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True}, decoder={
            "type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True})
    yield "metaspace, added tokens", dict(
        metaspaces, pre_tokenizer=metaspace("first", False), decoder=metaspace("first"),
        added_tokens=[added(0, "<unk>", special=True)] + added_tokens(700))
    yield "Llama 1", {"added_tokens": [added(i, content, special=True, normalized=True)
                                       for i, content in enumerate(["<unk>", "<s>", "</s>"])]}
    yield "normalized tokens that the normalizer changes", {"added_tokens": [
        added(0, "<unk>", special=True, normalized=True), added(1, "<s>", special=True)] + [
            added(700 + i, token["content"] + "\u00a0 " * (i == 3), **{
                key: value for key, value in token.items() if key not in ("id", "content", "normalized")},
                normalized=i % 4 != 2) for i, token in enumerate(added_tokens(700))]}
    yield "replaced, added tokens", {
        "normalizer": replace(" ", "▁"), "added_tokens": [added(1, "<s>", special=True, normalized=True)] +
        added_tokens(700)}
    yield "prepended last", normalize(replace(" ", "▁"), replace("▁▁", "_"), prepend("▁"), prepend("x"))
    yield "deleted", normalize(replace("a", ""), prepend("▁"))
    yield "decoded in parts", decode(strip("▁", 1), {"type": "ByteFallback"}, replace("a", "<A>"))
    yield "stripped", decode(replace("▁", "  "), {"type": "Fuse"}, strip(" ", 3))
    yield "bytes only", {"decoder": {"type": "ByteFallback"}}


def tiny(vocab, merges, **model):
    """A document of its own, for rules that a trained tokenizer does not reach."""
    document = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                "pre_tokenizer": None, "post_processor": None, "decoder": {"type": "Fuse"},
                "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                          "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
                          "vocab": {token: i for i, token in enumerate(vocab)}, "merges": merges}}
    document["model"].update(model)
    return document


def tiny_variants():
    letters = list("ab1 \n") + ["▁", "é"]
    some = ["<0x%02X>" % byte for byte in range(0x80) if byte != 0x63]
    yield "some bytes, unknown", tiny(["?"] + letters + some, [], unk_token="?", byte_fallback=True)
    yield "some bytes, unknown fused", tiny(["?"] + letters + some, [], unk_token="?", byte_fallback=True,
                                            fuse_unk=True)
    yield "unknown merged", tiny(["?"] + letters + ["??", "a?", "?b"], ["? ?", "a ?", "? b"], unk_token="?")
    yield "whole words", dict(tiny(["ĠĠ", "Ġ", "!áłİ!", "!", "Â½Â½", "Â½", "Â²", "Â²Â²", "ĠÂ²Â²"], [],
                                   ignore_merges=True), pre_tokenizer=BYTE_LEVEL)
    yield "whole words, Llama 3", dict(tiny(["ĠĠ", "Ġ", "!áłİ!", "!", "ĠáłİĠ"], [], ignore_merges=True),
                                       pre_tokenizer=sequence(split(LLAMA3), BYTES_ONLY))
    yield "whole digits", dict(tiny(["Â½Â½", "Â½", "Â²", "Â²Â²", "123", "1", "2", "3"], [],
                                    ignore_merges=True),
                               pre_tokenizer=sequence(digits(True), BYTES_ONLY))
    names = ["<0x+A>", "<0xG1>", "<0x1G>", "<0xC3>", "<0xa9>", "<0x-1>", "[AB]"]
    yield "names of bytes", dict(tiny(letters, []), decoder={"type": "ByteFallback"},
                                 added_tokens=[added(len(letters) + i, name) for i, name in enumerate(names)])
    yield "a later merge of the same pair", tiny(letters + ["ab", "ba", "aba"],
                                                 ["#version: 0.2", "a b", "b a", "ab a", "a ba", "a b"])
    yield "ways to one token", tiny(letters + ["aa", "aaa", "aaaa", "ab", "aab", "bb"],
                                    ["a a", "aa a", "a aa", "aa aa", "a b", "a ab", "aa b", "b b"])


def changed(document, changes):
    document = copy.deepcopy(document)
    for key, value in changes.items():
        if key == "model":
            document["model"].update(value)
        else:
            document[key] = value
    return document


# ------------------------------------------------------------------------------------------------ the result


def fnv1a(data, state=0xcbf29ce484222325):
    for byte in data:
        state = (state ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return state


def as_bytes(ids):
    return b"".join(id.to_bytes(4, "little") for id in ids)


def outcome(tokenizer, text):
    """A hash of the ids with special tokens, and of both texts that they decode to."""
    ids = tokenizer.encode(text).ids
    whole = tokenizer.decode(ids, skip_special_tokens=False)
    plain = tokenizer.decode(ids, skip_special_tokens=True)
    return "%04x" % (fnv1a(as_bytes(ids) + b"\xff" + whole.encode() + b"\xff" + plain.encode()) & 0xffff)


def parse(document):
    return tokenizers.Tokenizer.from_str(json.dumps(document))


def arc_texts(path):
    """Every stem and every choice, in order."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            question = json.loads(line)["question"]
            yield question["stem"]
            for choice in question["choices"]:
                yield choice["text"]


def arc_entries(folder, bases):
    for base, document in bases.items():
        tokenizer = parse(document)
        for name in sorted(os.listdir(folder)):
            texts, count, state = 0, 0, fnv1a(b"")
            for text in arc_texts(os.path.join(folder, name)):
                ids = tokenizer.encode(text, add_special_tokens=False).ids
                state = fnv1a(as_bytes(ids), state)
                texts, count = texts + 1, count + len(ids)
            yield {"tokenizer": base, "file": name, "texts": texts, "ids": count, "hash": "%016x" % state}


def bases():
    return {"byte_level": merges_as_strings(byte_level(False)), "byte_level_digits": byte_level(True),
            "byte_fallback": merges_as_strings(byte_fallback())}


def variants(documents):
    """Name, base (None: the change is a document), changes, document."""
    for base, made in (("byte_level", byte_level_variants()), ("byte_level_digits", [("as it is", {})]),
                       ("byte_fallback", byte_fallback_variants())):
        for name, changes in made:
            yield name, base, changes, changed(documents[base], changes)
    for name, document in tiny_variants():
        yield name, None, document, document


def write(name, value):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def main():
    os.makedirs(HERE, exist_ok=True)
    documents = bases()
    for base, document in documents.items():
        write(base + ".json", document)
    write("variants.json", [{"name": name, "tokenizer": base, "changes": changes,
                             "hashes": "".join(outcome(parse(document), text) for text in TEXTS)}
                            for name, base, changes, document in variants(documents)])
    ids = {base: [parse(document).encode(text).ids for text in TEXTS] for base, document in documents.items()}
    arc = list(arc_entries(sys.argv[1], documents)) if len(sys.argv) > 1 else []
    write("expected.json", {"texts": TEXTS, "ids": ids, "arc": arc})


if __name__ == "__main__":
    main()
