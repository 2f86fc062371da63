"""How much of each cell of a feature map an object covers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def cell_coverage(ids: np.ndarray, objects: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Share of each cell's area that belongs to each object.

    Args:
        ids: (H, W) integers.
        objects: O ids.
        size: (h, w) of the feature map; cell (i, j) covers the pixels' area from (i H/h, j W/w) to
            ((i + 1) H/h, (j + 1) W/w), cutting pixels where it has to.

    Returns:
        (O, h, w) float64 in [0, 1].
    """
    down, across = (_overlap(side, cells) for side, cells in zip(ids.shape, size, strict=True))
    masks = np.stack([ids == number for number in objects]).astype(np.float64)
    return down @ masks @ across.T


def _overlap(side: int, cells: int) -> np.ndarray:
    """(cells, side): which share of a cell each pixel of one axis makes up."""
    edges = np.arange(cells + 1) * side / cells
    pixels = np.arange(side)
    low = np.maximum(edges[:-1, None], pixels[None])
    high = np.minimum(edges[1:, None], pixels[None] + 1)
    return np.clip(high - low, 0, None) * cells / side
