#!/usr/bin/env python3
"""What the compiler made of the packed tiles: a look without a processor that could run them.

    python3 kernels/tile_loops.py build/release [--cpu icelake-server] [avx512/tile_bf16 ...]

Disassembles the tiles of the build (objdump) and prints a line for each: of its innermost loop with the most
products, how many products it has, how many instructions besides, how many of those move one vector register to
another or touch the stack, and, where llvm-mca is installed, how many products a cycle it predicts for --cpu. A tile
is as it should be with no move and no access to the stack. The prediction knows no cache, and llvm-mca 14 takes a
load for an arithmetic instruction more, so it errs downwards by a cycle for each group of terms. Its models of other
processors are worse: that of znver3 has half the products a cycle.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys

PRODUCT = re.compile(r"v(fmadd|fnmadd|dpbf16ps|pdpbusd|pmaddubsw)")
VECTOR_MOVE = re.compile(r"vmov\w+\s+%[xyz]mm\d+,%[xyz]mm\d+$")
ITERATIONS = 300


def functions(object_file):
    """name -> [(address, instruction)] of every tile in the file."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", object_file], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    found, lines = {}, None
    for line in text.splitlines():
        if start := re.match(r"[0-9a-f]+ <(\w+)>:", line):
            lines = found[start[1]] = []
        elif lines is not None and (at := re.match(r"\s*([0-9a-f]+):\s+(.*?)\s*(#.*)?$", line)):
            lines.append((int(at[1], 16), at[2]))
    return {name: lines for name, lines in found.items() if re.search(r"_\d+x\d+$", name)}


def innermost_loops(lines):
    index = {address: i for i, (address, _) in enumerate(lines)}
    loops = []
    for i, (address, instruction) in enumerate(lines):
        jump = re.match(r"j\w+\s+([0-9a-f]+)", instruction)
        if jump and int(jump[1], 16) <= address and int(jump[1], 16) in index:
            loops.append((index[int(jump[1], 16)], i))
    return [[text for _, text in lines[first : last + 1]] for first, last in loops
            if not any(first < a and b < last for a, b in loops)]


def predicted_cycles(loop, cpu):
    code = "\n".join(re.sub(r"\s+<.*>$", "", line) for line in loop if not line.startswith("j")) + "\n"
    run = subprocess.run(["llvm-mca", "-mtriple=x86_64", f"-mcpu={cpu}", f"-iterations={ITERATIONS}"], input=code,
                         text=True, capture_output=True)
    total = re.search(r"Total Cycles:\s+(\d+)", run.stdout)
    return int(total[1]) / ITERATIONS if total else None


def describe(name, lines, cpu):
    loops = [(sum(bool(PRODUCT.match(line)) for line in loop), loop) for loop in innermost_loops(lines)]
    products, loop = max(loops, key=lambda found: found[0], default=(0, []))
    if products == 0:
        return f"  {name:16} no loop with products"
    moves = sum(bool(VECTOR_MOVE.match(line)) for line in loop)
    stack = sum("(%rsp" in line for line in loop)
    text = f"  {name:16} {products:4} {len(loop) - products:6} {moves:6} {stack:6}"
    cycles = predicted_cycles(loop, cpu) if cpu else None
    return text if cycles is None else f"{text} {products / cycles:9.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("tiles", nargs="*", default=["avx512/tile_f32", "avx512/tile_bf16", "avx512/tile_dpbf16",
                                                      "avx512/tile_int8"])
    parser.add_argument("--cpu", default="icelake-server")
    o = parser.parse_intermixed_args()
    cpu = o.cpu if shutil.which("llvm-mca") else None
    for tile in o.tiles:
        folder, _, name = tile.rpartition("/")
        objects = sorted(o.build.glob(f"**/{folder}/**/{name}.c.o"))
        if not objects:
            sys.exit(f"{o.build}: no {tile}.c.o: not a build of this project for x86-64")
        print(f"{tile}: products, other instructions, moves, stack" + (f", products a cycle on {cpu}" if cpu else ""))
        for name, lines in functions(objects[0]).items():
            print(describe(name, lines, cpu))


if __name__ == "__main__":
    main()
