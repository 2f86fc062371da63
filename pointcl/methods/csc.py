"""CSC: each part of the space around a point has negatives of its own.

Source: Hou et al. 2021, Exploring Data-Efficient 3D Scene Understanding with Contrastive Scene
Contexts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from densecl.distributed import mean_over_ranks
from densecl.errors import UsageError
from densecl.losses import partition_info_nce
from densecl.methods.base import MethodOutput
from densecl.methods.control import shuffled
from pointcl.methods.pointcontrast import PointContrast, similarities
from pointcl.pairs.partitions import KINDS, Partition, PartitionCells
from pointcl.pairs.selection import at_most, one_per_row
from pointcl.registry import METHODS
from pointcl.views.batch import PointBatch, VoxelBatch

DIVISORS = ("scans", "matched")
LOOKED_AT = 64
"""Anchors of a scan whose cells are counted for telemetry."""


@METHODS.register_module()
class CSC(PointContrast):
    """Contrastive scene contexts: PointContrast's pairs, one contrast for each cell of space.

    Args:
        backbone: config of a sparse U-Net, or the module itself.
        dim: D of the embedding, a linear layer on the map at stride 1.
        match, radius, radius_metres: which voxels are a pair, as in PointContrast.
        temperature: > 0. The authors' launch script takes 0.4.
        max_pairs: anchors of a scan; PointContrast counts the whole batch.
        partition: ``fast``: above and below, near and far, as the launch script; ``generic``:
            sectors of two angles, near and far.
        radii_metres: of the inner shell; closer points are no negatives. The script's 2 and 20
            voxels of 2.5 cm.
        sectors: of the generic partition: about z, and of the second angle.
        weight_inner: count the cells of the inner shell twice.
        world_space: cut space along the axes of the scan or the world, so that z is up; off, along
            those of the view that was turned and tilted, from voxel to voxel.
        divisor: what the sum over scans is divided by: ``scans``, all of the batch, the authors';
            or ``matched``, those that have a pair.
        shuffle_pairs: a control: each voxel gets the partner of a random other pair of the batch.

    Raises:
        UsageError: an argument out of range, or a backbone without a map at stride 1.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any] | nn.Module,
        *,
        dim: int = 32,
        match: str = "place",
        radius: float = 1.5,
        radius_metres: float | None = None,
        temperature: float = 0.4,
        max_pairs: int = 4096,
        partition: str = "fast",
        radii_metres: tuple[float, float] = (0.05, 0.5),
        sectors: tuple[int, int] = (2, 2),
        weight_inner: bool = False,
        world_space: bool = True,
        divisor: str = "scans",
        shuffle_pairs: bool = False,
    ) -> None:
        super().__init__(
            backbone,
            dim=dim,
            match=match,
            radius=radius,
            radius_metres=radius_metres,
            temperature=temperature,
            max_pairs=max_pairs,
            shuffle_pairs=shuffle_pairs,
        )
        if partition not in KINDS:
            raise UsageError(
                f"method.partition = {partition!r}", needed=f"one of {', '.join(KINDS)}"
            )
        if divisor not in DIVISORS:
            raise UsageError(
                f"method.divisor = {divisor!r}", needed=f"one of {', '.join(DIVISORS)}"
            )
        if len(radii_metres) != 2 or not 0 <= radii_metres[0] < radii_metres[1]:
            raise UsageError(
                f"method.radii_metres = {radii_metres!r}", needed="two radii, 0 <= near < far"
            )
        if len(sectors) != 2 or min(sectors) < 1:
            raise UsageError(f"method.sectors = {sectors!r}", needed="two numbers, 1 or more")
        self.partition = Partition(partition, *radii_metres, (sectors[0], sectors[1]))
        self.weight_inner, self.world_space, self.divisor = weight_inner, world_space, divisor

    def forward(self, batch: PointBatch) -> MethodOutput:
        """Contrast of view 0 with view 1, scan by scan."""
        src, dst = (self.embed(view) for view in batch.views)
        pairs = self.pair(batch.views[0], batch.views[1], src, dst)
        trained = shuffled(pairs) if self.shuffle_pairs else pairs
        chosen = at_most(one_per_row(trained), self.max_pairs, points=src)
        query, key = src.fields["loss"][chosen.src], dst.fields["loss"][chosen.dst]
        places = src.coord if self.world_space else places_in_view(batch.views[0])
        assert places is not None
        total, empty, matched = query.sum() * 0.0, query.new_zeros(()), 0
        scan = src.sample[chosen.src]
        for number in range(len(batch)):
            rows = (scan == number).nonzero().squeeze(1)
            if not len(rows):
                continue
            around = self.partition.around(places[chosen.src[rows]])
            total = total + self.contrast(query[rows], key[rows], around)
            empty, matched = empty + empty_cells(around), matched + 1
        scans = len(batch) if self.divisor == "scans" else matched
        return MethodOutput(
            losses={"partition": mean_over_ranks(total, total.new_tensor(float(scans)))},
            telemetry={
                **similarities(query, key),
                "empty_cells": empty / max(matched, 1),
                "pairs_per_scan": len(pairs) / max(len(batch), 1),
                "empty_fraction": (pairs.per_sample(src) == 0).float().mean(),
            },
            pairs=pairs,
            rows=src.fields["loss"].detach(),
        )

    def contrast(self, query: Tensor, key: Tensor, around: PartitionCells) -> Tensor:
        """Mean over the anchors of one scan and over the cells, equations 2 and 3."""
        weight = query.new_ones(self.partition.num_cells)
        if self.weight_inner:
            weight[: len(weight) // 2] = 2.0
        loss = partition_info_nce(
            query,
            key,
            around,
            self.partition.num_cells,
            temperature=self.temperature,
            cell_weight=weight,
        )
        assert isinstance(loss, Tensor)
        return loss


def places_in_view(view: VoxelBatch) -> Tensor:
    """(M, 3) metres: places of the voxels along the axes of the view.

    Raises:
        UsageError: a grid of angles, whose axes are not those of the view.
    """
    grid = view.voxels.grid
    if grid.system != "cartesian":
        raise UsageError(
            f"method.world_space = False with voxels.kind = {grid.system!r}",
            needed="voxels.kind = 'cartesian'",
            fix="set method.world_space=True",
        )
    lattice = view.voxels.tensor.coordinates[:, 1:]
    return lattice * torch.tensor(grid.sizes, device=lattice.device)


def empty_cells(around: PartitionCells) -> Tensor:
    """Share of cells without a negative, of the first anchors of a scan."""
    every = torch.arange(len(around.coord), device=around.coord.device)
    cell = around(every[:LOOKED_AT], every)
    found = torch.zeros(len(cell), around.partition.num_cells + 1, device=cell.device)
    found.scatter_(1, cell + 1, 1.0)
    return 1.0 - found[:, 1:].mean()
