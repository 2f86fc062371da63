"""Which cluster stands for which class, read off counts of pixels.

Counts are (L, K): pixels of each true class in each cluster, ignored pixels left out beforehand. A
matching is (K,) int64: the class of each cluster, or -1.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Unmatched = Literal["background", "wrong"]
NOTHING = -1


def hungarian(counts: np.ndarray) -> np.ndarray:
    """Match one to one so that the sum of the IoU is largest (Kuhn 1955).

    A class is matched to at most one cluster and a cluster to at most one class. A pair that shares
    no pixel is no match.

    Args:
        counts: (L, K).
    """
    from scipy.optimize import linear_sum_assignment

    counts = counts.astype(np.float64)
    union = counts.sum(axis=1, keepdims=True) + counts.sum(axis=0, keepdims=True) - counts
    iou = counts / np.maximum(union, 1)
    classes, clusters = linear_sum_assignment(iou, maximize=True)
    matching = np.full(counts.shape[1], NOTHING)
    shared = counts[classes, clusters] > 0
    matching[clusters[shared]] = classes[shared]
    return matching


def greedy(counts: np.ndarray) -> np.ndarray:
    """Match each cluster to the class with the largest precision: the one most of its pixels have.

    A class may have many clusters. Of equals the lower class; a cluster without a labelled pixel
    has none.

    Args:
        counts: (L, K).
    """
    return np.where(counts.any(axis=0), counts.argmax(axis=0), NOTHING)


def join_clusters(
    counts: np.ndarray,
    matching: np.ndarray,
    unmatched: Unmatched = "wrong",
    background: int = 0,
) -> np.ndarray:
    """Confusion of classes once each cluster has the class that it was matched to.

    Args:
        counts: (L, K).
        matching: (K,) class or -1.
        unmatched: where the pixels of unmatched clusters go: ``background`` calls them the class
            of that name, ``wrong`` calls them nothing, which is right for no pixel.
        background: id of that class.

    Returns:
        (L + 1, L + 1) int64, row = true class, column = predicted class; the last row is empty and
        the last column counts what was called nothing. The last class has no true pixel, so no
        mean over classes of ``iou_per_class`` contains it.
    """
    classes = len(counts)
    instead = background if unmatched == "background" else classes
    joined = np.zeros((classes + 1, classes + 1), np.int64)
    target = np.where(matching == NOTHING, instead, matching)
    np.add.at(joined.T, target, np.pad(counts, ((0, 1), (0, 0))).T)
    return joined


def purity(counts: np.ndarray) -> float:
    """Share of the labelled pixels that have the class most frequent in their cluster.

    It is 1 when every pixel is a cluster of its own: compare it at one number of clusters only.

    Args:
        counts: (L, K).

    Returns:
        NaN when no pixel is labelled.
    """
    total = counts.sum()
    return float(counts.max(axis=0, initial=0).sum() / total) if total else float("nan")
