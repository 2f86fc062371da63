"""How well segments keep to the borders of labels: three measures of the superpixel literature.

Definitions as in Stutz, Hermans and Leibe, "Superpixels: an evaluation of the state of the art",
CVIU 2018; the under-segmentation error is the one of Neubert and Protzel (2012) there. Pixels
whose label is ``ignore`` count nowhere, and no border runs along them. Pixels in no region (-1)
count as one region of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from densecl.regions.connected import boundaries

IGNORE = 255


@dataclass(frozen=True)
class Quality:
    """The three measures of one image, and how many regions they were reached with.

    Attributes:
        regions: number of regions; with enough of them everything is reached.
        boundary_recall, under_segmentation_error, achievable_accuracy: see the functions.
    """

    regions: int
    boundary_recall: float
    under_segmentation_error: float
    achievable_accuracy: float


def measure(
    segments: np.ndarray, labels: np.ndarray, tolerance: int = 2, ignore: int = IGNORE
) -> Quality:
    """All three measures of one image; see the functions."""
    shared = _shared(segments, labels, ignore)
    return Quality(
        regions=int(segments.max(initial=-1)) + 1,
        boundary_recall=boundary_recall(segments, labels, tolerance, ignore),
        under_segmentation_error=_error(shared),
        achievable_accuracy=_accuracy(shared),
    )


def boundary_recall(
    segments: np.ndarray, labels: np.ndarray, tolerance: int = 2, ignore: int = IGNORE
) -> float:
    """Share of the labels' border pixels with a border of segments near.

    A border pixel has a 4-neighbour of another id. Near means within the square of
    ``2 * tolerance + 1`` pixels around it.

    Args:
        segments: (H, W) integer ids.
        labels: (H, W) integer class ids.
        tolerance: pixels.
        ignore: label that is none.

    Returns:
        0 to 1; NaN where the labels have no border.

    Raises:
        ValueError: shapes differ.
    """
    _check(segments, labels)
    truth = boundaries(labels, ignore=ignore)
    if not truth.any():
        return float("nan")
    edge = boundaries(segments).astype(np.uint8)
    near = cv2.dilate(edge, np.ones((2 * tolerance + 1,) * 2, np.uint8)) > 0
    return float(near[truth].mean())


def under_segmentation_error(
    segments: np.ndarray, labels: np.ndarray, ignore: int = IGNORE
) -> float:
    """How far segments leak over the labels' borders.

    Sum over labels g and the segments s that touch them of min(|s in g|, |s outside g|), over the
    number of labelled pixels. 0 is perfect; lower is better.

    Args:
        segments: (H, W) integer ids.
        labels: (H, W) integer class ids.
        ignore: label that is none.

    Returns:
        NaN where no pixel has a label.

    Raises:
        ValueError: shapes differ.
    """
    return _error(_shared(segments, labels, ignore))


def achievable_segmentation_accuracy(
    segments: np.ndarray, labels: np.ndarray, ignore: int = IGNORE
) -> float:
    """Pixel accuracy of giving each segment its most frequent label: the best that it allows.

    Args:
        segments: (H, W) integer ids.
        labels: (H, W) integer class ids.
        ignore: label that is none.

    Returns:
        0 to 1; NaN where no pixel has a label.

    Raises:
        ValueError: shapes differ.
    """
    return _accuracy(_shared(segments, labels, ignore))


def _shared(segments: np.ndarray, labels: np.ndarray, ignore: int) -> np.ndarray:
    """(R', L') int64 pixels that a segment and a label share."""
    _check(segments, labels)
    counted = labels != ignore
    _, row = np.unique(segments[counted], return_inverse=True)
    used, column = np.unique(labels[counted], return_inverse=True)
    if not len(used):
        return np.zeros((0, 0), np.int64)
    counts = np.bincount(row * len(used) + column, minlength=(row.max() + 1) * len(used))
    return counts.reshape(-1, len(used))


def _error(shared: np.ndarray) -> float:
    if not shared.size:
        return float("nan")
    outside = shared.sum(axis=1, keepdims=True) - shared
    return float(np.minimum(shared, outside).sum() / shared.sum())


def _accuracy(shared: np.ndarray) -> float:
    return float(shared.max(axis=1).sum() / shared.sum()) if shared.size else float("nan")


def _check(segments: np.ndarray, labels: np.ndarray) -> None:
    if segments.shape != labels.shape or segments.ndim != 2:
        raise ValueError(f"segments are {segments.shape}, labels {labels.shape}; both are (H, W)")
