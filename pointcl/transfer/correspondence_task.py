"""Correspondence recall on posed scans, as a run of a table: nothing is trained.

The most similar point of the next scan: is it the same place? Poses are the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from densecl.diagnostics.linear_probe import standardisation
from densecl.errors import UsageError
from densecl.transfer.columns import Column
from densecl.transfer.correspondence import Recall
from densecl.transfer.initialisation import Init
from densecl.transfer.selection import Selection
from densecl.transfer.untrained import Restored, Untrained
from pointcl.data.scan import Scan
from pointcl.sensors.pose import compose, inverse, move
from pointcl.transfer.clouds import voxeliser_of
from pointcl.transfer.correspondence import PlaceTally, named, nearest_by_cosine, nearest_place
from pointcl.transfer.initialisation import starting_backbone
from pointcl.transfer.point_rows import draw_rows, features_at, inside_rows, voxels_of
from pointcl.views.rigid import rotation
from pointcl.views.voxels import Voxeliser

_QUERIES, _CANDIDATES = 44, 45  # streams of one seed

UP = np.array([0.0, 0.0, 1.0])


class ScanPairs(Selection[tuple[Scan, Scan]]):
    """Pairs of posed scans of one place, without cameras and labels.

    Args:
        dataset: yields (Scan, Scan), as ``PosedPairs`` does.
        indices, cache_bytes: see ``Selection``.

    Raises:
        UsageError: the selection is empty.
    """

    what = "pair of scans"

    def read(self, index: int) -> tuple[Scan, Scan]:
        """One pair.

        Raises:
            UsageError: it is no pair, a pose is unknown, or a scan moved while it was taken.
        """
        pair = self.dataset[index]
        if isinstance(pair, Scan) or len(pair) != 2:
            raise UsageError(
                f"{self.dataset.name(index)} is no pair of scans",
                needed="two scans of one place with their poses",
                fix="data.val=dict(type='PosedPairs', dataset=dict(type=..., ...))",
            )
        for scan in pair:
            if scan.to_world is None:
                raise UsageError(
                    f"{scan.name} has no pose in the world",
                    needed="scans with known poses",
                    fix="use a data set with poses",
                )
            if not scan.compensated:
                raise UsageError(
                    f"{scan.name}: its points are where the moving sensor saw them, so the same "
                    "place does not meet in two scans",
                    needed="scans whose points are moved to their timestamp (Scan.compensated)",
                    fix="compensate them in the data set",
                )
        first, second = (
            replace(scan, cameras=(), boxes=None, label=None, instance=None, regions={})
            for scan in pair
        )
        return first, second

    def size_of(self, item: tuple[Scan, Scan]) -> int:
        """Bytes of all arrays of both."""
        arrays = [array for scan in item for array in (scan.points, *scan.rows().values())]
        return sum(array.nbytes for array in arrays)


@dataclass(frozen=True)
class CorrespondenceSpec(Untrained):
    """Everything that decides the run but weights, scans and machine.

    Attributes:
        backbone: config of the pretrained backbone.
        voxels: what it reads, see ``pointcl.transfer.clouds.VOXELS``.
        strides: which maps of the backbone; None = all, from fine to coarse.
        mode: how they are read at a point, "trilinear" or "nearest".
        points: points of the first scan that ask, at most, drawn at random.
        candidates: points of the second scan that can be the answer, at most: one of each voxel,
            drawn at random.
        radius: metres that count as found; None = the longest edge of a voxel.
        turn: degrees that the second scan is turned by about the sensor's z axis before it is cut
            into voxels.
        min_motion: metres; only points count whose coordinates change by at least so much.
        standardise: whether each channel is z-scored with the statistics of the candidates before
            rows are compared: for inputs of unlike units, such as coordinates.
        draw: seed of the points; the same for every row.
    """

    backbone: Mapping[str, Any]
    voxels: Mapping[str, Any]
    strides: tuple[int, ...] | None = None
    mode: str = "trilinear"
    points: int = 2000
    candidates: int = 5000
    radius: float | None = None
    turn: float = 0.0
    min_motion: float = 0.0
    standardise: bool = False
    draw: int = 0
    columns: ClassVar[tuple[Column, ...]] = (
        Column("recall_1", "recall at 1 voxel"),
        Column("recall_2", "recall at 2 voxels"),
        Column("chance_1", "chance at 1", better="none"),
        Column("chance_2", "chance at 2", better="none"),
        Column("still_1", "same place at 1", better="none"),
        Column("still_2", "same place at 2", better="none"),
    )

    def __post_init__(self) -> None:
        for name in ("points", "candidates"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"correspondence.{name} = {getattr(self, name)}", needed="1 or more"
                )
        if self.min_motion < 0:
            raise UsageError(
                f"correspondence.min_motion = {self.min_motion}", needed="0 or more metres"
            )
        if self.radius is not None and self.radius <= 0:
            raise UsageError(f"correspondence.radius = {self.radius}", needed="metres > 0, or None")
        grid = self.voxeliser.grid
        if self.radius is None and grid.system != "cartesian":
            raise UsageError(
                f"correspondence.radius = None on a {grid.system} grid",
                needed="a distance: the voxels of such a grid are not of one size",
                fix="set correspondence.radius, in metres",
            )

    @cached_property
    def voxeliser(self) -> Voxeliser:
        """What cuts the scans."""
        return voxeliser_of(self.voxels)

    @property
    def metres(self) -> float:
        """``radius``, or what it is where it is None."""
        return max(self.voxeliser.grid.sizes) if self.radius is None else self.radius

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> ScanPairs:
        """The pairs of a data set at the indices given."""
        return ScanPairs(dataset, indices)

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Restored:
        """The backbone: there is nothing else to keep."""
        backbone = starting_backbone(init, self.backbone, self.voxels, seed)
        return Restored(backbone.to(device).eval())

    def score(
        self, trained: Restored, items: ScanPairs, device: str | torch.device
    ) -> dict[str, Any]:
        """Shares over all points of all pairs; each pair's own under ``items``.

        Raises:
            UsageError: no point can be found again.
        """
        radii = (self.metres, 2 * self.metres)
        tally = PlaceTally(radii)
        found: dict[str, dict[str, float]] = {}
        for position in range(len(items)):
            own = self.match(
                trained.backbone, items[position], items.indices[position], tally, device
            )
            if own.queries:
                found[items.name(position)] = {**named(own, radii), "points": own.queries}
        if not tally.queries:
            raise UsageError(
                f"none of {len(items)} pairs of scans has a point to find again within "
                f"{self.metres:g} m",
                needed="scans that overlap, and points that move if correspondence.min_motion asks",
                fix="lower min_motion, raise candidates or radius, or choose scans that overlap",
            )
        return {**named(tally.recall(), radii), "points": tally.queries, "items": found}

    def match(
        self,
        backbone: nn.Module,
        pair: tuple[Scan, Scan],
        number: int,
        tally: PlaceTally,
        device: str | torch.device,
    ) -> Recall:
        """Find the points of a pair's first scan in its second, and count.

        Args:
            backbone: on ``device``.
            pair: of scans.
            number: of the pair in its data set, for the draw.
            tally: gets the counts.
            device: where the backbone is run.
        """
        turn = rotation(UP, np.radians(self.turn))
        here, there = voxels_of(pair[0], self.voxeliser), voxels_of(pair[1], self.voxeliser, turn)
        asking = draw_rows(inside_rows(here), self.points, self.draw, _QUERIES, number)
        offered = there.voxels.representative
        offered = draw_rows(offered, self.candidates, self.draw, _CANDIDATES, number)
        if not len(asking) or not len(offered):
            return Recall()
        own = here.cloud.points[asking].double()
        target = torch.from_numpy(move(compose(between(*pair), turn), own.numpy()))
        places = there.cloud.points[offered].double()
        counted = nearest_place(target, places)[0] <= self.metres
        counted &= (target - own).norm(dim=1) >= self.min_motion
        if not counted.any():
            return Recall()
        asking, own, target = asking[counted], own[counted], target[counted]
        reading: dict[str, Any] = {"strides": self.strides, "mode": self.mode, "device": device}
        rows = features_at(backbone, here, asking, **reading)
        others = features_at(backbone, there, offered, **reading)
        if self.standardise:
            mean, std = standardisation(others)
            rows, others = (rows - mean) / std, (others - mean) / std
        return tally.add(
            places, target, nearest_by_cosine(rows, others), nearest_place(own, places)[1]
        )


def between(first: Scan, second: Scan) -> np.ndarray:
    """(4, 4) float64, the frame of the first scan's points -> that of the second's."""
    assert first.to_world is not None
    assert second.to_world is not None
    return compose(first.to_world, inverse(second.to_world))
