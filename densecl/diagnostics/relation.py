"""How alignment and uniformity of several checkpoints relate to what transfer makes of them.

Moon et al. 2022 propose a scalar for this whose definition is not at hand; the one here is this
project's own and carries a name that says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy.stats import rankdata

from densecl.data.seeding import rng

NAME = "au_spearman_v1"
_BOOTSTRAP = 61  # stream of a seed

Interval = tuple[float, float]


@dataclass(frozen=True)
class Relation:
    """Rank correlations over checkpoints.

    Attributes:
        rho: Spearman's, of ``-(rank of alignment + rank of uniformity) / 2`` with transfer: 1 if
            checkpoints that align better and spread more evenly always transfer better.
        partial_alignment: of alignment with transfer, uniformity held fixed; useful alignment is
            negative, since lower alignment is better.
        partial_uniformity: of uniformity with transfer, alignment held fixed.
        intervals: name of a correlation -> (low, high), by bootstrap over the checkpoints.
        used: name of a correlation -> resamples in which it was defined.
        checkpoints: how many.
        names: of the checkpoints, where known.
        definition: of the scalar; it is this project's own.
    """

    rho: float
    partial_alignment: float
    partial_uniformity: float
    intervals: dict[str, Interval]
    used: dict[str, int]
    checkpoints: int
    names: tuple[str, ...] = ()
    definition: str = field(default=f"{NAME}, defined by densecl")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not defined becomes None."""
        values = asdict(self)
        for name in CORRELATIONS:
            values[name] = None if math.isnan(values[name]) else values[name]
            ends = self.intervals[name]
            values["intervals"][name] = None if math.isnan(ends[0]) else list(ends)
        values["names"] = list(self.names)
        return values


CORRELATIONS = ("rho", "partial_alignment", "partial_uniformity")


def au_spearman(
    alignment: np.ndarray,
    uniformity: np.ndarray,
    transfer: np.ndarray,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    names: tuple[str, ...] = (),
) -> Relation:
    """Relate two measures of M checkpoints to their transfer; no model is fitted.

    Args:
        alignment, uniformity: (M,), lower is better.
        transfer: (M,), higher is better.
        resamples: of the checkpoints, with replacement.
        level: coverage of the percentile intervals.
        seed: of the resamples.
        names: of the checkpoints, kept in the result.

    Returns:
        NaN where a correlation is not defined: a measure that is the same for all checkpoints, or
        alignment and uniformity in one order. Checkpoints of one run along time and finished
        methods are different populations; do not mix them.

    Raises:
        ValueError: fewer than 4 checkpoints, lengths differ, or a value is not finite.
    """
    values = np.stack([np.asarray(v, np.float64) for v in (alignment, uniformity, transfer)])
    count = values.shape[1]
    if count < 4:
        raise ValueError(f"{count} checkpoints; ranks of fewer than 4 mean nothing")
    if not np.isfinite(values).all():
        raise ValueError("a value is not finite")
    found = _correlations(values)
    draw = rng(seed, _BOOTSTRAP)
    drawn = np.array(
        [_correlations(values[:, draw.integers(0, count, count)]) for _ in range(resamples)]
    ).reshape(resamples, len(CORRELATIONS))
    intervals: dict[str, Interval] = {}
    used: dict[str, int] = {}
    for place, name in enumerate(CORRELATIONS):
        defined = drawn[:, place][~np.isnan(drawn[:, place])]
        used[name] = len(defined)
        intervals[name] = (math.nan, math.nan)
        if len(defined) and not math.isnan(found[place]):
            low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
            intervals[name] = (float(low), float(high))
    return Relation(*found, intervals=intervals, used=used, checkpoints=count, names=names)


def relate(
    alignment: Mapping[str, float],
    uniformity: Mapping[str, float],
    transfer: Mapping[str, float],
    **options: Any,
) -> Relation:
    """``au_spearman`` over the names that all three know, in the order of ``transfer``.

    Raises:
        ValueError: fewer than 4 such names.
    """
    names = tuple(name for name in transfer if name in alignment and name in uniformity)
    columns = (
        np.array([each[name] for name in names]) for each in (alignment, uniformity, transfer)
    )
    return au_spearman(*columns, names=names, **options)


def _correlations(values: np.ndarray) -> tuple[float, float, float]:
    """(3, M) alignment, uniformity, transfer -> the three correlations."""
    a, u, y = (rankdata(row) for row in values)
    score = -(a + u) / (2 * len(a))
    r_ay, r_uy, r_au = _pearson(a, y), _pearson(u, y), _pearson(a, u)
    return _pearson(rankdata(score), y), _partial(r_ay, r_au, r_uy), _partial(r_uy, r_au, r_ay)


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan


def _partial(r_xy: float, r_xz: float, r_zy: float) -> float:
    """Correlation of x and y with z held fixed."""
    rest = (1 - r_xz**2) * (1 - r_zy**2)
    # a perfect correlation leaves nothing but rounding
    return (r_xy - r_xz * r_zy) / math.sqrt(rest) if rest > 1e-12 else math.nan
