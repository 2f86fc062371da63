"""Pictures of predictions: image, truth and prediction side by side (numpy and OpenCV only)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from densecl.diagnostics.segmentation_metrics import IGNORE


def colourise(
    labels: np.ndarray,
    palette: Sequence[Sequence[int]],
    ignore: int = IGNORE,
    ignore_colour: Sequence[int] = (0, 0, 0),
) -> np.ndarray:
    """Paint a label map.

    Args:
        labels: (H, W) class ids in [0, L) or ``ignore``.
        palette: L colours (r, g, b), 0-255.
        ignore: id painted with ``ignore_colour``.
        ignore_colour: (r, g, b).

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: an id without a colour.
    """
    used = np.unique(labels[labels != ignore])
    if used.size and (used[0] < 0 or used[-1] >= len(palette)):
        raise ValueError(f"ids {used[0]}..{used[-1]} but the palette has {len(palette)} colours")
    table = np.array([*palette, ignore_colour], dtype=np.uint8)
    return table[np.where(labels == ignore, len(palette), labels).astype(np.intp)]


def error_map(prediction: np.ndarray, truth: np.ndarray, ignore: int = IGNORE) -> np.ndarray:
    """Where the prediction is wrong: red; right: dark green; unlabelled: black. (H, W, 3)."""
    picture = np.zeros((*truth.shape, 3), np.uint8)
    picture[prediction == truth] = (0, 90, 40)
    picture[prediction != truth] = (220, 40, 30)
    picture[truth == ignore] = 0
    return picture


def beside(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    palette: Sequence[Sequence[int]],
    *,
    ignore: int = IGNORE,
    errors: bool = False,
    gap: int = 2,
) -> np.ndarray:
    """One row: image, truth, prediction and, if asked, the error map.

    Args:
        image: (H0, W0, 3) uint8 RGB; resized to the label map's size.
        truth: (H, W) class ids or ``ignore``.
        prediction: (H, W) class ids.
        palette: L colours.
        ignore: id without a class.
        errors: append ``error_map``.
        gap: white pixels between the tiles.

    Returns:
        (H, k W + (k - 1) gap, 3) uint8, k = 3 or 4.
    """
    height, width = truth.shape
    if image.shape[:2] != truth.shape:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    tiles = [image, colourise(truth, palette, ignore), colourise(prediction, palette, ignore)]
    if errors:
        tiles.append(error_map(prediction, truth, ignore))
    spacer = np.full((height, gap, 3), 255, np.uint8)
    row = [part for tile in tiles for part in (tile, spacer)][:-1]
    return np.concatenate(row, axis=1)


def stack_rows(rows: Sequence[np.ndarray], gap: int = 2) -> np.ndarray:
    """Rows of equal width below one another, with white lines of ``gap`` pixels between."""
    if not rows:
        raise ValueError("no rows to stack")
    spacer = np.full((gap, rows[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for row in rows for part in (row, spacer)][:-1], axis=0)
