"""Superpixels of a picture beside the points that they group: the pairs of SLidR."""

from __future__ import annotations

import cv2
import numpy as np

from densecl.viz.segments import draw_borders, region_colours
from pointcl.sensors.projection import Projection
from pointcl.viz.paper import Colour, paper
from pointcl.viz.projection import GAP, _behind, check_image
from pointcl.viz.scan import draw_scan, viewpoint

TINT = 0.55
"""Share of a superpixel's colour in the picture."""


def draw_superpixels(
    image: np.ndarray,
    points: np.ndarray,
    projection: Projection,
    ids: np.ndarray,
    *,
    view: str | None = None,
    height: int = 480,
    background: str | Colour = "light",
) -> np.ndarray:
    """Picture and scan side by side; a superpixel and its points share a colour.

    Superpixels without a point keep the picture's colours, points without a superpixel are faint.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: (N, 3) metres, in the frame of the sensor.
        projection: of the points.
        ids: (H, W) int superpixels, -1 = none.
        view: of the scan, see ``draw_scan``; None = from behind the sensor.
        height: of both, in pixels.
        background: of the scan.

    Returns:
        (H', W', 3) uint8, RGB.

    Raises:
        ValueError: sizes or lengths disagree.
    """
    check_image(image, projection)
    if len(points) != len(projection) or ids.shape != image.shape[:2]:
        raise ValueError(
            f"{len(points)} points and ids {ids.shape} for a projection of {len(projection)} "
            f"points onto {image.shape[:2]}"
        )
    look, kept = paper(background), np.flatnonzero(projection.kept)
    x, y = projection.pixel[kept].astype(np.int64).T
    region = np.full(len(points), -1)
    region[kept] = ids[y, x]
    size = (height, round(image.shape[1] * height / image.shape[0]))
    left = cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC)
    whole = cv2.resize(ids.astype(np.int32), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    palette = region_colours(np.arange(int(ids.max(initial=-1)) + 1)[None])[0]
    seen = np.isin(whole, region[region >= 0])
    left[seen] = ((1 - TINT) * left[seen] + TINT * palette[whole[seen]]).astype(np.uint8)
    colours = np.full((len(points), 3), look.faint, np.uint8)
    colours[region >= 0] = palette[region[region >= 0]]
    chosen = _behind(points, points[kept], size) if view is None else viewpoint(view, points, size)
    right = draw_scan(
        points,
        colours,
        view=chosen,
        size=size,
        background=background,
        legend=False,
        scale_bar=False,
        point_size=height / 150,
    )
    gap = np.full((height, GAP, 3), look.ground, np.uint8)
    return np.concatenate([draw_borders(left, whole), gap, right], axis=1)
