"""Is a row of the table better than training from scratch, or is it noise?

Every row is run on the same (pretraining seed, label subset) pairs as scratch, and each pair gives
one difference. Differences of pairs that share a seed or a subset are not independent; the
interval over pairs is then somewhat too narrow. ``unit="seed"`` or ``"subset"`` averages within
each seed (subset) first and takes the interval over those means: the conservative answer to "would
it hold for a new seed (subset)?", at the price of far fewer degrees of freedom.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from densecl.transfer.columns import Better

Pair = tuple[int, str]
"""(pretraining seed, name of the label subset)."""
PRINTED = 5e-4
"""A difference below it is printed as 0.000: rows that agree so well differ in rounding alone,
whose sign may be the same for every pair."""

Unit = Literal["pair", "seed", "subset"]
Verdict = Literal["better", "worse", "inconclusive"]


@dataclass(frozen=True)
class Difference:
    """A paired comparison with scratch.

    Attributes:
        mean: mean difference row - scratch; NaN without a common pair.
        interval: two-sided interval of the mean, or None when fewer than two units are there.
        verdict: ``better`` or ``worse`` when the interval lies on one side of zero; None for a
            number that only describes.
        count: number of units the interval rests on.
    """

    mean: float
    interval: tuple[float, float] | None
    verdict: Verdict | None
    count: int


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Two-sided Student interval of the mean, n - 1 degrees of freedom; None for n < 2."""
    count = len(values)
    if count < 2:
        return None
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = float(stats.t.ppf(0.5 + level / 2, count - 1)) * math.sqrt(variance / count)
    return mean - half, mean + half


def paired_difference(
    row: Mapping[Pair, float],
    scratch: Mapping[Pair, float],
    *,
    level: float = 0.95,
    unit: Unit = "pair",
    better: Better = "higher",
) -> Difference:
    """Compare a row with scratch over the pairs that both have.

    Args:
        row: score of each (seed, subset) pair.
        scratch: the same for the scratch row.
        level: coverage of the interval.
        unit: what counts as one independent observation (see the module's text).
        better: which way is an improvement; ``none`` gives no verdict.

    Returns:
        The difference. One unit alone gives no interval and the verdict ``inconclusive``: a
        single run says nothing about the spread.

    Raises:
        ValueError: a score is not finite.
    """
    groups: dict[object, list[float]] = defaultdict(list)
    for pair in sorted(row.keys() & scratch.keys()):
        difference = row[pair] - scratch[pair]
        if not math.isfinite(difference):
            raise ValueError(f"the score of pair {pair} is not finite")
        key = {"pair": pair, "seed": pair[0], "subset": pair[1]}[unit]
        groups[key].append(difference)
    values = [math.fsum(group) / len(group) for group in groups.values()]
    if not values:
        return Difference(math.nan, None, verdict(None, better), 0)
    interval = t_interval(values, level)
    mean = math.fsum(values) / len(values)
    return Difference(mean, interval, verdict(interval, better), len(values))


def verdict(interval: tuple[float, float] | None, better: Better = "higher") -> Verdict | None:
    """``better`` when the whole interval lies on the better side of zero, ``worse`` on the other.

    None for a number of which neither side is the better one. An interval that is printed as zero
    at both ends is no difference.
    """
    if better == "none":
        return None
    if interval is None or max(map(abs, interval)) < PRINTED:
        return "inconclusive"
    low, high = interval if better == "higher" else (-interval[1], -interval[0])
    if low > 0:
        return "better"
    return "worse" if high < 0 else "inconclusive"
