"""Scores of a similarity map as a segmentation, at every threshold and at none."""

from __future__ import annotations

import numpy as np

BEYOND = 1e-6
"""Similarities this close above a threshold do not exceed it: the cosine of a vector with itself
comes out as 1 give or take some roundings, and so does that of equal vectors."""


def iou_curve(similarity: np.ndarray, mask: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Intersection over union of ``similarity > threshold`` with a mask.

    Args:
        similarity: (N,) of the pixels that count.
        mask: (N,) bool, at least one True.
        thresholds: (K,) ascending.

    Returns:
        (K,) float64; 0 where nothing exceeds the threshold.
    """
    # how many thresholds each pixel exceeds, then pixels that exceed at least so many
    passed = np.searchsorted(thresholds + BEYOND, similarity)
    kept = _at_least(passed, len(thresholds))
    hits = _at_least(passed[mask], len(thresholds))
    return hits / (kept + np.count_nonzero(mask) - hits)


def _at_least(passed: np.ndarray, count: int) -> np.ndarray:
    """(count,) how many values are > 0, > 1, ..."""
    histogram = np.bincount(passed, minlength=count + 1)
    return histogram[::-1].cumsum()[::-1][1:].astype(np.float64)


def auroc(
    positive: np.ndarray,
    negative: np.ndarray,
    positive_weight: np.ndarray | None = None,
    negative_weight: np.ndarray | None = None,
) -> float:
    """Probability that a positive value is larger than a negative one; a tie counts half.

    Args:
        positive, negative: (P,) and (N,) values.
        positive_weight, negative_weight: >= 0; None = all alike.

    Returns:
        In [0, 1]; NaN where one side has no weight.
    """
    a = np.ones(len(positive)) if positive_weight is None else positive_weight
    b = np.ones(len(negative)) if negative_weight is None else negative_weight
    if not a.sum() or not b.sum():
        return float("nan")
    order = np.argsort(negative, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(b[order])])
    ranked = negative[order]
    lower = below[np.searchsorted(ranked, positive, side="left")]
    upper = below[np.searchsorted(ranked, positive, side="right")]
    return float((a * (lower + upper)).sum() / (2 * a.sum() * b.sum()))
