"""Which segments may be objects: neither tiny nor huge, nor a level plane such as road or floor."""

from __future__ import annotations

import numpy as np

SMALLEST = 20
SHARE = 0.1
UPRIGHT = 0.95
SCATTER = 0.1


def foreground_score(
    points: np.ndarray,
    ids: np.ndarray,
    *,
    max_extent: float = 10.0,
    smallest: int = SMALLEST,
    share: float = SHARE,
) -> np.ndarray:
    """How much each segment looks like an object, from 0 to 1.

    A segment is foreground, scored 0.5 or more, if it has at least ``smallest`` points and at most
    ``share`` of the cloud's, is at most ``max_extent`` long, and is no level plane: its normal is
    off the vertical (its z is below 0.95), or its points scatter off the plane (their standard
    deviation along the normal is above a tenth of that along the longest axis). The score is that
    of the weakest of these; each is 0.5 at its bound.

    Args:
        points: (N, 3) metres, z up.
        ids: (N,) integer, 0 to R - 1, each used by a finite point; -1 = none.
        max_extent: metres along the longest principal axis; 10 outdoors, 3 indoors.
        smallest: points.
        share: of the finite points.

    Returns:
        (R,) float64.
    """
    count = int(ids.max(initial=-1)) + 1
    finite = np.isfinite(points).all(1)
    mine = np.flatnonzero(finite & (ids >= 0))
    if not count:
        return np.zeros(0)
    of = ids[mine]
    shape = _Shape(points[mine].astype(np.float64), of, count)
    most = share * finite.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.arccos(np.minimum(shape.upright, 1.0)) / np.arccos(UPRIGHT)
        off_level = np.maximum(angle / (1 + angle), shape.scatter / (shape.scatter + SCATTER))
        return np.min(
            [
                shape.size / (shape.size + smallest),
                most / (most + shape.size),
                max_extent / (max_extent + shape.extent),
                off_level,
            ],
            axis=0,
        )


def foreground_ids(ids: np.ndarray, score: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """(N,) int64 ids of the segments that score ``threshold`` or more; -1 elsewhere."""
    return np.append(np.where(score >= threshold, np.arange(len(score)), -1), -1)[ids]


class _Shape:
    """Size, length and form of each segment."""

    def __init__(self, at: np.ndarray, of: np.ndarray, count: int) -> None:
        self.size = np.bincount(of, minlength=count).astype(np.float64)
        many = np.maximum(self.size, 1)

        def mean(values: np.ndarray) -> np.ndarray:
            return (
                np.stack([np.bincount(of, v, minlength=count) for v in values.T], 1) / many[:, None]
            )

        away = at - mean(at)[of]
        spread = mean((away[:, :, None] * away[:, None, :]).reshape(-1, 9)).reshape(-1, 3, 3)
        value, axis = np.linalg.eigh(spread)
        self.upright = np.abs(axis[:, 2, 0])
        value = np.maximum(value, 0)
        self.scatter = np.sqrt(value[:, 0] / np.maximum(value[:, 2], 1e-12))
        along = (away * axis[of, :, 2]).sum(1)
        low, high = np.zeros(count), np.zeros(count)
        np.minimum.at(low, of, along)
        np.maximum.at(high, of, along)
        self.extent = high - low
