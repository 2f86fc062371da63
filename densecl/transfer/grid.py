"""Choosing a learning rate on validation, by one rule for every row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from densecl.transfer.columns import Better
from densecl.transfer.statistics import Pair


@dataclass(frozen=True)
class Choice:
    """The learning rate of a row, and what it was chosen from.

    Attributes:
        lr: the rate with the best mean validation score; of equals the smallest.
        means: rate -> mean validation score over the pairs that every rate has.
        edge: the choice is the smallest or largest of two or more rates: a wider grid might
            have done better, so a bad row may be the grid's fault.
    """

    lr: float
    means: dict[float, float]
    edge: bool


def choose_learning_rate(
    scores: Mapping[float, Mapping[Pair, float]], better: Better = "higher"
) -> Choice:
    """Pick from validation scores.

    Args:
        scores: rate -> pair -> validation score. Only pairs that every rate has are averaged:
            a mean over other pairs would compare label subsets, not rates.
        better: which way is an improvement.

    Raises:
        ValueError: no rate, no common pair, a score that is not finite, or rates to choose among
            by a number that only describes.
    """
    if not scores:
        raise ValueError("the grid of learning rates is empty")
    common = set.intersection(*(set(by_pair) for by_pair in scores.values()))
    if not common:
        raise ValueError("no pair was run at every learning rate")
    means = {}
    for lr in sorted(scores):
        values = [scores[lr][pair] for pair in sorted(common)]
        if not all(map(math.isfinite, values)):
            raise ValueError(f"a validation score at lr {lr:g} is not finite")
        means[lr] = math.fsum(values) / len(values)
    if better == "none" and len(means) > 1:
        raise ValueError("a number that only describes cannot choose a rate")
    sign = -1 if better == "lower" else 1
    best = max(means, key=lambda lr: (sign * means[lr], -lr))
    return Choice(best, means, len(means) > 1 and best in (min(means), max(means)))
