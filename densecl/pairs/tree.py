"""Candidates within a distance, by scipy's trees: lists of points on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

Rows = tuple[Tensor, Tensor]

_CELLS = 64  # along the longest axis; a handful of points of a scan fall into one
# splitting at the middle builds in half the time, and the search is no slower
_BUILD = {"balanced_tree": False, "compact_nodes": False}


def close_rows(a: Tensor, b: Tensor, reach: float) -> Rows:
    """All (i, j) with a[i] and b[j] at most ``reach`` apart, in any order.

    Args:
        a: (N, d) float64, N > 0.
        b: (M, d) float64, M > 0.
        reach: > 0.
    """
    from scipy.spatial import cKDTree

    order = [_spatial_order(points) for points in (a, b)]
    trees = [
        cKDTree(points[rows].numpy(), **_BUILD) for points, rows in zip((a, b), order, strict=True)
    ]
    near = trees[0].sparse_distance_matrix(trees[1], reach, output_type="ndarray")
    return order[0][_rows(near["i"])], order[1][_rows(near["j"])]


def nearest_rows(a: Tensor, b: Tensor, reach: float, k: int, slack: float) -> Rows:
    """The k nearest b of each a and perhaps more, in any order; all that are equally near.

    Args:
        a: (N, d) float64, N > 0.
        b: (M, d) float64, M > 0.
        reach: largest distance.
        k: number of neighbours, > 0.
        slack: distances that differ by less count as equal: the caller decides which is less.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(b.numpy(), **_BUILD)
    order = _spatial_order(a)
    # one more than asked: it tells whether the k-th is clearly nearer than the next
    distance, found = tree.query(a[order].numpy(), k + 1, distance_upper_bound=reach)
    distance, found = torch.from_numpy(distance), _rows(found)
    # a missing neighbour is infinitely far: inf - inf is no tie
    last = distance[:, k - 1]
    tie = (distance[:, k] - last <= slack + 1e-5 * last) & distance[:, k].isfinite()
    present = distance.isfinite() & ~tie.unsqueeze(1)
    i, j = order[present.nonzero()[:, 0]], found[present]
    if bool(tie.any()):
        farthest = float(distance[tie, k].max())
        rows = order[tie]
        more_i, more_j = close_rows(a[rows], b, farthest + slack + 1e-5 * farthest)
        i, j = torch.cat([i, rows[more_i]]), torch.cat([j, more_j])
    return i, j


def _spatial_order(points: Tensor) -> Tensor:
    """(N,) rows in an order in which neighbours are near each other in memory.

    Searches read the same part of a tree again and again then: two to three times as fast.
    """
    low, high = points.aminmax(dim=0)
    cell = ((points - low) * (_CELLS / (high - low).max().clamp(min=1e-30))).long()
    key = cell[:, 0]
    for axis in range(1, points.shape[1]):
        key = key * (_CELLS + 1) + cell[:, axis]
    return torch.argsort(key)


def _rows(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype("int64"))
