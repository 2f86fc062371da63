"""Segmentation metrics from one confusion matrix of a whole data set."""

from __future__ import annotations

from typing import Literal

import numpy as np

IGNORE = 255
Over = Literal["truth", "either"]


def confusion_matrix(
    prediction: np.ndarray, truth: np.ndarray, num_classes: int, ignore: int | None = IGNORE
) -> np.ndarray:
    """Count (true class, predicted class) over all pixels that carry a label.

    Args:
        prediction: any shape, integer class ids in [0, L).
        truth: same shape, class ids in [0, L) or ``ignore``.
        num_classes: L.
        ignore: id in ``truth`` whose pixels are left out, whatever was predicted there; None
            counts every pixel.

    Returns:
        (L, L) int64; row = true class, column = predicted class. Matrices of several images add.

    Raises:
        ValueError: shapes differ, or an id outside [0, L) stands at a counted pixel.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction is {prediction.shape}, truth is {truth.shape}")
    counted = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    rows = truth[counted].astype(np.int64)
    columns = prediction[counted].astype(np.int64)
    for name, ids in (("truth", rows), ("prediction", columns)):
        if ids.size and (ids.min() < 0 or ids.max() >= num_classes):
            raise ValueError(
                f"{name} holds ids {ids.min()}..{ids.max()}, allowed are 0..{num_classes - 1}"
                f" (and {ignore} in truth)"
            )
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def iou_per_class(confusion: np.ndarray, over: Over = "truth") -> np.ndarray:
    """Intersection over union of each class.

    A class without a true pixel has no score: it is NaN, never 0 or 1. Predicting it is still
    punished, because those pixels are missing from the intersection of their true class.

    Args:
        confusion: (L, L), row = true class.
        over: ``either`` gives a class that is predicted but has no true pixel the score 0.

    Returns:
        (L,) float64.
    """
    confusion = confusion.astype(np.float64)
    hit = np.diag(confusion)
    truth, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    iou = np.full(len(hit), np.nan)
    present = truth + predicted > 0 if over == "either" else truth > 0
    iou[present] = hit[present] / (truth + predicted - hit)[present]
    return iou


def mean_iou(confusion: np.ndarray, over: Over = "truth") -> float:
    """Mean of ``iou_per_class`` over the classes that have a score; NaN when none has.

    Args:
        confusion: (L, L), row = true class, summed over the whole data set (the mean of
            per-image scores is another, noisier number).
        over: which classes have a score: those in the truth, or also those only predicted.
    """
    iou = iou_per_class(confusion, over)
    return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")


def pixel_accuracy(confusion: np.ndarray) -> float:
    """Share of labelled pixels predicted right; NaN when no pixel is labelled."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")
