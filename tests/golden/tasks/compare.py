"""Runs `adamoe eval --task` on the questions that make.py left in a folder, and compares with the harness choice by choice.

    python tests/golden/tasks/compare.py ADAMOE DIR [--model DIR] [--kernel NAME]

Printed for each task: questions, the largest difference of a log-probability, and how many acc and acc_norm differ. Exit
code 1 where a log-probability differs by more than 1e-4, or an answer does.
"""
import argparse
import json
import os
import subprocess
import sys

import make


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def compare(arguments, task):
    out = subprocess.run([arguments.adamoe, "eval", "--model", arguments.model, "--task", task, "--kernel", arguments.kernel,
                          "--questions", os.path.join(arguments.folder, f"{task}.jsonl"), "--samples", "-"],
                         capture_output=True, text=True, check=False)
    if out.returncode != 0:
        sys.exit(f"{task}: {out.stderr}")
    ours = lines_of(out.stdout)
    with open(os.path.join(arguments.folder, f"{task}.expected.jsonl"), encoding="utf-8") as file:
        theirs = lines_of(file.read())
    assert len(ours) == len(theirs), (len(ours), len(theirs))
    largest = max(abs(a - b) for o, t in zip(ours, theirs) for a, b in zip(o["logprob"], t["logprob"], strict=True))
    acc = sum((o["prediction"] == o["gold"]) != t["acc"] for o, t in zip(ours, theirs))
    norm = sum((o["prediction_norm"] == o["gold"]) != t["acc_norm"] for o, t in zip(ours, theirs))
    print(f"{task}: {len(ours)} questions, log-probabilities differ by at most {largest:.1e}, acc differs in {acc}, "
          f"acc_norm in {norm}")
    return largest <= 1e-4 and acc == norm == 0


def main():
    parser = argparse.ArgumentParser(description="Compares eval --task with the harness.")
    parser.add_argument("adamoe")
    parser.add_argument("folder")
    parser.add_argument("--model", default=os.path.join(make.ROOT, "datasets/tiny-mixtral-top2"))
    parser.add_argument("--kernel", default="reference")
    arguments = parser.parse_args()
    sys.exit(0 if all([compare(arguments, task) for task in make.TASKS]) else 1)


if __name__ == "__main__":
    main()
