"""Pictures of the data itself: label colours, depth shades, flow wheel, the contact sheet."""

from __future__ import annotations

import cv2
import numpy as np

from densecl.data.streets.classes import IGNORE, PALETTE
from densecl.data.streets.dataset import Streets

_HOLE = 60
"""Grey of pixels without a value."""


def label_colours(label: np.ndarray) -> np.ndarray:
    """(H, W) class ids -> (H, W, 3) uint8; ignored pixels are black."""
    table = np.zeros((IGNORE + 1, 3), np.uint8)
    table[: len(PALETTE)] = PALETTE
    return table[label]


def depth_colours(depth: np.ndarray, far: float = 80.0) -> np.ndarray:
    """(H, W) metres -> (H, W, 3) uint8, near is warm; infinite depth is grey."""
    share = np.log1p(np.minimum(depth, far)) / np.log1p(far)
    picture = cv2.applyColorMap((255 * (1 - share)).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where(np.isfinite(depth)[..., None], picture, _HOLE).astype(np.uint8)


def flow_colours(flow: np.ndarray, full: float | None = None) -> np.ndarray:
    """(H, W, 2) pixels -> (H, W, 3) uint8: hue = direction, saturation = length / ``full``.

    Pixels without flow (NaN) are grey; ``full`` defaults to the 95th percentile of the length.
    """
    length = np.linalg.norm(flow, axis=-1)
    known = np.isfinite(length)
    if full is None:
        full = float(np.percentile(length[known], 95)) if known.any() else 1.0
    hue = (np.degrees(np.arctan2(flow[..., 1], flow[..., 0])) % 360) / 2
    strength = np.clip(255 * length / max(full, 1e-6), 0, 255)
    hsv = np.nan_to_num(np.stack([hue, strength, np.full_like(hue, 255)], -1)).astype(np.uint8)
    return np.where(known[..., None], cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), _HOLE).astype(np.uint8)


def contact_sheet(data: Streets, count: int = 12, columns: int = 2) -> np.ndarray:
    """Samples spread over ``data``: frame | label | depth, and the flow where there are clips.

    Returns:
        (rows * H, columns * tiles * W, 3) uint8 RGB; missing cells are black.
    """
    count = min(count, len(data))
    cells = []
    for index in np.linspace(0, len(data) - 1, count).round().astype(int).tolist():
        frame = data[index].frames[0]
        tiles = [frame.image, label_colours(frame.maps["label"]), depth_colours(data.depth(index))]
        if frame.flow is not None:
            tiles.append(flow_colours(frame.flow))
        cells.append(np.hstack(tiles))
    while len(cells) % columns:
        cells.append(np.zeros_like(cells[0]))
    rows = [np.hstack(cells[k : k + columns]) for k in range(0, len(cells), columns)]
    return np.vstack(rows)
