"""What a point method is given: the view slots of B samples as voxels, and pictures with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from densecl.pairs.point_set import PointSet
from pointcl.sparse import SparseTensor, Voxels
from pointcl.views.pictures import PictureBatch
from pointcl.views.view import CloudBatch


@dataclass
class VoxelBatch:
    """The same view slot of B samples: the points, and the voxels that a backbone reads.

    Attributes:
        cloud: the points, with geometry, ids, labels and regions.
        voxels: made from ``cloud.clouds``; ``voxels.tensor`` is the input of a backbone.
    """

    cloud: CloudBatch
    voxels: Voxels

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.cloud)

    def to_point_set(self, fields: Mapping[str, Tensor | SparseTensor]) -> PointSet:
        """One row per voxel, read at the point that stands for it.

        Args:
            fields: name -> (M, D) rows of the voxels, or sparse tensors at them.
        """
        return self.cloud.to_point_set(fields, self.voxels)

    def to(self, device: torch.device | str, non_blocking: bool = True) -> VoxelBatch:
        """The same batch with every tensor on ``device``."""
        own = ("point_to_voxel", "point_sample", "representative", "points_per_voxel")
        moved = {
            name: getattr(self.voxels, name).to(device, non_blocking=non_blocking)
            for name in (*own, "outside", "invalid")
        }
        voxels = replace(self.voxels, tensor=self.voxels.tensor.to(device), **moved)
        return VoxelBatch(self.cloud.to(device, non_blocking), voxels)


@dataclass
class PointBatch:
    """A batch as it leaves the loader.

    Attributes:
        views: V view slots, each of the same B samples.
        pictures: of the samples' cameras, where the method asks for them.
    """

    views: list[VoxelBatch]
    pictures: PictureBatch | None = None

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.views[0])

    def to(self, device: torch.device | str, non_blocking: bool = True) -> PointBatch:
        """The same batch with every tensor on ``device``."""
        pictures = self.pictures
        return PointBatch(
            [view.to(device, non_blocking) for view in self.views],
            None if pictures is None else pictures.to(device, non_blocking),
        )
