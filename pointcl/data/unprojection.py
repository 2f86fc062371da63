"""Depth images to points, and the colours of points from another camera's picture."""

from __future__ import annotations

import numpy as np

HALF = 0.5
"""Added to principal points of calibrations whose pixel centres are whole numbers."""


def pinhole(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """(3, 3) intrinsics with pixel centres at halves, of a calibration with whole centres."""
    return np.array([[fx, 0, cx + HALF], [0, fy, cy + HALF], [0, 0, 1]], np.float64)


def unproject(depth: np.ndarray, intrinsics: np.ndarray, step: int = 1) -> np.ndarray:
    """The point behind each pixel; that of row n is in column (n % w) step and row (n // w) step.

    Args:
        depth: (H, W) metres along the optical axis; 0, negative or not finite = none.
        intrinsics: (3, 3), pixel centres at halves.
        step: every so many rows and columns are taken; w = ceil(W / step).

    Returns:
        (ceil(H / step) w, 3) float32 in the camera's frame (x right, y down, z
        forward), NaN where there is no depth.
    """
    height, width = depth.shape
    across = (np.arange(0, width, step) + HALF - intrinsics[0, 2]) / intrinsics[0, 0]
    down = (np.arange(0, height, step) + HALF - intrinsics[1, 2]) / intrinsics[1, 1]
    z = depth[::step, ::step].astype(np.float64)
    z[~(np.isfinite(z) & (z > 0))] = np.nan
    points = np.empty((*z.shape, 3), np.float32)
    points[..., 0] = across * z
    points[..., 1] = down[:, None] * z
    points[..., 2] = z
    return points.reshape(-1, 3)


def colours_at(points: np.ndarray, image: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Colour of the pixel that each point falls into.

    Args:
        points: (N, 3) in the camera's frame; may be NaN.
        image: (H, W, 3) uint8.
        intrinsics: (3, 3), pixel centres at halves.

    Returns:
        (N, 3) uint8, black where a point is NaN, behind the camera or outside the image.
    """
    height, width = image.shape[:2]
    with np.errstate(invalid="ignore", divide="ignore"):
        at = points[:, :2].astype(np.float64) / points[:, 2:]
        column = np.floor(at[:, 0] * intrinsics[0, 0] + intrinsics[0, 2])
        row = np.floor(at[:, 1] * intrinsics[1, 1] + intrinsics[1, 2])
        inside = (points[:, 2] > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    colour = np.zeros((len(points), 3), np.uint8)
    colour[inside] = image[row[inside].astype(np.int64), column[inside].astype(np.int64)]
    return colour
