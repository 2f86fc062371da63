"""What point methods share: the contract of ``densecl.methods.base`` on voxels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from densecl.errors import UsageError
from densecl.methods.base import Method, MethodOutput
from densecl.pairs import Pairs, PointSet
from pointcl.models import build_backbone
from pointcl.models.contract import SparseFeatures
from pointcl.views.batch import PointBatch, VoxelBatch


class PointMethod(Method):
    """A sparse backbone that learns and is handed over, with heads that are not.

    What several processes have to agree on is said in ``densecl.methods.base.Method``.

    Attributes:
        num_views: view slots of a batch.
        takes_pictures: whether ``batch.pictures`` is read.
        online: the backbone under ``backbone``, the heads under names of their own.

    Args:
        backbone: config of a sparse backbone, or the module itself.
    """

    num_views = 2
    takes_pictures: ClassVar[bool] = False

    def __init__(self, backbone: Mapping[str, Any] | nn.Module) -> None:
        super().__init__()
        self.online = nn.ModuleDict({"backbone": build_backbone(backbone)})

    @abstractmethod
    def forward(self, batch: PointBatch) -> MethodOutput:
        """Losses of one (micro-)batch; changes no state but batch-norm statistics."""

    def positives(self, batch: PointBatch) -> tuple[PointSet, PointSet, Pairs]:
        """The rows of two views of a batch and the pairs that the method trains on, to look at.

        Raises:
            UsageError: a method without pairs of points, or views that cannot be paired.
        """
        raise UsageError(
            f"method {type(self).__name__} has no pairs of points to look at",
            needed="a method that overrides PointMethod.positives",
        )

    @property
    def channels(self) -> dict[int, int]:
        """Tensor stride -> channels of the backbone's maps."""
        return self.online["backbone"].channels  # type: ignore[return-value]

    def need_every_voxel(self) -> int:
        """Channels of the map at stride 1.

        Raises:
            UsageError: the backbone has none, as the encoders of detectors.
        """
        if 1 not in self.channels:
            raise UsageError(
                f"method.backbone has maps at strides {sorted(self.channels)}",
                needed="a map at stride 1, a feature for every voxel",
                fix="take a U-Net: MinkUNet, Res16UNet or SpUNet",
            )
        return self.channels[1]

    def encode(self, view: VoxelBatch) -> SparseFeatures:
        """Maps of the online backbone."""
        return self.online["backbone"](view.voxels.tensor)

    def backbone_for_export(self) -> nn.Module:
        """The online backbone."""
        return self.online["backbone"]

    @property
    def export_branch(self) -> str:
        """Methods without a teacher hand over what they train."""
        return "online"


def voxel_edge(view: VoxelBatch) -> float:
    """Metres: the longest edge of a voxel.

    Raises:
        UsageError: a grid of angles, whose voxels are of many sizes.
    """
    grid = view.voxels.grid
    if grid.system != "cartesian":
        raise UsageError(
            f"a distance in voxels with voxels.kind = {grid.system!r}",
            needed="voxels.kind = 'cartesian'",
            fix="give the distance in metres",
        )
    return max(grid.sizes)


def same_space(src: PointSet, dst: PointSet) -> None:
    """Refuse view slots whose coordinates do not meet.

    Raises:
        UsageError: two scans without a common frame.
    """
    if src.frame != dst.frame:
        raise UsageError(
            "the views of a sample show scans without a common frame",
            needed="two views of one scan, or scans with poses",
            fix="take a data set with poses (type='PosedPairs'), or views.frame='auto'",
        )


def same_scans(first: VoxelBatch, second: VoxelBatch) -> None:
    """Refuse view slots that show different scans.

    Raises:
        UsageError: the raw points of the two have nothing in common.
    """
    if not torch.equal(first.cloud.source, second.cloud.source):
        raise UsageError(
            "the two views of a sample show two scans, which share no raw point",
            needed="two views of one scan",
            fix="set method.match='place', or take single scans as data",
        )
