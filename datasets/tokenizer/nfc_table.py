"""Writes nfc_table.h: what the normal form NFC needs of Unicode, as the package `tokenizers` knows it.

    pip install tokenizers==0.23.3          (in a virtual environment outside the tree)
    python nfc_table.py

The package's normal forms are those of an older version of Unicode than Python's. Characters that came later have no
combining class and no composition there, and so they have none here: the package is asked for each.
"""
import os
import unicodedata

from tokenizers import normalizers

NFC = normalizers.NFC().normalize_str
HERE = os.path.dirname(os.path.abspath(__file__))
LAST = 0x10FFFF


def characters():
    return [c for c in range(LAST + 1) if not 0xD800 <= c < 0xE000]


def package_knows_class(c):
    """Moved in front of U+0315, whose class is 232, or behind it: as its own class has it, and not as a class of 0."""
    if unicodedata.combining(chr(c)) < 232:
        return NFC("a\u0315" + chr(c)) == unicodedata.normalize("NFC", "a\u0315" + chr(c))
    if unicodedata.combining(chr(c)) == 232:
        return NFC("a\u0345" + chr(c)) == unicodedata.normalize("NFC", "a\u0345" + chr(c))  # after class 240
    return NFC("a" + chr(c) + "\u0315") == unicodedata.normalize("NFC", "a" + chr(c) + "\u0315")


def class_ranges():
    ranges = []
    for c in characters():
        value = unicodedata.combining(chr(c))
        if value == 0 or not package_knows_class(c):
            continue
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == value:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, value])
    return ranges


def decompositions():
    """(character, first, second or 0, whether the two compose to it)"""
    entries = []
    for c in characters():
        text = unicodedata.decomposition(chr(c))
        if text and not text.startswith("<"):
            parts = [int(part, 16) for part in text.split()] + [0]
            composes = parts[1] != 0 and NFC("".join(map(chr, parts[:2]))) == chr(c)
            known = NFC(chr(c)) == unicodedata.normalize("NFC", chr(c)) and (composes or not parts[1] or NFC(
                chr(c)) == "".join(map(chr, parts[:2])) or NFC(chr(c)) != chr(c))
            if known:
                entries.append((c, parts[0], parts[1], composes))
    return entries


def rows(items, width=108):
    lines, line = [], "   "
    for item in items:
        if len(line) + 1 + len(item) > width:
            lines.append(line)
            line = "   "
        line += " " + item
    return "\n".join(lines + [line])


def main():
    ranges, entries = class_ranges(), decompositions()
    decomposed = {entry[0] for entry in entries}
    assert not any(second in decomposed for _, _, second, _ in entries)  # nfc.c decomposes the first of two alone
    pairs = sorted((first, second, i) for i, (_, first, second, composes) in enumerate(entries) if composes)
    with open(os.path.join(HERE, "nfc_table.h"), "w", encoding="utf-8") as file:
        file.write(f"""/*
 * Written by nfc_table.py: combining classes, canonical decompositions and compositions. Hangul is left out, which
 * follows a formula.
 */
#ifndef ADAMOE_TOKENIZER_NFC_TABLE_H
#define ADAMOE_TOKENIZER_NFC_TABLE_H

#include <stdint.h>

/* clang-format off */

/* Characters first .. last have this class; all others have 0. */
static const struct nfc_class {{
    uint32_t first, last;
    uint8_t value;
}} nfc_classes[{len(ranges)}] = {{
{rows("{0x%X,0x%X,%d}," % tuple(entry) for entry in ranges)}
}};

/* A character and the one or two that it decomposes to, in ascending order. */
static const struct nfc_decomposition {{
    uint32_t character, first, second;
}} nfc_decompositions[{len(entries)}] = {{
{rows("{0x%X,0x%X,0x%X}," % entry[:3] for entry in entries)}
}};

/* Those of them that two characters compose to, in ascending order of the first and then of the second. */
static const uint16_t nfc_compositions[{len(pairs)}] = {{
{rows("%d," % i for _, _, i in pairs)}
}};

/* clang-format on */

#endif
""")
    print(len(ranges), "ranges,", len(entries), "decompositions,", len(pairs), "compositions")


if __name__ == "__main__":
    main()
