"""Where an object is prompted."""

from __future__ import annotations

import cv2
import numpy as np

HALF = 0.5
"""Least coverage of a cell by an object for the cell to stand for it."""


def centre_point(mask: np.ndarray) -> tuple[int, int]:
    """The pixel of a mask that lies deepest inside it: (row, column).

    Deepest is farthest from the nearest pixel outside the mask; outside the picture counts as
    outside the mask. Of equally deep ones the first in reading order. It lies on the mask even
    where the middle of the mask does not, as on a ring.

    Args:
        mask: (H, W) bool with at least one True.

    Raises:
        ValueError: the mask is empty.
    """
    if not mask.any():
        raise ValueError("an empty mask has no point to prompt")
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(row), int(column)


def cell_of(point: tuple[int, int], size: tuple[int, int], cells: tuple[int, int]) -> int:
    """Row-major number of the cell of an (h, w) map under the centre of a pixel.

    Args:
        point: (row, column) of the pixel.
        size: (H, W) of the picture.
        cells: (h, w).
    """
    i, j = (
        int((at + 0.5) * count / side) for at, count, side in zip(point, cells, size, strict=True)
    )
    return i * cells[1] + j


def random_cells(coverage: np.ndarray, count: int, random: np.random.Generator) -> list[int]:
    """Cells that an object covers by half or more, drawn uniformly and with replacement.

    Args:
        coverage: (h, w) of the object.
        count: how many.
        random: where the draws come from.

    Returns:
        Row-major numbers. Where no cell is half covered, the most covered one ``count`` times.
    """
    inside = np.flatnonzero(coverage.ravel() >= HALF)
    if not len(inside):
        inside = np.array([int(coverage.argmax())])
    return inside[random.integers(0, len(inside), count)].tolist()
