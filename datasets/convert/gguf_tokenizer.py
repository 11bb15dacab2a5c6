"""tokenizer.json out of a GGUF file's metadata. Part of from_gguf.py.

A file names how words are found and holds the tokens, their types, and merges or scores. The names that are known here
are those of the families of datasets/config/families.c; another one is refused.
"""
import gguf
import tokenizers

from gguf_metadata import BadInput, metadata, metadata_list, special_token

# What llama.cpp calls a way of finding words, as tokenizer.json has it.
DIGITS = "digits"  # each is a word of its own, then GPT-2's words
GPT2 = "gpt2"
NFC_GPT2 = "nfc gpt2"
QWEN2 = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
         "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")
LLAMA3 = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
          "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")
WORDS = {"smollm": DIGITS, "refact": DIGITS, "gpt-2": GPT2, "olmo": NFC_GPT2, "qwen2": QWEN2, "llama-bpe": LLAMA3}


def read_merges(reader, vocabulary):
    merges = []
    for i, merge in enumerate(metadata_list(reader, "tokenizer.ggml.merges", str)):
        pair = tuple(merge.split(" "))
        if len(pair) != 2 or any(part not in vocabulary for part in (*pair, "".join(pair))):
            raise BadInput(f"tokenizer.ggml.merges: {i}: {merge!r} joins no two tokens to a token")
        merges.append(pair)
    return merges


def merges_of_scores(vocabulary, scores):
    """SentencePiece has no merges: of all neighbours that make a token it joins those whose token has the highest
    score. As a list of merges that is every split of every token, in the order of scores; where one token has several
    splits, by the ids of their parts, as transformers' converter orders them."""
    merges = []
    for token, score in zip(vocabulary, scores):
        splits = [(token[:i], token[i:]) for i in range(1, len(token))]
        splits = [pair for pair in splits if pair[0] in vocabulary and pair[1] in vocabulary]
        merges += [(pair, score) for pair in sorted(splits, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))]
    return [pair for pair, _ in sorted(merges, key=lambda merge: -merge[1])]


def read_added_tokens(reader, tokens, kinds, plain):
    """Control tokens are special, user-defined ones are not; all others belong to the byte-pair model alone."""
    added = []
    for token, kind in zip(tokens, kinds):
        if kind in (gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED):
            added.append(tokenizers.AddedToken(token, normalized=False, special=kind == gguf.TokenType.CONTROL))
        elif kind not in plain:
            raise BadInput(f"tokenizer.ggml.token_type: {token!r}: type {kind} is not implemented")
    return added


def byte_level(reader, vocabulary):
    """GPT-2's kind: words of bytes."""
    name = metadata(reader, "tokenizer.ggml.pre", str)
    if name not in WORDS:
        raise BadInput(f"tokenizer.ggml.pre: {name!r} is not implemented, only {', '.join(sorted(WORDS))}; with --tokenizer "
                       "the model's own tokenizer.json is taken")
    words, parts = WORDS[name], tokenizers.pre_tokenizers
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, read_merges(reader, vocabulary),
                                                           ignore_merges=words is LLAMA3))
    if words is DIGITS:
        tokenizer.pre_tokenizer = parts.Sequence([parts.Digits(individual_digits=True),
                                                  parts.ByteLevel(add_prefix_space=False)])
    elif words in (GPT2, NFC_GPT2):
        tokenizer.pre_tokenizer = parts.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = parts.Sequence([parts.Split(tokenizers.Regex(words), "isolated"),
                                                  parts.ByteLevel(add_prefix_space=False, use_regex=False)])
    if words in (NFC_GPT2, QWEN2):
        tokenizer.normalizer = tokenizers.normalizers.NFC()
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer


def sentence_piece(reader, vocabulary, kinds):
    """Llama 2's kind: characters, blanks as a character of their own, what is unknown as bytes."""
    scores = metadata_list(reader, "tokenizer.ggml.scores", float)
    if len(scores) != len(vocabulary):
        raise BadInput(f"tokenizer.ggml.scores: {len(scores)} scores for {len(vocabulary)} tokens")
    unknown = [token for token, kind in zip(vocabulary, kinds) if kind == gguf.TokenType.UNKNOWN]
    if len(unknown) != 1:
        raise BadInput(f"tokenizer.ggml.token_type: {len(unknown)} unknown tokens instead of one")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges_of_scores(vocabulary, scores),
                                                           unk_token=unknown[0], fuse_unk=True, byte_fallback=True))
    key = "tokenizer.ggml.add_space_prefix"
    prefix = reader.get_field(key) is None or metadata(reader, key, bool)
    replace = tokenizers.normalizers.Replace(" ", "\u2581")
    tokenizer.normalizer = tokenizers.normalizers.Sequence(
        ([tokenizers.normalizers.Prepend("\u2581")] if prefix else []) + [replace])
    decoders = tokenizers.decoders
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()] +
                                          ([decoders.Strip(" ", 1, 0)] if prefix else []))
    return tokenizer


def add_first_token(reader, tokenizer, tokens, default):
    key = "tokenizer.ggml.add_bos_token"
    if not (default if reader.get_field(key) is None else metadata(reader, key, bool)):
        return
    bos = special_token(reader, "bos")
    if bos is None or bos >= len(tokens):
        raise BadInput(f"{key}: but no tokenizer.ggml.bos_token_id")
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{tokens[bos]} $A", pair=f"{tokens[bos]} $A {tokens[bos]} $B:1", special_tokens=[(tokens[bos], bos)])


def read_tokenizer(reader, config):
    """No unknown token in a byte-level one: bytes that are not in the vocabulary are dropped."""
    kind = metadata(reader, "tokenizer.ggml.model", str)
    if kind not in ("gpt2", "llama"):
        raise BadInput(f"tokenizer.ggml.model: {kind!r} is not implemented; with --tokenizer the model's own tokenizer.json "
                       "is taken")
    tokens = metadata_list(reader, "tokenizer.ggml.tokens", str)
    kinds = metadata_list(reader, "tokenizer.ggml.token_type", int)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if not len(vocabulary) == len(tokens) == config["vocab_size"]:
        raise BadInput(f"tokenizer.ggml.tokens: {len(tokens)}, {len(vocabulary)} of them different, for a "
                       f"vocabulary of {config['vocab_size']}")
    if len(kinds) != len(tokens):
        raise BadInput(f"tokenizer.ggml.token_type: {len(kinds)} types for {len(tokens)} tokens")
    types = gguf.TokenType
    if kind == "gpt2":
        tokenizer, plain = byte_level(reader, vocabulary), (types.NORMAL, types.UNUSED)
    else:
        tokenizer = sentence_piece(reader, vocabulary, kinds)
        plain = (types.NORMAL, types.UNUSED, types.UNKNOWN, types.BYTE)
    tokenizer.add_tokens(read_added_tokens(reader, tokens, kinds, plain))
    add_first_token(reader, tokenizer, tokens,
                    kind == "llama" or metadata(reader, "tokenizer.ggml.pre", str) == "llama-bpe")
    return tokenizer
