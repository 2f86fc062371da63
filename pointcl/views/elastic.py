"""Displacements (N, 3) in metres that move points one by one: jitter and elastic distortion.

No map takes them back. A view keeps the points before them as ``rigid``, so that its canonical
coordinates stay exact.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates, uniform_filter1d

from densecl.errors import UsageError

MOST_NODES = 1 << 23
"""Nodes of the lattice of an elastic distortion: about 100 MB, some seconds."""


def jitter(count: int, sigma: float, clip: float, random: np.random.Generator) -> np.ndarray:
    """Normal noise of ``sigma`` metres on each axis, cut off at ``clip`` metres."""
    return np.clip(random.normal(0.0, sigma, (count, 3)), -clip, clip)


def elastic(
    points: np.ndarray, granularity: float, magnitude: float, random: np.random.Generator
) -> np.ndarray:
    """Smooth noise: normal values on a lattice, blurred, read between its nodes.

    The lattice starts one cell before the lowest point and ends beyond the highest. Each axis is
    averaged over three nodes, twice, with zeros outside; then the values are read trilinearly.

    Args:
        points: (N, 3).
        granularity: metres between nodes.
        magnitude: factor on the values, metres.
        random: where the draws come from.

    Raises:
        UsageError: the lattice would have too many nodes.

    Source: the distortion that sparse indoor networks are trained with since Graham et al. 2018.
    """
    if len(points) == 0:
        return np.zeros((0, 3))
    low = points.min(0)
    shape = (np.ptp(points, axis=0) // granularity).astype(np.int64) + 3
    if shape.astype(np.float64).prod() > MOST_NODES:
        raise UsageError(
            f"views.elastic: a lattice of {' x '.join(map(str, shape))} nodes, "
            f"{granularity:g} m apart",
            needed=f"at most {MOST_NODES} nodes",
            fix="use a coarser granularity, or cut the cloud with a range or a crop",
        )
    noise = random.standard_normal((3, *shape), dtype=np.float32)
    for _ in range(2):
        for axis in (1, 2, 3):
            noise = uniform_filter1d(noise, 3, axis=axis, mode="constant")
    at = ((points - low) / granularity + 1).T
    moved = [map_coordinates(values, at, order=1, mode="nearest") for values in noise]
    return magnitude * np.stack(moved, 1)
