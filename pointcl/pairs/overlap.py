"""How much of a place two posed scans both show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from densecl.errors import UsageError
from densecl.pairs import PointSet, match_by_distance
from pointcl.sensors.pose import compose, inverse, move
from pointcl.sparse.grid import VoxelGrid
from pointcl.sparse.voxelise import voxelise
from pointcl.views.crops import usable_rows

if TYPE_CHECKING:
    from pointcl.data.scan import Scan


def overlap_ratio(
    a: torch.Tensor, b: torch.Tensor, *, voxel: float = 0.05, radius: float | None = None
) -> tuple[float, float]:
    """Share of a's voxels that have one of b's nearby, and the other way round.

    Each cloud becomes one mean point per voxel first. PointContrast calls the larger share the
    overlap and keeps pairs of frames from 0.3 on.

    Args:
        a: (N, 3) metres, finite.
        b: (M, 3) metres, in the same frame, finite.
        voxel: edge, metres.
        radius: what counts as near, metres; None = 1.5 voxels.

    Returns:
        Two shares; 0 where a cloud is empty.

    Source: Xie et al. 2020 (PointContrast), its preparation of pairs.
    """
    sets = [_thinned(points, voxel) for points in (a, b)]
    near = 1.5 * voxel if radius is None else radius
    shares = []
    for src, dst in (sets, sets[::-1]):
        pairs = match_by_distance(src, dst, radius=near, normaliser=None, k=1)
        shares.append(len(pairs) / max(len(src), 1))
    return shares[0], shares[1]


def scan_overlap(
    a: Scan, b: Scan, *, voxel: float = 0.05, radius: float | None = None
) -> tuple[float, float]:
    """``overlap_ratio`` of two scans with known poses.

    Raises:
        UsageError: a pose is unknown.
    """
    b_to_a = relative_pose(b, a)
    points = a.points[usable_rows(a.points)], b.points[usable_rows(b.points)]
    return overlap_ratio(
        torch.from_numpy(np.asarray(points[0], np.float64)),
        torch.from_numpy(move(b_to_a, points[1])),
        voxel=voxel,
        radius=radius,
    )


def relative_pose(scan: Scan, other: Scan) -> np.ndarray:
    """(4, 4) from the points of ``scan`` to those of ``other``.

    Raises:
        UsageError: a pose is unknown.
    """
    for one in (scan, other):
        if one.to_world is None:
            raise UsageError(
                f"{one.name} has no pose in the world",
                needed="scans with known poses",
                fix="use a data set with poses",
            )
    assert scan.to_world is not None
    assert other.to_world is not None
    return compose(scan.to_world, inverse(other.to_world))


def _thinned(points: torch.Tensor, voxel: float) -> PointSet:
    mean = voxelise([points], VoxelGrid(voxel), [points], representative="mean").tensor
    return PointSet({}, mean.sample, mean.features, num_samples=1)
