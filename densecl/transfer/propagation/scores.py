"""How well masks of a video fit the truth: region similarity J and boundary accuracy F.

Both as the DAVIS 2017 evaluation computes them, number for number; where it leaves a case open, the
functions say what they do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

BOUND = 0.008
"""How far two boundaries may lie apart and still match, as a share of the picture's diagonal."""


@dataclass(frozen=True)
class VideoScores:
    """Scores of one video.

    Attributes:
        objects: (O,) ids.
        region: (O, T') J of each object and scored frame.
        boundary: (O, T') F.
    """

    objects: tuple[int, ...]
    region: np.ndarray
    boundary: np.ndarray

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """(O,) means over the frames of J and of F."""
        return self.region.mean(1), self.boundary.mean(1)


def region_similarity(
    predicted: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None
) -> float:
    """J: intersection over union of two masks; 1 where both are empty.

    Args:
        predicted, truth: (H, W) bool.
        void: (H, W) bool, pixels that do not count, or None.
    """
    if void is not None:
        predicted, truth = predicted & ~void, truth & ~void
    union = np.count_nonzero(predicted | truth)
    return np.count_nonzero(predicted & truth) / union if union else 1.0


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels that differ from the one right, below or right below.

    So the line runs half a pixel up and left of the edge between mask and background. The border of
    the picture is no boundary.
    """
    mask = mask.astype(bool)
    boundary = np.zeros_like(mask)
    boundary[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    boundary[:-1] |= mask[:-1] != mask[1:]
    boundary[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return boundary


def boundary_f(
    predicted: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None, bound: float = BOUND
) -> float:
    """F: harmonic mean of precision and recall of the boundary pixels.

    A pixel of one boundary is right where a pixel of the other lies within ``bound``; both are
    counted on their own, with no matching one to one. Without any boundary in either, F is 1; with
    one in one of them only, 0.

    Args:
        predicted, truth: (H, W) bool.
        void: (H, W) bool, pixels that belong to neither mask, or None.
        bound: share of the diagonal, rounded up to whole pixels; from 1 on a number of pixels.
    """
    if void is not None:
        predicted, truth = predicted & ~void, truth & ~void
    found, wanted = boundary_map(predicted), boundary_map(truth)
    count_found, count_wanted = np.count_nonzero(found), np.count_nonzero(wanted)
    if not count_found or not count_wanted:
        return float(count_found == count_wanted)
    radius = bound if bound >= 1 else math.ceil(bound * math.hypot(*truth.shape))
    element = _disk(int(radius))
    near_found = cv2.dilate(found.view(np.uint8), element).view(bool)
    near_wanted = cv2.dilate(wanted.view(np.uint8), element).view(bool)
    precision = np.count_nonzero(found & near_wanted) / count_found
    recall = np.count_nonzero(wanted & near_found) / count_wanted
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0


@cache
def _disk(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (y * y + x * x <= radius * radius).astype(np.uint8)


def score_video(
    predicted: np.ndarray,
    truth: np.ndarray,
    objects: Sequence[int],
    void: np.ndarray | None = None,
    *,
    bound: float = BOUND,
) -> VideoScores:
    """J and F of each object in all frames but the first, which was given, and the last.

    An object that has left the picture scores 1 where it is predicted nowhere, else 0. The ids need
    not be contiguous: an id that is not asked for is background, where the DAVIS evaluation takes
    every number up to the largest for an object and scores a missing one as 1.

    Args:
        predicted, truth: (T, H, W) ids, T >= 3.
        objects: ids that are scored.
        void: (T, H, W) bool, pixels that do not count, or None.
        bound: see ``boundary_f``.

    Raises:
        ValueError: shapes differ, or fewer than 3 frames.

    Source: Perazzi et al. 2016, section 5; Pont-Tuset et al. 2017, section 4; the DAVIS 2017
    evaluation code.
    """
    if predicted.shape != truth.shape or (void is not None and void.shape != truth.shape):
        raise ValueError(f"predicted {predicted.shape}, truth {truth.shape}")
    if len(truth) < 3:
        raise ValueError(f"{len(truth)} frames: nothing is left without the first and the last")
    scored = range(1, len(truth) - 1)
    region = np.zeros((len(objects), len(scored)))
    boundary = np.zeros_like(region)
    for row, number in enumerate(objects):
        for column, t in enumerate(scored):
            masks = predicted[t] == number, truth[t] == number
            hidden = None if void is None else void[t]
            region[row, column] = region_similarity(*masks, hidden)
            boundary[row, column] = boundary_f(*masks, hidden, bound)
    return VideoScores(tuple(objects), region, boundary)
