"""Pairs of points, or of the voxels they stand for, that lie at the same place of the world."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from densecl.pairs import Pairs, PointSet, match_by_distance
from densecl.pairs.point_set import same_frame, same_samples
from densecl.pairs.ragged import join, joint_ids
from pointcl.pairs.selection import at_most_per_row


@torch.no_grad()
def match_rigid(
    src: PointSet,
    dst: PointSet,
    *,
    radius: float,
    nearest: bool = False,
    mutual: bool = False,
    max_per_row: int | None = None,
    generator: torch.Generator | None = None,
    search: str = "auto",
) -> Pairs:
    """Pair the rows of a sample that are closer than ``radius`` in the canonical frame.

    The sets come from ``CloudBatch.to_point_set``, whose coordinates are canonical whatever the
    augmentation. Clouds of several scans are compared in the world, and refused where the scans
    have no common frame.

    Args:
        src: with (N, 3) ``coord``.
        dst: the same, in the same frame.
        radius: metres, strict; PointContrast takes 1.5 voxels.
        nearest: only the nearest dst row of each src row, the lowest of equally near ones.
        mutual: only pairs that are the nearest of each other.
        max_per_row: at most so many dst rows per src row, drawn without replacement.
        generator: for that draw, on the device of the rows.
        search: as ``match_by_distance``: "tree" on CPU, "hash" on any device, "all", "auto".

    Returns:
        Pairs ordered by (src, dst).

    Raises:
        ValueError: the frames differ, or coordinates are missing or not 3D.

    Source: Xie et al. 2020 (PointContrast), section 4.
    """
    for name, points in (("src", src), ("dst", dst)):
        _coordinates(name, points)
    k = 1 if nearest or mutual else None
    match = partial(match_by_distance, radius=radius, normaliser=None, k=k, search=search)
    pairs = match(src, dst)
    if mutual:
        pairs = pairs.mutual(match(dst, src))
    return at_most_per_row(pairs, max_per_row, generator) if max_per_row is not None else pairs


@torch.no_grad()
def match_same_voxel(
    src: PointSet,
    dst: PointSet,
    *,
    size: float,
    max_per_row: int | None = None,
    generator: torch.Generator | None = None,
) -> Pairs:
    """Pair the rows of a sample that fall into the same voxel of the canonical frame.

    Cheaper than a radius, and uneven: two close points on both sides of a face are no pair.

    Args:
        src: with (N, 3) ``coord``.
        dst: the same, in the same frame.
        size: edge of a voxel, metres.
        max_per_row: at most so many dst rows per src row, drawn without replacement.
        generator: for that draw.

    Returns:
        Pairs ordered by (src, dst).

    Raises:
        ValueError: the frames differ, coordinates are missing or not 3D, or the size is not
            positive.
    """
    same_frame(src, dst)
    same_samples(src, dst)
    if size <= 0:
        raise ValueError(f"size must be positive, got {size}")
    rows, columns = [], []
    for name, points in (("src", src), ("dst", dst)):
        coord = _coordinates(name, points)
        usable = (points.valid_mask() & coord.isfinite().all(1)).nonzero().squeeze(1)
        lattice = torch.floor(coord[usable].double() / size).long()
        rows.append(usable)
        columns.append([points.sample[usable], *lattice.unbind(1)])
    i, j = join(*joint_ids(*columns), max_per_row=max_per_row, generator=generator)
    return Pairs(rows[0][i], rows[1][j], num_src=len(src), num_dst=len(dst))


def _coordinates(name: str, points: PointSet) -> Tensor:
    if points.coord is None or points.coord.shape[1] != 3:
        shape = None if points.coord is None else tuple(points.coord.shape)
        raise ValueError(f"{name} needs coord of shape (N, 3), got {shape}")
    return points.coord
