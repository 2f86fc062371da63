"""Control rows that scans have beside those of ``densecl.transfer.controls``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densecl.data.seeding import rng
from densecl.transfer.controls import reestimated_batchnorm
from densecl.transfer.study import RowSpec
from pointcl.models import SparseFeatures
from pointcl.registry import BACKBONES
from pointcl.sparse import SparseTensor
from pointcl.transfer.clouds import voxeliser_of
from pointcl.transfer.correspondence_task import CorrespondenceSpec
from pointcl.transfer.finetuning import FinetuneSpec
from pointcl.transfer.image_correspondence_task import ImageCorrespondenceSpec
from pointcl.transfer.initialisation import random_backbone
from pointcl.transfer.probe import FrozenSpec
from pointcl.transfer.retrieval import RetrievalSpec
from pointcl.views.generator import make_view
from pointcl.views.recipe import CloudRecipe
from pointcl.views.view import CloudBatch

BATCHNORM_SCANS, BATCHNORM_BATCH = 64, 4

POINTWISE, POINTWISE_BARE = "points alone (x, y, z, intensity)", "points alone (x, y, z)"
"""Names of the row of ``pointwise_row``, with and without intensity."""


@BACKBONES.register_module()
class Pointwise(nn.Module):
    """No neighbour is looked at: a perceptron on what a voxel itself carries.

    Args:
        in_channels: features of an input voxel.
        width: of both hidden layers; None = there are none, the features are the input itself.
    """

    def __init__(self, in_channels: int = 4, width: int | None = 96) -> None:
        super().__init__()
        self.in_channels, self.width = in_channels, width
        self.channels = {1: width or in_channels}
        self.layers = nn.Sequential()
        if width is not None:
            self.layers = nn.Sequential(
                nn.BatchNorm1d(in_channels, affine=False),
                nn.Linear(in_channels, width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.ReLU(),
            )

    def forward(self, x: SparseTensor) -> SparseFeatures:
        """A map at stride 1."""
        return SparseFeatures({1: x.with_features(self.layers(x.features))})

    def config(self) -> dict[str, Any]:
        """What ``build_backbone`` builds the same architecture from."""
        return {"type": "Pointwise", "in_channels": self.in_channels, "width": self.width}


OnVoxels = FinetuneSpec | FrozenSpec | RetrievalSpec
"""A run on scans that gives points a class: it has ``backbone`` and ``voxels``."""

OnScans = OnVoxels | CorrespondenceSpec | ImageCorrespondenceSpec
"""Any run on scans: it has ``backbone`` and ``voxels``."""


def pointwise_row(task: OnScans, intensity: bool) -> RowSpec:
    """What position and intensity alone tell, trained and scored as every other row.

    Args:
        task: the table's.
        intensity: whether the scans have one.
    """
    features = ["xyz", "intensity"] if intensity else ["xyz"]
    width = 96 if isinstance(task, FinetuneSpec) else None
    backbone = {"type": "Pointwise", "in_channels": 4 if intensity else 3, "width": width}
    voxels = {**task.voxels, "features": features}
    own: Any = replace(task, backbone=backbone, voxels=voxels)
    if isinstance(own, (RetrievalSpec, CorrespondenceSpec)):
        own = replace(own, standardise=True)  # metres and intensities are of unlike size
    name = POINTWISE if intensity else POINTWISE_BARE
    return RowSpec(name, task=own, notes="no neighbours are looked at")


def random_reestimated(
    task: OnScans, unlabelled: Callable[[], Any]
) -> Callable[[int], dict[str, Tensor]]:
    """Random weights of a seed, their batch-norm statistics re-estimated from unlabelled scans."""

    @cache
    def weights(seed: int) -> dict[str, Tensor]:
        backbone = random_backbone(task.backbone, seed)
        return reestimated_batchnorm(backbone, _unlabelled(task, unlabelled()))

    return weights


def _unlabelled(task: OnScans, dataset: Any) -> Iterator[SparseTensor]:
    """Batches of unlabelled scans, evenly spread over the data set; of a sample the first scan."""
    voxeliser = voxeliser_of(task.voxels)
    count = min(BATCHNORM_SCANS, len(dataset))
    chosen = torch.linspace(0, len(dataset) - 1, count).round().long().tolist()
    for start in range(0, count, BATCHNORM_BATCH):
        views = []
        for index in chosen[start : start + BATCHNORM_BATCH]:
            sample = dataset[index]
            scan = sample[0] if isinstance(sample, (tuple, list)) else sample
            views.append(make_view(scan, np.eye(4), CloudRecipe(), rng(0)))
        yield voxeliser(CloudBatch.collate(views)).voxels.tensor
