"""From the segments of points to those of voxels."""

from __future__ import annotations

import torch
from torch import Tensor


def voxel_regions(ids: Tensor, point_to_voxel: Tensor, num_voxels: int | None = None) -> Tensor:
    """The segment that most points of each voxel are in.

    Points in no segment vote for none, so that a voxel of the road with one point of a car stays
    road. Of equally many votes a segment wins against none, and the lower id against the higher.

    Args:
        ids: (N,) int64 segments, -1 = none. They may count within a scan: no voxel holds points
            of two.
        point_to_voxel: (N,) int64, -1 = in no voxel, e.g. ``Voxels.point_to_voxel``.
        num_voxels: M; None = the highest there is.

    Returns:
        (M,) int64, -1 = none, also where a voxel has no point.

    Raises:
        ValueError: lengths disagree.
    """
    if ids.shape != point_to_voxel.shape or ids.ndim != 1:
        raise ValueError(f"ids {tuple(ids.shape)}, point_to_voxel {tuple(point_to_voxel.shape)}")
    kept = point_to_voxel >= 0
    voxel, ids = point_to_voxel[kept], ids[kept].long()
    count = int(voxel.max()) + 1 if len(voxel) else 0
    found = ids.new_full((count if num_voxels is None else num_voxels,), -1)
    if not len(voxel):
        return found
    span = int(ids.max()) + 2
    # "none" comes last among equals
    vote = torch.where(ids < 0, span - 1, ids)
    ballot, votes = torch.unique(voxel * span + vote, return_counts=True)
    most = votes.new_zeros(len(found)).scatter_reduce(0, ballot // span, votes, "amax")
    wins = votes == most[ballot // span]
    winner = found.new_full(found.shape, span).scatter_reduce(
        0, ballot[wins] // span, ballot[wins] % span, "amin"
    )
    return torch.where(winner >= span - 1, -1, winner)
