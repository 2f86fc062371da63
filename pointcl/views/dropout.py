"""Which points a view loses: cuboids, beams, single points, as masks (N,) bool of what is kept."""

from __future__ import annotations

import numpy as np

from pointcl.views.crops import in_box

Share = tuple[float, float]


def cuboid_drop(points: np.ndarray, share: Share, random: np.random.Generator) -> np.ndarray:
    """Everything but a box around a random point.

    Its sides are one draw of U(share) times the cloud's extent on each axis.

    Source: Sautier et al. 2022 (SLidR), share (0, 0.2).
    """
    if len(points) == 0:
        return np.ones(0, bool)
    size = random.uniform(*share)
    middle = points[random.integers(len(points))]
    return ~in_box(points, middle, size * np.ptp(points, axis=0))


def point_dropout(count: int, share: Share, random: np.random.Generator) -> np.ndarray:
    """A random U(share) of the points is lost, each on its own."""
    return random.random(count) >= random.uniform(*share)


def at_most(count: int, most: int, random: np.random.Generator) -> np.ndarray:
    """``most`` random points are kept; all where there are no more."""
    keep = np.ones(count, bool)
    if count > most:
        keep[random.permutation(count)[most:]] = False
    return keep


def beam_dropout(beam: np.ndarray, share: Share, random: np.random.Generator) -> np.ndarray:
    """A random U(share) of the sensor's beams is lost, with all their points.

    Args:
        beam: (N,) integer, beam of each point: the scan's ring, or ``elevation_bins``.
        share: range of the share of the beams present that is lost.
        random: where the draws come from.
    """
    present = np.unique(beam)
    lost = random.permutation(present)[: round(random.uniform(*share) * len(present))]
    return ~np.isin(beam, lost)


def elevation_bins(points: np.ndarray, beams: int) -> np.ndarray:
    """(N,) int64 stand-in for the ring: elevation cut into ``beams`` equal steps.

    Only for points in the frame of the sensor, whose beams all start at the origin.
    """
    if len(points) == 0:
        return np.zeros(0, np.int64)
    elevation = np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1]))
    low, span = elevation.min(), np.ptp(elevation)
    place = (elevation - low) / (span if span > 0 else 1.0) * beams
    return np.minimum(place.astype(np.int64), beams - 1)
