"""From views of clouds to batches of voxels, in the loader's workers.

Voxels are made there and not by the method: a random representative and the cut to a number of
voxels are draws of (seed, epoch, sample), a scan that does not fit is named, and the cut comes
before anything is sent. It takes about 2 ms a scan of 5000 voxels, a half percent of what a small
network then takes. Kernel maps stay with the network: they depend on its strides, are many times
larger than the voxels, and are built where it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from densecl.data.seeding import rng
from densecl.errors import UsageError
from pointcl.data.scan import Scan
from pointcl.sparse import VoxelGrid, voxelise
from pointcl.sparse.voxelise import REPRESENTATIVES
from pointcl.views.batch import PointBatch, VoxelBatch
from pointcl.views.view import CloudBatch, CloudView, collate_clouds

WIDTHS = {"ones": 1, "xyz": 3, "intensity": 1, "colour": 3, "normal": 3}
"""Feature of a point -> its numbers. ``ones`` is a constant, ``xyz`` metres in the view."""

Views = Callable[[Scan | Sequence[Scan], int], list[CloudView]]


@dataclass(frozen=True)
class Voxeliser:
    """How clouds become the voxels that a backbone reads.

    Attributes:
        grid: how space is cut.
        features: what a point carries, in this order; a name may stand there more than once.
        representative: whose features, place and ids a voxel has: those of its "first" point, of
            one drawn at "random" anew in each view, or the "mean" of the features.
        max_voxels: of a cloud; None = all. The voxels nearest to a random place of the sample are
            kept, the same place for all its views, so that they still overlap.
        seed: of those draws.
        intensity_scale: what an intensity of 1 becomes; 255 for weights that learned from bytes.

    Raises:
        UsageError: an unknown feature or representative.
    """

    grid: VoxelGrid
    features: tuple[str, ...] = ("ones",)
    representative: str = "first"
    max_voxels: int | None = None
    seed: int = 0
    intensity_scale: float = 1.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.features if name not in WIDTHS]
        if unknown or not self.features:
            raise UsageError(
                f"voxels.features = {list(self.features)}", needed=f"some of {', '.join(WIDTHS)}"
            )
        if self.representative not in REPRESENTATIVES:
            raise UsageError(
                f"voxels.representative = {self.representative!r}",
                needed=f"one of {', '.join(REPRESENTATIVES)}",
            )

    @property
    def channels(self) -> int:
        """Numbers that a voxel carries."""
        return sum(WIDTHS[name] for name in self.features)

    def thin(self, views: Sequence[CloudView], sources: Sequence[int], epoch: int) -> list:
        """The views of a sample with the points that the draws of this class leave, in order.

        Args:
            views: of one sample.
            sources: ids of its scans, for the draws.
            epoch: of the draws.
        """
        random = [rng(self.seed, epoch, *sources, number, 0) for number in range(len(views))]
        if self.representative == "random":
            # The first of shuffled points is one of them at random.
            orders = [draw.permutation(len(view)) for draw, view in zip(random, views, strict=True)]
            views = [
                view_rows(view, torch.from_numpy(order))
                for view, order in zip(views, orders, strict=True)
            ]
        if self.max_voxels is None:
            return list(views)
        kept: list[CloudView] = []
        place: Tensor | None = None
        for view, draw in zip(views, random, strict=True):
            if place is None or view.frame != views[0].frame:
                place = _random_place(view, draw)
            kept.append(self._nearest_voxels(view, place))
        return kept

    def _nearest_voxels(self, view: CloudView, place: Tensor) -> CloudView:
        assert self.max_voxels is not None
        if len(view) <= self.max_voxels:
            return view
        rows = self.grid.inside(view.points).nonzero().squeeze(1)
        lattice = self.grid.positions(view.points[rows]).floor().long()
        _, voxel = torch.unique(lattice, dim=0, return_inverse=True)
        away = (view.canonical()[rows].double() - place).square().sum(1)
        count = int(voxel.max()) + 1 if len(voxel) else 0
        if count <= self.max_voxels:
            return view
        nearest = torch.full((count,), float("inf"), dtype=away.dtype)
        nearest = nearest.scatter_reduce(0, voxel, away, "amin")
        chosen = torch.zeros(count, dtype=torch.bool)
        chosen[nearest.argsort(stable=True)[: self.max_voxels]] = True
        return view_rows(view, rows[chosen[voxel]])

    def __call__(self, cloud: CloudBatch) -> VoxelBatch:
        """Voxels of one view slot of B samples.

        Raises:
            UsageError: a cloud lacks a feature, or reaches too far for the grid.
        """
        rows = torch.cat([self._feature(cloud, name) for name in self.features], 1)
        voxels = voxelise(
            cloud.clouds,
            self.grid,
            list(rows.split(cloud.counts)),
            representative="mean" if self.representative == "mean" else "first",
            names=cloud.names,
        )
        return VoxelBatch(cloud, voxels)

    def _feature(self, cloud: CloudBatch, name: str) -> Tensor:
        if name == "ones":
            return cloud.points.new_ones(len(cloud.points), 1)
        if name == "xyz":
            return cloud.points
        if name not in cloud.fields:
            raise UsageError(
                f"{cloud.names[0]} has no {name}, which voxels.features names",
                needed=f"features among ones, xyz{''.join(', ' + n for n in cloud.fields)}",
                fix="set voxels.features=[ones] and method.backbone.in_channels=1",
            )
        values = cloud.fields[name]
        return values * self.intensity_scale if name == "intensity" else values


class VoxelViews:
    """Views of a sample and, of several samples, their batch; what a loader of clouds is given.

    Args:
        views: cuts the views of a sample, e.g. a ``CloudViewGenerator``.
        voxeliser: how they become voxels.
    """

    def __init__(self, views: Views, voxeliser: Voxeliser) -> None:
        self.views, self.voxeliser = views, voxeliser

    def __call__(self, scans: Scan | Sequence[Scan], epoch: int) -> list[CloudView]:
        """The views of one sample.

        Raises:
            UsageError: several scans of which one moved while it was taken.
        """
        sample = [scans] if isinstance(scans, Scan) else list(scans)
        if len(sample) > 1:
            _refuse_moving(sample)
        views = self.views(scans, epoch)
        return self.voxeliser.thin(views, [scan.source for scan in sample], epoch)

    def collate(self, items: Sequence[Sequence[CloudView]]) -> PointBatch:
        """The batch of B samples."""
        return PointBatch([self.voxeliser(cloud) for cloud in collate_clouds(items)])


def view_rows(view: CloudView, rows: Tensor) -> CloudView:
    """Some rows of a view, (n,) int64, in that order."""

    def pick(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.index_select(0, rows)

    return replace(
        view,
        points=view.points.index_select(0, rows),
        index=view.index.index_select(0, rows),
        rigid=pick(view.rigid),
        fields={name: value.index_select(0, rows) for name, value in view.fields.items()},
        label=pick(view.label),
        instance=pick(view.instance),
        regions={name: ids.index_select(0, rows) for name, ids in view.regions.items()},
    )


def _random_place(view: CloudView, random: np.random.Generator) -> Tensor:
    """(3,) float64 canonical position of one point."""
    if not len(view):
        return torch.zeros(3, dtype=torch.float64)
    return view.canonical()[int(random.integers(len(view)))].double()


def _refuse_moving(sample: Sequence[Scan]) -> None:
    for scan in sample:
        if not scan.compensated:
            raise UsageError(
                f"{scan.name}: its points are where the moving sensor saw them, not where they "
                "were at one time, so the same place does not meet in two scans",
                needed="scans whose points are moved to their timestamp (Scan.compensated)",
                fix="compensate them in the data set, or train on single scans",
            )
