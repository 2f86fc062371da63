"""Frozen linear probe: how much of a segmentation can a linear map read off the features?

The maps of the backbone are read at the points, levels side by side, z-scored with the statistics
of the training points, and a multinomial logistic regression is fitted; every point is scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densecl.data.seeding import rng
from densecl.diagnostics.linear_probe import fit_logistic, standardisation
from densecl.errors import UsageError
from densecl.models.frozen import frozen
from densecl.transfer.fitted import Fitted, Probed
from densecl.transfer.initialisation import Init
from densecl.transfer.probe import Readout
from pointcl.models import SparseFeatures, point_features
from pointcl.transfer.clouds import LabelledScans, whole_scans
from pointcl.transfer.evaluation import evaluate
from pointcl.transfer.initialisation import starting_backbone
from pointcl.views.batch import VoxelBatch

_POINTS = 43  # stream of a seed


@dataclass(frozen=True)
class FrozenSpec(Fitted):
    """Everything that decides a probe but weights, labels and machine.

    Attributes:
        backbone: config of the pretrained backbone.
        voxels: what it reads, see ``pointcl.transfer.clouds.VOXELS``.
        num_classes: L.
        strides: which maps of the backbone; None = all, from fine to coarse.
        mode: how they are read at a point, "trilinear" or "nearest".
        points: labelled points of a training scan that the map is fitted to, drawn at random.
        max_points: of all training scans together; with many, each gives fewer.
        decay: L2 weight of the logistic regression, of its mean loss.
        iterations: most iterations of LBFGS.
        ignore: label id without a class.
    """

    backbone: Mapping[str, Any]
    voxels: Mapping[str, Any]
    num_classes: int
    strides: tuple[int, ...] | None = None
    mode: str = "trilinear"
    points: int = 2000
    max_points: int = 200_000
    decay: float = 1e-4
    iterations: int = 100
    ignore: int = 255

    def at(self, rate: float, steps: int | None = None) -> FrozenSpec:
        """The probe at one weight decay; it has no steps."""
        return replace(self, decay=rate)

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> LabelledScans:
        """The scans of a data set at the indices given."""
        return LabelledScans(dataset, indices)

    def open(self, init: Init, seed: int, device: str | torch.device) -> nn.Module:
        """The starting weights in evaluation mode."""
        return starting_backbone(init, self.backbone, self.voxels, seed).to(device).eval()

    def fit(
        self, backbone: nn.Module, train: LabelledScans, seed: int, device: str | torch.device
    ) -> Probed:
        """Fit the map; ``seed`` is of the points drawn.

        Raises:
            UsageError: no scan has a labelled point.
        """
        rows, labels = training_rows(backbone, train, self, seed, device)
        mean, std = standardisation(rows)
        weight, bias = fit_logistic(
            (rows - mean) / std, labels, self.num_classes, self.decay, self.iterations
        )
        return Probed(backbone, Readout(weight, bias, mean, std))

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Probed:
        """The fitted map on the backbone that it was fitted to."""
        return Probed(self.open(init, seed, device), Readout(**state))

    def predict(self, probed: Probed, batch: VoxelBatch) -> Tensor:
        """(N,) class of each point of a batch."""
        return point_scores(probed, batch, self).argmax(1)

    def score(
        self, probed: Probed, scans: LabelledScans, device: str | torch.device
    ) -> dict[str, Any]:
        """Scores per point; see ``pointcl.transfer.evaluation``."""
        return evaluate(
            lambda batch: self.predict(probed, batch),
            scans,
            num_classes=self.num_classes,
            ignore=self.ignore,
            voxels=self.voxels,
            fallback=int(probed.readout.bias.argmax()),
            device=device,
        )


def training_rows(
    backbone: nn.Module,
    scans: LabelledScans,
    spec: FrozenSpec,
    seed: int,
    device: str | torch.device = "cpu",
) -> tuple[Tensor, Tensor]:
    """Features (N, D) and labels (N,) of the points that the map is fitted to, on the CPU.

    Raises:
        UsageError: no scan has a labelled point.
    """
    most = max(1, min(spec.points, spec.max_points // len(scans)))
    rows, labels = [], []
    for positions, batch in whole_scans(scans, spec.voxels):
        label = batch.cloud.label
        assert label is not None
        at = (label != spec.ignore).nonzero().squeeze(1)
        order = rng(seed, _POINTS, positions[0]).permutation(len(at))[:most]
        at = at[torch.from_numpy(np.sort(order))]
        if not len(at):
            continue
        with frozen(backbone):
            maps = backbone(batch.voxels.tensor.to(device))
            where, sample = _places(batch, at.to(device), device)
            found = point_features(maps, where, sample, spec.strides, spec.mode)
        rows.append(found.float().cpu())
        labels.append(label[at])
    if not rows:
        raise UsageError("no labelled point in the training scans", fix="check the labels")
    return torch.cat(rows), torch.cat(labels)


def point_scores(probed: Probed, batch: VoxelBatch, spec: FrozenSpec) -> Tensor:
    """(N, L) class scores of the points of a batch.

    Reading a map at a point and mapping it linearly commute, so the maps are first brought from
    their channels to the classes: the features of all points never stand in memory.
    """
    readout = probed.readout
    device = batch.cloud.points.device
    weight = (readout.weight / readout.std).to(device)
    bias = (readout.bias - readout.weight @ (readout.mean / readout.std)).to(device)
    with frozen(probed.backbone):
        maps = probed.backbone(batch.voxels.tensor)
        strides = sorted(maps.maps) if spec.strides is None else list(spec.strides)
        widths = [maps.maps[stride].features.shape[1] for stride in strides]
        every = torch.arange(len(batch.cloud.points), device=device)
        where, sample = _places(batch, every, device)
        scores = bias.expand(len(every), -1)
        for stride, part in zip(strides, weight.split(widths, 1), strict=True):
            level = maps.maps[stride]
            small = level.with_features(level.features.float() @ part.T)
            alone = SparseFeatures({stride: small}, anchors=maps.anchors)
            scores = scores + point_features(alone, where, sample, None, spec.mode)
    return scores


def _places(batch: VoxelBatch, rows: Tensor, device: str | torch.device) -> tuple[Tensor, Tensor]:
    """Positions of points in voxels of stride 1, and the cloud of each."""
    points = batch.cloud.points.to(device)[rows]
    return batch.voxels.grid.positions(points), batch.cloud.sample.to(device)[rows]
