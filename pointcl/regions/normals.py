"""Normals of surfaces from the nearest points."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

_BLOCK = 1 << 16


def estimate_normals(points: np.ndarray, neighbours: int = 16) -> np.ndarray:
    """Direction of least spread of each point and its nearest ones.

    Which of the two sides a normal points to says nothing: the one with z >= 0 is given (of level
    ones that with y > 0, or y = 0 and x > 0).

    Args:
        points: (N, 3) metres.
        neighbours: nearest points, the point itself counted.

    Returns:
        (N, 3) float32 of unit length; NaN where a point is not finite or has fewer than two
        others beside it.

    Raises:
        ValueError: fewer than 3 neighbours.
    """
    if neighbours < 3:
        raise ValueError(f"a plane needs 3 points, not {neighbours}")
    normals = np.full((len(points), 3), np.nan, np.float32)
    rows = np.flatnonzero(np.isfinite(points).all(1))
    if len(rows) < 3:
        return normals
    at = points[rows].astype(np.float64)
    _, near = cKDTree(at).query(at, k=min(neighbours, len(rows)))
    for begin in range(0, len(rows), _BLOCK):
        some = slice(begin, begin + _BLOCK)
        around = at[near[some]]
        around = around - around.mean(1, keepdims=True)
        direction = smallest_axis(np.matmul(around.transpose(0, 2, 1), around))
        normals[rows[some]] = upward(direction)
    return normals


def smallest_axis(scatter: np.ndarray) -> np.ndarray:
    """(N, 3) unit eigenvector of the smallest eigenvalue of (N, 3, 3) symmetric matrices."""
    return np.linalg.eigh(scatter)[1][:, :, 0]


def upward(direction: np.ndarray) -> np.ndarray:
    """The directions (N, 3), each or its opposite, so that the last number that is not 0 is > 0."""
    x, y, z = direction.T
    sign = np.where(z != 0, z, np.where(y != 0, y, x))
    return np.where(sign[:, None] < 0, -direction, direction)
