"""Frozen features of single points of a scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from densecl.data.seeding import rng
from densecl.models.frozen import frozen
from pointcl.data.scan import Scan
from pointcl.models import point_features
from pointcl.views.batch import VoxelBatch
from pointcl.views.generator import make_view
from pointcl.views.recipe import CloudRecipe
from pointcl.views.view import CloudBatch
from pointcl.views.voxels import Voxeliser


def voxels_of(scan: Scan, voxeliser: Voxeliser, motion: np.ndarray | None = None) -> VoxelBatch:
    """A whole scan as it is, or moved, as voxels; a batch of one cloud.

    Points that are not finite or lie at (0, 0, 0) are left out; ``cloud.index`` leads to the rows
    of the scan.

    Args:
        scan: to read.
        voxeliser: from ``voxeliser_of``.
        motion: (4, 4) pose that its points are moved by first; None = they stay.
    """
    view = make_view(scan, np.eye(4) if motion is None else motion, CloudRecipe(), rng(0))
    return voxeliser(CloudBatch.collate([view]))


def inside_rows(batch: VoxelBatch) -> Tensor:
    """(n,) int64 rows of the cloud that lie in a voxel."""
    return (batch.voxels.point_to_voxel >= 0).nonzero().squeeze(1)


def draw_rows(rows: Tensor, most: int, *ids: int) -> Tensor:
    """At most so many of some rows, in their order, drawn by the numbers ``ids``."""
    if len(rows) <= most:
        return rows
    chosen = np.sort(rng(*ids).permutation(len(rows))[:most])
    return rows[torch.from_numpy(chosen)]


def features_at(
    backbone: nn.Module,
    batch: VoxelBatch,
    rows: Tensor,
    *,
    strides: Sequence[int] | None,
    mode: str,
    device: str | torch.device,
) -> Tensor:
    """(n, D) float32 features at points of a cloud, levels side by side, on the CPU.

    Args:
        backbone: on ``device``.
        batch: of one or more clouds.
        rows: (n,) int64 rows of the cloud.
        strides, mode: see ``point_features``.
        device: where the backbone is run.
    """
    with frozen(backbone):
        maps = backbone(batch.voxels.tensor.to(device))
        where = batch.voxels.grid.positions(batch.cloud.points[rows]).to(device)
        sample = batch.cloud.sample[rows].to(device)
        return point_features(maps, where, sample, strides, mode).float().cpu()
