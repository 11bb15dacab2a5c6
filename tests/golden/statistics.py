"""Makes tests/golden/statistics.json: samples, and what SciPy says of them.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install scipy
    /tmp/venv/bin/python tests/golden/statistics.py

Where values are tied, SciPy's exact methods are for untied ones, so the oracle enumerates all permutations
(scipy.stats.permutation_test) there.
"""
import itertools
import json
import pathlib

import numpy as np
import scipy
from scipy import stats


def by_all_signs(values):
    """P of the signed-rank statistic over all signs, two-sided; midranks, zeros dropped."""
    values = np.array([v for v in values if v != 0.0])
    ranks = stats.rankdata(np.abs(values))
    observed = ranks[values > 0].sum()
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product([0, 1], repeat=len(values))])
    return min(1.0, 2 * min(np.mean(sums <= observed), np.mean(sums >= observed)))


def signed_rank(values, method):
    if method == "signs":
        nonzero = np.array([v for v in values if v != 0.0])
        ranks = stats.rankdata(np.abs(nonzero))
        return {"values": values, "statistic": float(ranks[nonzero > 0].sum()), "p": by_all_signs(values)}
    result = stats.wilcoxon(values, method=method, correction=method == "asymptotic", zero_method="wilcox")
    positive = stats.rankdata(np.abs([v for v in values if v != 0.0]))[np.array(values)[np.array(values) != 0] > 0].sum()
    return {"values": values, "statistic": float(positive), "p": float(result.pvalue)}


def rank_sum(first, second, method):
    if method == "permutations":
        def u(x, y):
            return stats.rankdata(np.concatenate([x, y]))[: len(x)].sum() - len(x) * (len(x) + 1) / 2
        result = stats.permutation_test((first, second), u, permutation_type="independent", n_resamples=np.inf)
        return {"first": first, "second": second, "statistic": float(result.statistic), "p": float(result.pvalue)}
    result = stats.mannwhitneyu(first, second, method=method)
    return {"first": first, "second": second, "statistic": float(result.statistic), "p": float(result.pvalue)}


def main():
    random = np.random.default_rng(1)

    def normal(count, mean=0.0, digits=6):
        return [round(float(v), digits) for v in random.normal(mean, 1.0, count)]

    def walsh(values):
        return sorted((values[i] + values[j]) / 2 for i in range(len(values)) for j in range(i, len(values)))

    centred = normal(12, 0.5)
    document = {
        "scipy": scipy.__version__,
        "signed_rank": [signed_rank(normal(n, mean), "exact") for n, mean in [(1, 0), (5, 1), (12, 0.5), (30, 0.2), (50, 0.4)]]
        + [signed_rank(normal(n, mean, 0), "signs") for n, mean in [(6, 0), (10, 1), (14, 0.5)]]
        + [signed_rank(normal(n, mean, digits), "asymptotic") for n, mean, digits in [(250, 0.1, 6), (400, 0.1, 1)]],
        "centre": {"values": centred, "centre": float(np.median(walsh(centred)))},
        "rank_sum": [rank_sum(normal(m), normal(n, mean), "exact") for m, n, mean in [(1, 1, 0), (3, 4, 2), (8, 12, 0.5), (20, 20, 1)]]
        + [rank_sum(normal(m, 0, 0), normal(n, mean, 0), "permutations") for m, n, mean in [(4, 5, 0), (6, 6, 1), (8, 5, 1)]]
        + [rank_sum(normal(m, 0, digits), normal(n, mean, digits), "asymptotic") for m, n, mean, digits in [(40, 50, 0.3, 6), (60, 45, 0.2, 1)]],
        "mcnemar": [{"lost": b, "won": c, "p": float(stats.binomtest(b, b + c).pvalue) if b + c else 1.0}
                    for b, c in [(0, 0), (0, 1), (5, 0), (7, 12), (3, 3), (100, 140), (900, 1000)]],
    }
    path = pathlib.Path(__file__).with_name("statistics.json")
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
