"""Makes tokenizers/nfc.json: hashes of the normal forms NFC that the package `tokenizers` gives.

    pip install tokenizers==0.23.3          (in a virtual environment outside the tree)
    python tests/golden/nfc.py

`all`: of each character below U+30000 alone and in three surroundings. `random`: of 20,000 texts of up to 11 of
`characters`, those that compose, combine or decompose and some that do not, as a linear congruential generator picks
them. Hashes are FNV-1a of 64 bits over UTF-8, with 0xFF behind each text; tests/datasets/nfc_test.c makes the same.
"""
import json
import os
import random
import unicodedata

from tokenizers import normalizers

NFC = normalizers.NFC().normalize_str
PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizers", "nfc.json")
SURROUNDINGS = [("", ""), ("a\u0315", "\u0300"), ("\u1100\u1161", "\u0323"), ("\u0345\u0301\u0328", "\u11a8")]


def fnv1a(data, state):
    for byte in data:
        state = (state ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return state


def all_characters():
    state = 0xcbf29ce484222325
    for c in range(0x30000):
        if not 0xD800 <= c < 0xE000:
            for before, after in SURROUNDINGS:
                state = fnv1a(NFC(before + chr(c) + after).encode() + b"\xff", state)
    return state


def interesting():
    rng = random.Random(1)
    composed = [c for c in range(0x30000) if unicodedata.decomposition(chr(c)) and
                not unicodedata.decomposition(chr(c)).startswith("<")]
    combining = [c for c in range(0x30000) if unicodedata.combining(chr(c))]
    parts = sorted({int(part, 16) for c in rng.sample(composed, 150)
                    for part in unicodedata.decomposition(chr(c)).split()})
    chosen = rng.sample(composed, 120) + rng.sample(combining, 160) + parts + list(range(0x1100, 0x1113)) + list(
        range(0x1161, 0x1176)) + list(range(0x11A7, 0x11C3)) + [0xAC00, 0xAC01, 0xD7A3, 0x61, 0x41, 0x20, 0x4E00]
    return "".join(map(chr, chosen))


def texts(characters):
    state = 1
    for _ in range(20000):
        text = ""
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xffffffffffffffff
        for _ in range((state >> 33) % 12):
            state = (state * 6364136223846793005 + 1442695040888963407) & 0xffffffffffffffff
            text += characters[(state >> 33) % len(characters)]
        yield text


def main():
    characters = interesting()
    state = 0xcbf29ce484222325
    for text in texts(characters):
        state = fnv1a(NFC(text).encode() + b"\xff", state)
    with open(PATH, "w", encoding="utf-8") as file:
        json.dump({"all": "%016x" % all_characters(), "characters": characters, "random": "%016x" % state}, file)
        file.write("\n")


if __name__ == "__main__":
    main()
