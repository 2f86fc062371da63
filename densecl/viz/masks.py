"""Show masks on a picture: tinted, with an outline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

_FIRST = (
    (230, 60, 50),
    (40, 120, 220),
    (250, 190, 40),
    (40, 170, 110),
    (170, 80, 200),
    (240, 130, 30),
    (60, 190, 220),
    (230, 110, 170),
)


def object_colours(objects: Sequence[int]) -> dict[int, tuple[int, int, int]]:
    """A colour for each id; the first eight are easy to tell apart."""
    colours = list(_FIRST)
    for number in range(len(_FIRST), len(objects)):
        # the golden angle keeps the hues of neighbours apart
        hsv = np.array([[[round(number * 0.381966 * 180) % 180, 190, 230]]], np.uint8)
        red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
        colours.append((red, green, blue))
    return dict(zip(objects, colours, strict=False))


def draw_masks(
    image: np.ndarray,
    ids: np.ndarray,
    colours: Mapping[int, Sequence[int]],
    *,
    strength: float = 0.45,
) -> np.ndarray:
    """The picture with objects tinted and outlined.

    Args:
        image: (H, W, 3) uint8 RGB.
        ids: (h, w) integers, at any size.
        colours: of the ids that are drawn; others stay as they are.
        strength: of the tint, 0 to 1.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = image.shape[:2]
    rows = ((np.arange(height) + 0.5) * ids.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * ids.shape[1] / width).astype(int)
    large = ids[rows[:, None], columns]
    drawn = image.copy()
    for number, colour in colours.items():
        mask = large == number
        tint = (1 - strength) * image[mask] + strength * np.asarray(colour)
        drawn[mask] = tint.round().astype(np.uint8)
        inner = cv2.erode(mask.view(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
        drawn[mask & (inner == 0)] = colour
    return drawn
