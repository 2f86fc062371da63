"""Show regions: their borders, a colour each, how much each stands out."""

from __future__ import annotations

import cv2
import numpy as np

from densecl.regions.connected import region_means
from densecl.regions.segments import Segments
from densecl.viz.tile import enlarge, grid

BORDER = (255, 214, 10)
NONE = (60, 60, 60)


def region_colours(ids: np.ndarray, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 with a saturated colour for each region; grey = in none."""
    count = int(ids.max(initial=-1)) + 1
    random = np.random.default_rng(seed)
    # the golden angle keeps the hues of neighbouring ids apart
    hue = (np.arange(count) * 0.381966 + random.random()) % 1.0 * 180.0
    hsv = np.stack([hue, random.uniform(110, 220, count), random.uniform(150, 255, count)], axis=1)
    rgb = cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0] if count else hsv
    return np.concatenate([rgb, [NONE]]).astype(np.uint8)[ids]


def draw_borders(image: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The picture with the borders of its regions, one pixel wide on the inner side."""
    edge = np.zeros(ids.shape, bool)
    edge[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    edge[:-1] |= ids[:-1] != ids[1:]
    drawn = image.copy()
    drawn[edge] = BORDER
    return drawn


def draw_means(image: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Each region in its mean colour: what a pooled feature can know of it."""
    means = np.concatenate([region_means(ids, image), [NONE]])
    return means.round().astype(np.uint8)[ids]


def draw_score(ids: np.ndarray, score: np.ndarray) -> np.ndarray:
    """A number of each region as brightness, 0 black to 1 white; grey-blue = in no region."""
    grey = (255 * np.clip(score, 0, 1)).round().astype(np.uint8)
    rgb = np.repeat(grey[:, None], 3, axis=1)
    return np.concatenate([rgb, [(60, 60, 90)]]).astype(np.uint8)[ids]


def segment_row(
    image: np.ndarray, segments: Segments, height: int
) -> tuple[list[np.ndarray], list[str]]:
    """Pictures of one image's regions, all of a height, and what they show."""
    ids = segments.ids
    big = enlarge(image, height)
    rows, columns = (
        (2 * np.arange(fine) + 1) * coarse // (2 * fine)
        for fine, coarse in zip(big.shape[:2], ids.shape, strict=True)
    )
    fine = ids[rows[:, None], columns]
    pictures = [draw_borders(big, fine), region_colours(fine), draw_means(big, fine)]
    captions = ["borders", "regions", "mean colour"]
    if segments.levels is not None:
        coarse = np.append(segments.levels[:, 0], -1)[fine]
        pictures.append(draw_borders(draw_means(big, coarse), coarse))
        captions.append("coarsest level")
    if "foreground" in segments.scores:
        pictures.append(draw_score(fine, segments.scores["foreground"]))
        captions.append("foreground score")
    return pictures, captions


def segment_sheet(
    images: list[np.ndarray], segments: list[Segments], height: int = 240
) -> np.ndarray:
    """(H', W', 3) uint8 contact sheet: an image a row, its regions beside one another.

    Args:
        images: (H, W, 3) uint8 RGB.
        segments: of each image, all with the same scores.
        height: of each picture.
    """
    rows: list[list[np.ndarray]] = []
    captions: list[str] = []
    for image, found in zip(images, segments, strict=True):
        pictures, captions = segment_row(image, found, height)
        rows.append(pictures)
    return grid(rows, captions)
