"""
How often the 95 % interval of `adamoe reproduce' covers, on this machine, with and without another program that takes
a processor: repeats the timing of both sides, takes the median over all runs without the hog for the truth, and counts
the intervals that contain it. What simulation says of the same intervals is tests/bench/coverage_test.c.

    python3 bench/reproduce/coverage.py [--runs 20] [--questions 100] [--program build/release/bin/adamoe]

Needs Python 3 alone, and a machine that nobody else uses for as long: about 20 s a run and 100 questions on two cores.
A run that says that the machine was disturbed makes no claim, and is counted apart. Left out: other days.
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--runs", type=int, default=20)
parser.add_argument("--questions", type=int, default=100)
parser.add_argument("--program", default="build/release/bin/adamoe")
parser.add_argument("--without-hog-only", action="store_true")
options = parser.parse_args()


def one_run(folder):
    """The time reduction as the program says it: centre, low, high, disturbed."""
    result = pathlib.Path(folder, "result.json")
    command = [options.program, "reproduce", "--evaluate-only", "--questions", str(pathlib.Path(folder, "some.jsonl")),
               "--json", str(result)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(result.read_text())["evaluation"]["time_reduction"]


def all_runs(folder, hog):
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"]) if hog else None
    try:
        runs = []
        for i in range(options.runs):
            runs.append(one_run(folder))
            r = runs[-1]
            print(f"{'hog' if hog else 'alone'} {i + 1}: {100 * r['centre']:.1f} % ({100 * r['low']:.1f} to "
                  f"{100 * r['high']:.1f}){', disturbed' if r['disturbed'] else ''}", flush=True)
        return runs
    finally:
        if busy is not None:
            busy.kill()
            busy.wait()


def report(name, runs, truth):
    covered = sum(r["low"] <= truth <= r["high"] for r in runs)
    claims = [r for r in runs if not r["disturbed"]]
    wrong = sum(not r["low"] <= truth <= r["high"] for r in claims)
    expected = 0.95 * len(runs)
    error = math.sqrt(len(runs) * 0.95 * 0.05)
    print(f"{name}: {covered} of {len(runs)} intervals cover {100 * truth:.1f} % (expected {expected:.1f} +- {error:.1f}); "
          f"{len(runs) - len(claims)} runs say that the machine was disturbed and claim nothing; of the others {wrong} "
          "are wrong")


with tempfile.TemporaryDirectory() as folder:
    lines = pathlib.Path("datasets/wordnet/test.jsonl").read_text().splitlines(keepends=True)
    pathlib.Path(folder, "some.jsonl").write_text("".join(lines[:options.questions]))
    alone = all_runs(folder, False)
    hogged = [] if options.without_hog_only else all_runs(folder, True)
truth = statistics.median(r["centre"] for r in alone)
report("alone", alone, truth)
if hogged:
    report("with a hog", hogged, truth)
