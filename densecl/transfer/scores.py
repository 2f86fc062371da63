"""Scores of a run as plain values, from one confusion matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from densecl.diagnostics.segmentation_metrics import iou_per_class, mean_iou


def scores_of(confusion: np.ndarray, diverged: bool = False) -> dict[str, Any]:
    """Mean IoU, IoU per class (None = absent from the truth) and the counts themselves.

    Args:
        confusion: (L, L), row = true class.
        diverged: the run has no weights worth scoring: it scores 0.
    """
    return {
        "miou": 0.0 if diverged else mean_iou(confusion),
        "iou": plain_iou(confusion),
        "confusion": confusion.tolist(),
    }


def plain_iou(confusion: np.ndarray) -> list[float | None]:
    """``iou_per_class`` for JSON: NaN becomes None."""
    return [None if math.isnan(value) else value for value in iou_per_class(confusion).tolist()]
