"""Compares the output of `adamoe eval --samples` with that of an oracle, question by question.

    python compare_samples.py OURS.jsonl ORACLE.jsonl --tolerance T

Questions are matched by id. One file may hold more of them than the other (--limit), but the ids of one must all be
in the other. Printed: the largest difference of a log-probability, and each question whose predictions differ, with
the gap in the oracle between its best choice and the one that we took. Such a question is forgiven where that gap is
no larger than the largest difference of the whole comparison: rounding can then have decided it.

Exit codes: 0 they agree; 1 a difference beyond the tolerance, a value that is no number, or a prediction that is not
forgiven; 2 bad usage, or files that do not belong together.
"""
import argparse
import json
import math
import sys


class BadInput(Exception):
    """A file that cannot be compared; the text names the place."""


def is_sample(sample):
    return (isinstance(sample, dict) and isinstance(sample.get("id"), str) and
            isinstance(sample.get("logprob"), list) and len(sample["logprob"]) > 0 and
            all(type(value) in (int, float) for value in sample["logprob"]) and
            all(type(sample.get(key)) is int and 0 <= sample[key] < len(sample["logprob"])
                for key in ("prediction", "gold")))


def read_samples(path):
    samples = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                sample = json.loads(line)
            except ValueError as error:
                raise BadInput(f"{path}: line {number}: {error}") from error
            if not is_sample(sample):
                raise BadInput(f"{path}: line {number}: is no sample with id, logprob, prediction and gold")
            if sample["id"] in samples:
                raise BadInput(f"{path}: line {number}: id {sample['id']} was there before")
            samples[sample["id"]] = sample
    return samples


def common_ids(ours, oracle):
    ids = [id for id in oracle if id in ours]
    if len(ids) == 0 or len(ids) < min(len(ours), len(oracle)):
        raise BadInput(f"{len(ids)} ids in common, of {len(ours)} and {len(oracle)}: not the same questions")
    for id in ids:
        if len(ours[id]["logprob"]) != len(oracle[id]["logprob"]) or ours[id]["gold"] != oracle[id]["gold"]:
            raise BadInput(f"{id}: the choices, or the right one, are not the same")
    return ids


def difference(a, b):
    """A value that is no number is as far away as can be."""
    return abs(a - b) if math.isfinite(a) and math.isfinite(b) else math.inf


def compare(ours, oracle, tolerance):
    ids = common_ids(ours, oracle)
    differences = {(id, i): difference(ours[id]["logprob"][i], value)
                   for id in ids for i, value in enumerate(oracle[id]["logprob"])}
    (worst, choice), largest = max(differences.items(), key=lambda item: item[1])
    root_mean_square = math.sqrt(sum(value * value for value in differences.values()) / len(differences))
    passed = largest <= tolerance
    print(f"{len(ids)} questions, {len(differences)} choices")
    print(f"largest difference {largest:.3g} ({worst}, choice {choice}: ours {ours[worst]['logprob'][choice]!r}, "
          f"oracle {oracle[worst]['logprob'][choice]!r}), root mean square {root_mean_square:.3g}, "
          f"tolerance {tolerance:g}: {'within' if passed else 'BEYOND'}")

    flips = [id for id in ids if ours[id]["prediction"] != oracle[id]["prediction"]]
    print(f"{len(flips)} predictions differ")
    for id in flips:
        took, best = ours[id]["prediction"], oracle[id]["prediction"]
        gap = oracle[id]["logprob"][best] - oracle[id]["logprob"][took]
        forgiven = gap <= largest
        passed = passed and forgiven
        print(f"  {id}: ours {took}, oracle {best}, gap {gap:.3g}: "
              + ("no larger than the largest difference" if forgiven else "LARGER than the largest difference"))
    return passed


def tolerance(text):
    value = float(text)
    if not value >= 0 or math.isinf(value):
        raise ValueError
    return value


def main():
    parser = argparse.ArgumentParser(description="Compares samples of `adamoe eval` with an oracle's.")
    parser.add_argument("ours", metavar="OURS.jsonl")
    parser.add_argument("oracle", metavar="ORACLE.jsonl")
    parser.add_argument("--tolerance", type=tolerance, required=True, metavar="T",
                        help="of the difference of log-probabilities")
    arguments = parser.parse_args()
    try:
        passed = compare(read_samples(arguments.ours), read_samples(arguments.oracle), arguments.tolerance)
    except (BadInput, OSError, UnicodeDecodeError) as error:
        print(f"compare_samples.py: {error}", file=sys.stderr)
        return 2
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
