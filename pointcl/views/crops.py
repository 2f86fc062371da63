"""Which points a view keeps: boxes, neighbourhoods and ranges, as masks (N,) bool."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from pointcl.rows import every, some

_TRIES = 100


def usable_rows(points: np.ndarray) -> np.ndarray:
    """(n,) int64 rows with a finite return; sensors write a missing one as (0, 0, 0) or NaN."""
    return np.flatnonzero(every(np.isfinite(points)) & some(points))


def within_range(points: np.ndarray, low: float, high: float) -> np.ndarray:
    """Points whose distance from the origin, the sensor, is in [low, high) metres."""
    square = np.einsum("nd,nd->n", points, points, dtype=np.float64)
    return (square >= low * low) & (square < high * high)


def cuboid_crop(
    points: np.ndarray,
    share: tuple[float, float],
    aspect: float,
    least: int,
    random: np.random.Generator,
) -> np.ndarray:
    """A box around a random point.

    Each side is U(share) of the cloud's extent on its axis. Draws are repeated, at most 100 times,
    until two of the shares are alike and enough points are inside; else everything is kept.

    Args:
        points: (N, 3).
        share: range of the sides, as shares of the extent.
        aspect: at least two of the three shares have a ratio of at least this.
        least: number of points that the box holds at least.
        random: where the draws come from.

    Source: Zhang et al. 2021 (DepthContrast), which FAC's pretraining uses.
    """
    if len(points) == 0:
        return np.ones(0, bool)
    extent = np.ptp(points, axis=0)
    for _ in range(_TRIES):
        side = random.uniform(*share, 3)
        middle = points[random.integers(len(points))]
        ratios = [min(a, b) / max(a, b) for a, b in combinations(side, 2)]
        if max(ratios) < aspect:
            continue
        inside = in_box(points, middle, side * extent)
        if inside.sum() >= least:
            return inside
    return np.ones(len(points), bool)


def nearest_crop(points: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """The ``count`` points nearest to a random one; all where there are no more."""
    keep = np.ones(len(points), bool)
    if len(points) <= count:
        return keep
    away = points - points[random.integers(len(points))]
    square = np.einsum("nd,nd->n", away, away)
    keep[np.argsort(square, kind="stable")[count:]] = False
    return keep


def in_box(points: np.ndarray, middle: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Points inside an upright box or on its faces."""
    return every(np.abs(points - middle) <= side / 2)
