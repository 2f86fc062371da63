"""COCO's average precision, in numpy.

Per class and overlap threshold, the detections of all pictures are sorted by score; each takes the
free box of its picture that it overlaps most, if the overlap reaches the threshold. Precision, made
monotonous, is read at 101 recalls. Classes that have no box to find do not enter a mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS: dict[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""Name -> smallest and largest area of the boxes that count, in square pixels."""
MAX_DETECTIONS = (1, 10, 100)


@dataclass(frozen=True)
class Truth:
    """What is to be found in one picture.

    Attributes:
        boxes: (G, 4) float, (x0, y0, x1, y1) pixel edges.
        labels: (G,) class ids.
        ignore: (G,) bool: finding it is neither right nor wrong, and one detection may.
        crowd: (G,) bool: a region that any number of detections may lie in; ignored as well, and
            overlapped by the share of the detection's own area.
        area: (G,) of the objects where it is not that of the boxes, for the area ranges.
    """

    boxes: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray | None = None
    crowd: np.ndarray | None = None
    area: np.ndarray | None = None


@dataclass(frozen=True)
class Detections:
    """What was found in one picture.

    Attributes:
        boxes: (N, 4) float, (x0, y0, x1, y1) pixel edges.
        labels: (N,) class ids.
        scores: (N,) float, finite.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Precision:
    """Precision and recall of every class and setting; NaN where there is nothing to find.

    Attributes:
        precision: (T, R, L, A, M): threshold, recall, class, area range, most detections.
        recall: (T, L, A, M), the largest recall reached.
        thresholds: (T,) of overlap.
        areas: names of the A area ranges.
        max_detections: the M limits, per picture and class.
    """

    precision: np.ndarray
    recall: np.ndarray
    thresholds: np.ndarray
    areas: tuple[str, ...]
    max_detections: tuple[int, ...]

    def ap(
        self, threshold: float | None = None, area: str = "all", max_detections: int | None = None
    ) -> float:
        """Mean precision over recalls, classes and thresholds; NaN where nothing is to be found.

        Args:
            threshold: one of ``thresholds``; None = the mean over all.
            area: one of ``areas``.
            max_detections: one of the limits; None = the largest.
        """
        return _mean(self._of(self.precision, threshold, area, max_detections))

    def ap_per_class(
        self, threshold: float | None = None, area: str = "all", max_detections: int | None = None
    ) -> np.ndarray:
        """(L,) ``ap`` of each class, NaN where it has no box to find."""
        chosen = self._of(self.precision, threshold, area, max_detections)
        return np.array([_mean(chosen[:, :, k]) for k in range(chosen.shape[2])])

    def ar(self, area: str = "all", max_detections: int | None = None) -> float:
        """Mean over classes and thresholds of the largest recall."""
        return _mean(self._of(self.recall, None, area, max_detections))

    def _of(
        self, values: np.ndarray, threshold: float | None, area: str, most: int | None
    ) -> np.ndarray:
        values = values[..., self.areas.index(area), :]
        values = values[..., -1 if most is None else self.max_detections.index(most)]
        if threshold is None:
            return values
        near = np.flatnonzero(np.isclose(self.thresholds, threshold))
        if not len(near):
            raise ValueError(f"overlap threshold {threshold}: none of {self.thresholds.tolist()}")
        return values[near]


@dataclass(frozen=True)
class _Wanted:
    """``Truth`` of one class, everything filled in."""

    boxes: np.ndarray
    ignore: np.ndarray
    crowd: np.ndarray
    area: np.ndarray


@dataclass(frozen=True)
class _Matches:
    """Detections of one class in one picture, best first, against one area range.

    Attributes:
        scores: (N,).
        found: (T, N) bool, the detection took a box.
        ignored: (T, N) bool, it counts neither way.
        wanted: how many boxes are to be found.
    """

    scores: np.ndarray
    found: np.ndarray
    ignored: np.ndarray
    wanted: int


def average_precision(
    truth: Sequence[Truth],
    detections: Sequence[Detections],
    num_classes: int,
    *,
    thresholds: Sequence[float] | np.ndarray = THRESHOLDS,
    areas: Sequence[str] = ("all",),
    max_detections: Sequence[int] = (100,),
) -> Precision:
    """Match and accumulate.

    Args:
        truth, detections: one of each per picture, in the same order.
        num_classes: L.
        thresholds: smallest overlaps that count as found.
        areas: names of ``AREAS``. Boxes outside a range are ignored there, and so are detections
            outside it that find nothing.
        max_detections: ascending limits of detections per picture and class; the best are kept.

    Raises:
        ValueError: lists of different length, or a score that is not finite.

    Source: Lin et al. 2014 and the evaluation code of COCO. Of equal scores the earlier detection
    comes first, and of equal overlaps the later box is taken, as there. Where neither a box nor a
    detection has any area their overlap is 0.
    """
    if len(truth) != len(detections):
        raise ValueError(f"truth of {len(truth)} pictures, detections of {len(detections)}")
    for number, each in enumerate(detections):
        if not np.isfinite(each.scores).all():
            raise ValueError(f"picture {number}: a score that is not finite")
    levels = np.minimum(np.asarray(thresholds, dtype=np.float64), 1 - 1e-10)
    limits, ranges = tuple(max_detections), tuple(areas)
    shape = (num_classes, len(ranges), len(limits))
    precision = np.full((len(levels), len(RECALLS), *shape), np.nan)
    recall = np.full((len(levels), *shape), np.nan)
    for label in range(num_classes):
        pictures = [
            _of_class(t, d, label, limits[-1]) for t, d in zip(truth, detections, strict=True)
        ]
        pictures = [each for each in pictures if len(each[0].boxes) or len(each[1].boxes)]
        overlaps = [_overlaps(t, d) for t, d in pictures]
        for a, name in enumerate(ranges):
            matches = [
                match(t, d, overlap, levels, AREAS[name])
                for (t, d), overlap in zip(pictures, overlaps, strict=True)
            ]
            for m, most in enumerate(limits):
                found = accumulate(matches, most)
                if found is not None:
                    precision[:, :, label, a, m], recall[:, label, a, m] = found
    return Precision(precision, recall, np.asarray(thresholds, float), ranges, limits)


def match(
    truth: _Wanted,
    detections: Detections,
    overlaps: np.ndarray,
    thresholds: np.ndarray,
    area: tuple[float, float],
) -> _Matches:
    """Give each detection of one class and picture the best box that is still free.

    Args:
        truth: boxes of the class.
        detections: of the class, best first.
        overlaps: (N, G).
        thresholds: (T,).
        area: the range of areas that counts.
    """
    outside = (truth.area < area[0]) | (truth.area > area[1])
    ignore = truth.ignore | truth.crowd | outside
    count, boxes = len(detections.scores), len(ignore)
    found = np.zeros((len(thresholds), count), bool)
    ignored = np.zeros((len(thresholds), count), bool)
    free = np.ones((len(thresholds), boxes), bool)
    every = np.arange(len(thresholds))
    for n in range(count if boxes else 0):
        reached = (overlaps[n] >= thresholds[:, None]) & (free | truth.crowd)
        # a box that counts is preferred to one that is ignored, whatever the overlaps
        wanted = reached & ~ignore
        reached = np.where(wanted.any(axis=1, keepdims=True), wanted, reached)
        # of equal overlaps the last
        best = boxes - 1 - np.where(reached, overlaps[n], -1.0)[:, ::-1].argmax(axis=1)
        hit = reached[every, best]
        found[:, n], ignored[:, n] = hit, hit & ignore[best]
        free[every[hit], best[hit]] = False
    size = _area(detections.boxes)
    ignored |= ~found & ((size < area[0]) | (size > area[1]))
    return _Matches(detections.scores, found, ignored, int((~ignore).sum()))


def accumulate(matches: Sequence[_Matches], most: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Precision at each recall, and the largest recall; None where nothing is to be found.

    Args:
        matches: of one class and area range, one per picture.
        most: detections per picture.

    Returns:
        (T, R) and (T,).
    """
    wanted = sum(each.wanted for each in matches)
    if not wanted:
        return None
    scores = np.concatenate([each.scores[:most] for each in matches])
    order = np.argsort(-scores, kind="stable")
    found = np.concatenate([each.found[:, :most] for each in matches], axis=1)[:, order]
    ignored = np.concatenate([each.ignored[:, :most] for each in matches], axis=1)[:, order]
    right = np.cumsum(found & ~ignored, axis=1, dtype=np.float64)
    wrong = np.cumsum(~found & ~ignored, axis=1, dtype=np.float64)
    recall = right / wanted
    precision = right / (right + wrong + np.spacing(1))
    # the best precision at this recall or a larger one
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    at = np.zeros((len(right), len(RECALLS)))
    for row in range(len(right)):
        index = np.searchsorted(recall[row], RECALLS, side="left")
        inside = index < recall.shape[1]
        at[row, inside] = precision[row, index[inside]]
    return at, (recall[:, -1] if recall.shape[1] else np.zeros(len(right)))


def _of_class(
    truth: Truth, detections: Detections, label: int, most: int
) -> tuple[_Wanted, Detections]:
    """The boxes of a class with all flags, and its detections, best first."""
    mine = truth.labels == label
    boxes = np.asarray(truth.boxes, np.float64).reshape(-1, 4)[mine]
    ignore, crowd = (
        np.zeros(len(boxes), bool) if given is None else np.asarray(given, bool)[mine]
        for given in (truth.ignore, truth.crowd)
    )
    area = _area(boxes) if truth.area is None else np.asarray(truth.area, np.float64)[mine]
    kept = np.flatnonzero(detections.labels == label)
    kept = kept[np.argsort(-detections.scores[kept], kind="stable")][:most]
    found = np.asarray(detections.boxes, np.float64).reshape(-1, 4)[kept]
    return (
        _Wanted(boxes, ignore, crowd, area),
        Detections(found, detections.labels[kept], detections.scores[kept]),
    )


def _overlaps(truth: _Wanted, detections: Detections) -> np.ndarray:
    """(N, G) intersection over union; over the detection's own area where the box is a crowd."""
    first, second = detections.boxes[:, None], truth.boxes[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(
        first[..., :2], second[..., :2]
    )
    shared = np.clip(sides, 0, None).prod(axis=2)
    own, other = _area(detections.boxes)[:, None], _area(truth.boxes)[None]
    total = np.where(truth.crowd, own, own + other - shared)
    return np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
