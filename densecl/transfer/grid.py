"""Choosing a learning rate on validation, by one rule for every row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from densecl.transfer.statistics import Pair


@dataclass(frozen=True)
class Choice:
    """The learning rate of a row, and what it was chosen from.

    Attributes:
        lr: the rate with the best mean validation mIoU; of equals the smallest.
        means: rate -> mean validation mIoU over the pairs that every rate has.
        edge: the choice is the smallest or largest of two or more rates: a wider grid might
            have done better, so a bad row may be the grid's fault.
    """

    lr: float
    means: dict[float, float]
    edge: bool


def choose_learning_rate(scores: Mapping[float, Mapping[Pair, float]]) -> Choice:
    """Pick from validation scores.

    Args:
        scores: rate -> pair -> validation mIoU. Only pairs that every rate has are averaged:
            a mean over other pairs would compare label subsets, not rates.

    Raises:
        ValueError: no rate, no common pair, or a score that is not finite.
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
    best = max(means, key=lambda lr: (means[lr], -lr))
    return Choice(best, means, len(means) > 1 and best in (min(means), max(means)))
