"""From points to the cells of a picture that show them, as a run of a table.

A ridge regression leads from frozen features of points to those of a frozen picture network; a
point then takes the most similar cell of the picture. No label is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from densecl.diagnostics.linear_probe import standardisation
from densecl.diagnostics.ridge import fit_ridge
from densecl.errors import UsageError
from densecl.transfer.columns import Column
from densecl.transfer.correspondence import cell_places
from densecl.transfer.fitted import Fitted, Probed
from densecl.transfer.initialisation import Init
from densecl.transfer.probe import Readout
from pointcl.models.teacher import Teacher
from pointcl.transfer.clouds import voxeliser_of
from pointcl.transfer.correspondence import PlaceTally, named, nearest_by_cosine
from pointcl.transfer.image_correspondence import (
    PicturedScans,
    PictureReader,
    ShownPoints,
    input_of,
    open_teacher,
)
from pointcl.transfer.initialisation import starting_backbone
from pointcl.transfer.point_rows import features_at, voxels_of

RADII = (1.0, 2.0)
"""In cells, from the centre of the match to the exact place."""


class Mapped(Probed):
    """A frozen backbone and the linear map from its features to those of pictures."""

    def __call__(self, rows: Tensor) -> Tensor:
        """(P, D) features of points -> (P, C) float32, in the space of the pictures."""
        own = self.readout
        return (((rows.double() - own.mean) / own.std) @ own.weight.T + own.bias).float()


@dataclass(frozen=True)
class ImageCorrespondenceSpec(Fitted):
    """Everything that decides the run but weights, scans and machine.

    Attributes:
        backbone: config of the pretrained backbone.
        voxels: what it reads, see ``pointcl.transfer.clouds.VOXELS``.
        teacher: the picture network: a checkpoint that ``densecl.load_backbone`` reads, or
            "random", a control whose weights are of the seed ``draw``.
        teacher_backbone: its config; None = the file's own, see ``Teacher``.
        teacher_stride: of its map; None = the coarsest.
        size: (H, W) that pictures are resized to; None = their own.
        cameras: names of those to use; None = all.
        occlusion: whether points that something nearer covers are left out.
        strides: which maps of the backbone; None = all, from fine to coarse.
        mode: how they are read at a point, "trilinear" or "nearest".
        points: of a scan, at most, drawn at random, evenly over its pictures.
        max_points: of all training scans together; with many, each gives fewer.
        decay: > 0, L2 weight of the ridge regression, of its mean loss.
        draw: seed of the points and of a random teacher; the same for every row.
    """

    backbone: Mapping[str, Any]
    voxels: Mapping[str, Any]
    teacher: str = ""
    teacher_backbone: Mapping[str, Any] | None = None
    teacher_stride: int | None = None
    size: tuple[int, int] | None = None
    cameras: tuple[str, ...] | None = None
    occlusion: bool = True
    strides: tuple[int, ...] | None = None
    mode: str = "trilinear"
    points: int = 500
    max_points: int = 50_000
    decay: float = 1e-3
    draw: int = 0
    fits: ClassVar[bool] = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("recall_1", "recall at 1 cell"),
        Column("recall_2", "recall at 2 cells"),
        Column("chance_1", "chance at 1", better="none"),
        Column("chance_2", "chance at 2", better="none"),
    )

    def __post_init__(self) -> None:
        for name in ("points", "max_points", "decay"):
            if not getattr(self, name) > 0:
                raise UsageError(
                    f"image_correspondence.{name} = {getattr(self, name)}", needed="more than 0"
                )
        input_of(self.opened)  # refuses a missing file before anything runs

    @cached_property
    def opened(self) -> Teacher:
        """The picture network."""
        return open_teacher(self.teacher, self.teacher_backbone, self.teacher_stride, self.draw)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for hashing and for the table's protocol.

        The picture network counts by its weights, its input and its map, not by its file.
        """
        order, mean, std = input_of(self.opened)
        own = {
            "sha256": self.opened.hash,
            "stride": self.opened.stride,
            "input": [order, list(mean), list(std)],
        }
        values = {**asdict(self), "teacher": own}
        del values["teacher_stride"]
        return values

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> PicturedScans:
        """The scans of a data set at the indices given, with their pictures."""
        return PicturedScans(dataset, indices)

    def open(self, init: Init, seed: int, device: str | torch.device) -> nn.Module:
        """The starting weights in evaluation mode."""
        return starting_backbone(init, self.backbone, self.voxels, seed).to(device).eval()

    def fit(
        self, backbone: nn.Module, train: PicturedScans, seed: int, device: str | torch.device
    ) -> Mapped:
        """The linear map from points to pictures; they are drawn by ``draw``, not by ``seed``.

        Raises:
            UsageError: no point shows in a picture.
        """
        most = max(1, min(self.points, self.max_points // len(train)))
        pairs = [
            (rows, shown.read) for _, rows, shown in self._shown(backbone, train, most, device)
        ]
        if not pairs:
            raise UsageError(
                f"no point of {len(train)} training scans shows in a picture",
                fix="check calibrations, cameras and voxels",
            )
        rows, targets = (torch.cat(parts).double() for parts in zip(*pairs, strict=True))
        mean, std = standardisation(rows)
        weight, bias = fit_ridge((rows - mean) / std, targets, self.decay)
        return Mapped(backbone, Readout(weight, bias, mean, std))

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Mapped:
        """The fitted map on the backbone that it was fitted to."""
        return Mapped(self.open(init, seed, device), Readout(**state))

    def score(
        self, trained: Mapped, items: PicturedScans, device: str | torch.device
    ) -> dict[str, Any]:
        """Shares over all points of all pictures; each scan's own under ``items``.

        Raises:
            UsageError: no point shows in a picture.
        """
        tally = PlaceTally(RADII)
        own: dict[int, PlaceTally] = {}
        for position, rows, shown in self._shown(trained.backbone, items, self.points, device):
            cells = shown.features.flatten(1).T
            match = nearest_by_cosine(trained(rows), cells)
            for each in (tally, own.setdefault(position, PlaceTally(RADII))):
                each.add(cell_places(shown.features), shown.place, match)
        if not tally.queries:
            raise UsageError(
                f"no point of {len(items)} scans shows in a picture",
                fix="check calibrations, cameras and voxels",
            )
        found = {
            items.name(position): {**named(each.recall(), RADII), "points": each.queries}
            for position, each in own.items()
        }
        return {**named(tally.recall(), RADII), "points": tally.queries, "items": found}

    def _shown(
        self, backbone: nn.Module, scans: PicturedScans, most: int, device: str | torch.device
    ) -> Iterator[tuple[int, Tensor, ShownPoints]]:
        """Position of a scan, features of points (P, D), and where one of its pictures shows them.

        The voxels of a scan go through the backbone once, however many pictures it has.
        """
        voxeliser = voxeliser_of(self.voxels)
        reader = PictureReader(
            self.opened,
            size=self.size,
            cameras=self.cameras,
            occlusion=self.occlusion,
            device=device,
        )
        for position in range(len(scans)):
            scan = scans[position]
            batch = voxels_of(scan, voxeliser)
            pictures = list(reader(scan, batch, most, self.draw))
            if not pictures:
                continue
            asked = torch.cat([shown.row for shown in pictures])
            rows = features_at(
                backbone, batch, asked, strides=self.strides, mode=self.mode, device=device
            )
            counts = [len(shown.row) for shown in pictures]
            for part, shown in zip(rows.split(counts), pictures, strict=True):
                yield position, part, shown
