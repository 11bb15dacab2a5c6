"""Writes case_table.h: lower and title case of Unicode's characters, as Python's str.capitalize knows them.

    python3 datasets/tasks/case_table.py

Capital sigma is left out: its lower case depends on the letters around it.
"""
import os
import sys
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
SIGMA = 0x3A3


def changed(case):
    """(character, what it becomes) for every character that becomes another one, or several."""
    characters = (c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and c != SIGMA)
    return [(c, case(chr(c))) for c in characters if case(chr(c)) != chr(c)]


def ranges(pairs):
    """Runs of characters, every one or every second, that all move by the same distance."""
    runs = []
    for c, text in pairs:
        if len(text) > 1:
            continue
        move = ord(text) - c
        if runs and runs[-1][3] == move and c - runs[-1][1] in (1, 2) and (
                runs[-1][0] == runs[-1][1] or c - runs[-1][1] == runs[-1][2]):
            runs[-1][2] = c - runs[-1][1]
            runs[-1][1] = c
        else:
            runs.append([c, c, 1, move])
    return runs


def rows(out, items):
    line = "   "
    for item in items:
        if len(line) + len(item) > 115:
            out.append(line)
            line = "   "
        line += " " + item + ","
    out.append(line.rstrip(","))


def table(out, comment, name, runs):
    out += ["", f"/* {comment} */", f"static const struct case_run {name}[{len(runs)}] = {{"]
    rows(out, [f"{{0x{a:X}, 0x{b:X}, {step}, {move}}}" for a, b, step, move in runs])
    out.append("};")


def main():
    lower, title = changed(str.lower), changed(str.capitalize)
    long = [(c, text) for c, text in title if len(text) > 1]
    assert [(c, text) for c, text in lower if len(text) > 1] == [(0x130, "i\u0307")]
    out = ["/*", f" * Written by case_table.py from Python {sys.version_info[0]}.{sys.version_info[1]}, Unicode "
           f"{unicodedata.unidata_version}: lower and title case.", " */",
           "#ifndef ADAMOE_TASKS_CASE_TABLE_H", "#define ADAMOE_TASKS_CASE_TABLE_H", "", "#include <stdint.h>", "",
           "/* clang-format off */", "", "/* Every step-th character of first .. last moves by so much. */",
           "struct case_run {", "    uint32_t first, last, step;", "    int32_t move;", "};"]
    table(out, "Lower case; U+0130 becomes two characters, and U+03A3 is left out.", "case_lower", ranges(lower))
    table(out, "Title case, where that is one character.", "case_title", ranges(title))
    out += ["", "/* Title case, where that is several characters. */",
            "static const struct case_long {", "    uint32_t from, to[3];", f"}} case_title_long[{len(long)}] = {{"]
    rows(out, [f"{{0x{c:X}, {{" + ", ".join(f"0x{ord(t):X}" for t in text) + "}}" for c, text in long])
    out += ["};", "", "/* clang-format on */", "", "#endif", ""]
    with open(os.path.join(HERE, "case_table.h"), "w", encoding="utf-8") as file:
        file.write("\n".join(out))


if __name__ == "__main__":
    main()
