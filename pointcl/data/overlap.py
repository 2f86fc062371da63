"""How much of one cloud another cloud sees too, for all pairs of many clouds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from densecl.files import write_atomically

_BITS = 21


def downsample(points: np.ndarray, voxel: float) -> np.ndarray:
    """The mean of the points in each voxel.

    Args:
        points: (N, 3) metres; rows that are not finite are left out.
        voxel: edge length in metres.

    Returns:
        (M, 3) float64, ordered by voxel.
    """
    points = points[np.isfinite(points).all(1)].astype(np.float64)
    cells = np.floor(points / voxel).astype(np.int64)
    _, inverse, count = np.unique(_pack(cells), return_inverse=True, return_counts=True)
    sums = [np.bincount(inverse, points[:, axis], len(count)) for axis in range(3)]
    return np.stack(sums, 1) / count[:, None]


def overlaps(
    clouds: Sequence[np.ndarray], radius: float, least: float, max_gap: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of clouds that see the same place.

    The overlap of i and j is the share of i's points that have a point of j closer than ``radius``,
    or the share of j's that have one of i, whichever is larger.

    Args:
        clouds: each (M, 3) float64 metres in one frame; M may be 0.
        radius: metres.
        least: pairs of a smaller overlap are left out.
        max_gap: only pairs with j - i at most this; None = all.

    Returns:
        i, j (P,) int64 with i < j, ordered by both, and their overlap (P,) float64.

    Source: Xie et al. 2020 (PointContrast), the preparation of its frame pairs.
    """
    bound = _bounds(clouds, radius) if clouds else np.zeros((0, 0))
    bound = np.maximum(bound, bound.T)
    first, second = np.nonzero(np.triu(bound >= least, 1))
    if max_gap is not None:
        near = second - first <= max_gap
        first, second = first[near], second[near]
    trees = {row: cKDTree(clouds[row]) for row in {*first.tolist(), *second.tolist()}}
    share = np.array(
        [
            max(_share(clouds[i], trees[j], radius), _share(clouds[j], trees[i], radius))
            for i, j in zip(first.tolist(), second.tolist(), strict=True)
        ]
    ).reshape(-1)
    kept = share >= least
    return first[kept], second[kept], share[kept]


def read_pairs(path: Path, settings: str) -> tuple[np.ndarray, ...] | None:
    """Pairs and their overlap; None where there is no such file, or it has other settings."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["settings"]) == settings:
                return file["first"], file["second"], file["overlap"]
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return None


def write_pairs(path: Path, settings: str, pairs: tuple[np.ndarray, ...]) -> None:
    """Keep pairs and their overlap, with the data and the settings that they belong to."""
    first, second, overlap = pairs

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, settings=settings, first=first, second=second, overlap=overlap)

    write_atomically(path, write)


def _share(points: np.ndarray, tree: cKDTree, radius: float) -> float:
    distance, _ = tree.query(points, distance_upper_bound=radius)
    return float(np.isfinite(distance).mean())


def _bounds(clouds: Sequence[np.ndarray], radius: float) -> np.ndarray:
    """(C, C) upper bounds of the share of i's points that have a point of j nearby.

    A point's neighbours lie in its own cell of that size or in one of the 26 around it: one product
    of sparse matrices counts, for every pair of clouds at once, the points that pass.
    """
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    step_keys = _pack(steps) - _pack(np.zeros((1, 3), np.int64))
    cells = [np.floor(cloud / radius).astype(np.int64) for cloud in clouds]
    keys = [_pack(cell) for cell in cells]
    known = np.unique(np.concatenate([np.empty(0, np.int64), *keys]))
    columns, counts, near = [], [], []
    for cell, key in zip(cells, keys, strict=True):
        own, many = np.unique(key, return_counts=True)
        columns.append(np.searchsorted(known, own))
        counts.append(many / max(len(cell), 1))
        # the packing is linear: a neighbour's key is the own key plus the step's
        around = np.unique(own[:, None] + step_keys)
        found = np.searchsorted(known, around).clip(max=max(len(known) - 1, 0))
        near.append(found[known[found] == around] if len(known) else found[:0])
    shape = (len(clouds), len(known))
    inside = csr_array(_rows(columns, counts), shape=shape)
    dilated = csr_array(_rows(near, [np.ones(len(part)) for part in near]), shape=shape)
    # shares are sums of fractions: what is bounded by exactly 1 may come out a little below
    return (inside @ dilated.T).toarray() + 1e-9


def _rows(
    columns: Sequence[np.ndarray], values: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    start = np.cumsum([0, *(len(part) for part in columns)])
    return np.concatenate(values), np.concatenate(columns), start


def _pack(cells: np.ndarray) -> np.ndarray:
    """(N, 3) cells as one int64 each, linear, in their order; within a million cells of 0."""
    half = 1 << (_BITS - 1)
    x, y, z = (cells + half).T
    return (x << 2 * _BITS) + (y << _BITS) + z
