"""Pairs of two views of one scan, by the raw points they share."""

from __future__ import annotations

import torch
from torch import Tensor

from densecl.pairs import Pairs, PointSet, match_by_index
from pointcl.sparse.voxelise import Voxels
from pointcl.views.view import CloudBatch


def match_single_scan(src: PointSet, dst: PointSet) -> Pairs:
    """Pair the rows that show the same point of the same scan.

    For points. Of voxels, only those pair that the same point happens to stand for in both views:
    see ``match_shared_points``.

    Args:
        src: with ``index`` and ``source``, as ``CloudBatch.to_point_set`` gives them.
        dst: the same.

    Returns:
        Pairs ordered by (src, dst).

    Raises:
        ValueError: an id is missing, or samples differ.
    """
    return match_by_index(src, dst)


@torch.no_grad()
def match_shared_points(
    src: CloudBatch, src_voxels: Voxels, dst: CloudBatch, dst_voxels: Voxels
) -> Pairs:
    """Pair the voxels of two views of the same scans that hold the same raw points.

    Args:
        src: one view of B scans.
        src_voxels: made from ``src.clouds``.
        dst: another view of the same scans.
        dst_voxels: made from ``dst.clouds``.

    Returns:
        Pairs ordered by (src, dst); the weight is the number of points that both voxels hold.

    Raises:
        ValueError: the batches are of different length, or voxels are those of other clouds.
    """
    points = match_by_index(src.to_point_set(fields={}), dst.to_point_set(fields={}))
    ends = []
    for name, voxels, batch, rows in (
        ("src", src_voxels, src, points.src),
        ("dst", dst_voxels, dst, points.dst),
    ):
        if len(voxels.point_to_voxel) != len(batch.points):
            raise ValueError(
                f"{name}: voxels of {len(voxels.point_to_voxel)} points, "
                f"the batch has {len(batch.points)}"
            )
        ends.append(voxels.point_to_voxel[rows])
    held = (ends[0] >= 0) & (ends[1] >= 0)
    sizes = len(src_voxels.representative), len(dst_voxels.representative)
    key, count = torch.unique(ends[0][held] * max(sizes[1], 1) + ends[1][held], return_counts=True)
    return _of_keys(key, count.float(), *sizes)


def _of_keys(key: Tensor, weight: Tensor, num_src: int, num_dst: int) -> Pairs:
    width = max(num_dst, 1)
    return Pairs(key // width, key % width, weight, num_src=num_src, num_dst=num_dst)
