"""Are cells of one object more alike than cells of different objects?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from densecl.transfer.prompts.curves import auroc
from densecl.transfer.prompts.points import HALF

BINS = 64
"""Of the histograms of cosine on [-1, 1]."""
MOST_CELLS = 2048
"""Cells of one image that are compared; of more, this many, evenly spread in reading order."""
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ImagePairs:
    """What one image's pairs of cells say. Every pair of the image weighs alike.

    Attributes:
        moments: (2, 2): mean and mean square of the cosine; row 0 within an object, 1 between two.
        histogram: (2, BINS), each row adds up to 1.
        same: AUROC of "of the same object" from the cosine.
        matched: the same, the pairs between objects weighed so that they lie as far apart as those
            within one; NaN where no distance has pairs of both kinds.
        pairs: how many within and between.
    """

    moments: np.ndarray
    histogram: np.ndarray
    same: float
    matched: float
    pairs: tuple[int, int]


def image_pairs(features: np.ndarray, coverage: np.ndarray) -> ImagePairs | None:
    """Compare all cells of an image that an object covers by half or more.

    Args:
        features: (D, h, w).
        coverage: (O, h, w), see ``cell_coverage``.

    Returns:
        None for an image without a pair of one kind: such as has one object, or none of two cells.
    """
    owner = np.where(coverage.max(0) >= HALF, coverage.argmax(0), -1) if len(coverage) else None
    if owner is None or not (owner >= 0).any():
        return None
    row, column = np.nonzero(owner >= 0)
    if len(row) > MOST_CELLS:
        kept = np.linspace(0, len(row) - 1, MOST_CELLS).round().astype(int)
        row, column = row[kept], column[kept]
    owner = owner[row, column]
    rows = features[:, row, column].T.astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    first, second = np.triu_indices(len(rows), 1)
    # rounded, so that cosines which are equal but for the order of a sum are ties
    cosine = np.round((rows @ rows.T)[first, second], 9)
    within = owner[first] == owner[second]
    if within.all() or not within.any():
        return None
    distance = np.hypot(row[first] - row[second], column[first] - column[second])
    distance = distance.round().astype(np.int64)
    sides = cosine[within], cosine[~within]
    return ImagePairs(
        np.array([[side.mean(), (side * side).mean()] for side in sides]),
        np.stack([_histogram(side) for side in sides]),
        auroc(*sides),
        _matched(*sides, distance[within], distance[~within]),
        (len(sides[0]), len(sides[1])),
    )


def _histogram(values: np.ndarray) -> np.ndarray:
    place = np.clip(((values + 1) / 2 * BINS).astype(int), 0, BINS - 1)
    return np.bincount(place, minlength=BINS) / len(values)


def _matched(within: np.ndarray, between: np.ndarray, near: np.ndarray, far: np.ndarray) -> float:
    """AUROC with the pairs between objects weighed to the distances of those within one."""
    length = int(max(near.max(), far.max())) + 1
    counts = [np.bincount(side, minlength=length) for side in (near, far)]
    both = (counts[0] > 0) & (counts[1] > 0)
    weight = np.where(both, counts[0] / np.maximum(counts[1], 1), 0.0)
    return auroc(within, between, both[near].astype(np.float64), weight[far])


def separation(images: Sequence[ImagePairs]) -> dict[str, float]:
    """Sum up over images, each of which weighs alike however many objects it shows.

    Returns:
        ``same`` and ``matched``: mean AUROC; ``dprime``: difference of the two mean cosines over
        the root mean square of the two standard deviations; ``ovl``: area that the two histograms
        share; ``within``, ``between``: mean cosines. NaN without an image.
    """
    if not images:
        return dict.fromkeys(("same", "matched", "dprime", "ovl", "within", "between"), math.nan)
    moments = np.mean([image.moments for image in images], axis=0)
    histogram = np.mean([image.histogram for image in images], axis=0)
    mean = moments[:, 0]
    variance = np.maximum(moments[:, 1] - mean * mean, 0.0)
    matched = [image.matched for image in images if not math.isnan(image.matched)]
    spread = math.sqrt(variance.mean())
    return {
        "same": math.fsum(image.same for image in images) / len(images),
        "matched": math.fsum(matched) / len(matched) if matched else math.nan,
        # all cells alike have neither a difference nor a spread
        "dprime": float((mean[0] - mean[1]) / max(spread, _ROUNDING)),
        "ovl": float(histogram.min(0).sum()),
        "within": float(mean[0]),
        "between": float(mean[1]),
    }
