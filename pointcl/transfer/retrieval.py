"""Retrieval on scans: a point takes the vote of the nearest labelled points of the training scans.

Nothing is trained. Every map of the backbone is read at a point, trilinearly over the voxels that
exist, and the levels stand side by side; points are near by the cosine of these rows.

Source: Hermosilla et al. 2025 (Masked Scene Modeling), evaluation protocol, for the features of all
levels; Balažević et al. 2023, section 3, for the vote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densecl.diagnostics.linear_probe import standardisation
from densecl.models.frozen import frozen
from densecl.transfer.columns import MIOU, Column
from densecl.transfer.fitted import Fitted
from densecl.transfer.initialisation import Init
from densecl.transfer.retrieval.bank import Bank, MemoryRows, unit_rows
from densecl.transfer.retrieval.task import vote
from pointcl.models import point_features
from pointcl.transfer.clouds import LabelledScans
from pointcl.transfer.evaluation import evaluate
from pointcl.transfer.initialisation import starting_backbone
from pointcl.transfer.probe import FrozenSpec, training_rows
from pointcl.views.batch import VoxelBatch

QUERIES = 8192
"""Points that are read and looked up together."""


@dataclass(frozen=True)
class Retrieved:
    """A frozen backbone and the memory made with it.

    Attributes:
        backbone: in evaluation mode.
        bank: labelled rows.
        mean, std: (D,) taken off and divided by before rows are compared.
    """

    backbone: nn.Module
    bank: Bank
    mean: Tensor
    std: Tensor

    def state_dict(self) -> dict[str, Tensor]:
        """The memory alone: the backbone is where it came from."""
        return {**self.bank.state_dict(), "mean": self.mean, "std": self.std}

    @property
    def commonest(self) -> int:
        """The class that most rows have."""
        return int(self.bank.labels.tensor.float().sum(0).argmax())

    def rows(self, features: Tensor) -> Tensor:
        """(N, D) unit rows of features."""
        return unit_rows((features.float() - self.mean.to(features)) / self.std.to(features))


@dataclass(frozen=True)
class RetrievalSpec(Fitted):
    """Everything that decides a retrieval but weights, labels and machine.

    Attributes:
        backbone: config of the pretrained backbone.
        voxels: what it reads, see ``pointcl.transfer.clouds.VOXELS``.
        num_classes: L.
        strides: which maps of the backbone; None = all, from fine to coarse.
        mode: how they are read at a point, "trilinear" or "nearest".
        k: neighbours that vote.
        temperature: > 0, of the softmax over their cosines.
        memory: most rows of the bank, drawn at random from the labelled points, as many of each
            training scan (and at least one).
        dtype: of the bank's rows.
        standardise: whether each channel is z-scored with the statistics of the memory's points
            before rows are compared: for inputs of unlike units, such as coordinates.
        ignore: label id without a class.
    """

    backbone: Mapping[str, Any]
    voxels: Mapping[str, Any]
    num_classes: int
    strides: tuple[int, ...] | None = None
    mode: str = "trilinear"
    k: int = 30
    temperature: float = 0.02
    memory: int = 50_000
    dtype: Literal["float16", "float32"] = "float16"
    standardise: bool = False
    ignore: int = 255
    columns: ClassVar[tuple[Column, ...]] = (MIOU,)

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> LabelledScans:
        """The scans of a data set at the indices given."""
        return LabelledScans(dataset, indices)

    def open(self, init: Init, seed: int, device: str | torch.device) -> nn.Module:
        """The starting weights in evaluation mode."""
        return starting_backbone(init, self.backbone, self.voxels, seed).to(device).eval()

    def fit(
        self, backbone: nn.Module, train: LabelledScans, seed: int, device: str | torch.device
    ) -> Retrieved:
        """The memory of the labelled points of scans; ``seed`` is of those that enter it.

        Raises:
            UsageError: there is none.
        """
        reading = FrozenSpec(
            self.backbone,
            self.voxels,
            self.num_classes,
            self.strides,
            self.mode,
            points=self.memory,
            max_points=self.memory,
            ignore=self.ignore,
        )
        rows, labels = training_rows(backbone, train, reading, seed, device)
        mean, std = rows.new_zeros(rows.shape[1]), rows.new_ones(rows.shape[1])
        if self.standardise:
            mean, std = standardisation(rows)
        dtype = getattr(torch, self.dtype)
        shares = F.one_hot(labels, self.num_classes).to(dtype)
        empty = Retrieved(backbone, Bank(MemoryRows(rows), MemoryRows(shares)), mean, std)
        kept = torch.cat([empty.rows(part).to(dtype) for part in rows.split(QUERIES)])
        return Retrieved(backbone, Bank(MemoryRows(kept), MemoryRows(shares)), mean, std)

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Retrieved:
        """The memory beside the backbone that it was made with."""
        backbone = self.open(init, seed, device)
        return Retrieved(backbone, Bank.from_state(state), state["mean"], state["std"])

    def predict(self, retrieved: Retrieved, batch: VoxelBatch) -> Tensor:
        """(N,) class of each point of a batch."""
        cloud, grid = batch.cloud, batch.voxels.grid
        with frozen(retrieved.backbone):
            maps = retrieved.backbone(batch.voxels.tensor)
        where = grid.positions(cloud.points)
        found = []
        for rows in torch.arange(len(where), device=where.device).split(QUERIES):
            at, sample = where[rows], cloud.sample[rows]
            features = point_features(maps, at, sample, self.strides, self.mode)
            shares = vote(
                retrieved.bank, retrieved.rows(features.detach()), self.k, self.temperature
            )
            found.append(shares.argmax(1))
        return torch.cat(found) if found else cloud.sample[:0]

    def score(
        self, retrieved: Retrieved, scans: LabelledScans, device: str | torch.device
    ) -> dict[str, Any]:
        """Scores per point; see ``pointcl.transfer.evaluation``."""
        return evaluate(
            lambda batch: self.predict(retrieved, batch),
            scans,
            num_classes=self.num_classes,
            ignore=self.ignore,
            voxels=self.voxels,
            fallback=retrieved.commonest,
            device=device,
        )
