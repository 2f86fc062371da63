"""COCO's ways to write a mask, decoded without its library."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

# fillPoly takes fixed-point corners; 4 bits keep a sixteenth of a pixel
_SHIFT = 4


def decode_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """A COCO segmentation as a mask.

    Args:
        segmentation: polygons ``[[x0, y0, x1, y1, ...], ...]``, or a run-length code
            ``{"size": [H, W], "counts": [...] or str}``, uncompressed or compressed.
        size: (H, W) of the image.

    Returns:
        (H, W) bool. A polygon covers every pixel its outline touches, as cv2.fillPoly has it.

    Raises:
        ValueError: neither of the two, or a run-length code that does not fit the image.
    """
    if isinstance(segmentation, list):
        return _polygons(segmentation, size)
    if not isinstance(segmentation, dict) or not {"counts", "size"} <= segmentation.keys():
        raise ValueError(f"not a COCO segmentation: {type(segmentation).__name__}")
    if tuple(segmentation["size"]) != size:
        raise ValueError(f"run-length code for {segmentation['size']}, image is {list(size)}")
    counts = segmentation["counts"]
    runs = _uncompress(counts) if isinstance(counts, (str, bytes)) else counts
    return _runs(np.asarray(runs, dtype=np.int64), size)


def _polygons(polygons: list[list[float]], size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, dtype=np.uint8)
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"polygon of {len(polygon)} numbers; it needs 3 corners (x, y)")
        # continuous coordinates to those of pixel centres
        corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2) - 0.5
        fixed = np.round(corners * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 1, lineType=cv2.LINE_8, shift=_SHIFT)
    return mask.astype(bool)


def _runs(runs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Lengths of alternating runs of 0 and 1, down the columns."""
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise ValueError(f"run lengths add up to {runs.sum()}, image has {size[0] * size[1]}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size[1], size[0]).T


def _uncompress(text: str | bytes) -> list[int]:
    """COCO's compressed counts: 5 bits a character, low first, differences from the third on."""
    codes = text.encode() if isinstance(text, str) else text
    runs: list[int] = []
    value = bits = 0
    for code in codes:
        chunk = code - 48
        value |= (chunk & 31) << bits
        bits += 5
        if chunk & 32:
            continue
        if chunk & 16:
            value -= 1 << bits
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = bits = 0
    return runs
