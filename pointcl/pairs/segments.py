"""The segments of scans in two views of each, and draws from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from densecl.errors import UsageError
from densecl.pairs.ragged import rank_in_run
from pointcl.regions.majority import voxel_regions
from pointcl.views.batch import PointBatch, VoxelBatch


@dataclass
class BatchSegments:
    """The segments of a batch, numbered 0 to S - 1 over all its scans.

    Attributes:
        ids: of the voxels of both views, (M_0,) and (M_1,) int64, -1 = none.
        sample: (S,) int64 scan of the batch.
        foreground: (S,) bool.
        present: (S,) bool of both views, whether a voxel shows it there.
    """

    ids: tuple[Tensor, Tensor]
    sample: Tensor
    foreground: Tensor
    present: tuple[Tensor, Tensor]

    def __len__(self) -> int:
        """S."""
        return len(self.sample)

    @property
    def usable(self) -> Tensor:
        """(n,) int64: the foreground segments that both views show."""
        return (self.foreground & self.present[0] & self.present[1]).nonzero().squeeze(1)

    @classmethod
    @torch.no_grad()
    def of(cls, batch: PointBatch) -> BatchSegments:
        """A voxel is in the segment that most of its points are in.

        Args:
            batch: two views of the same scans, whose clouds have ``regions["segment"]`` and
                ``regions["foreground"]``, the ids of the foreground segments alone.

        Raises:
            UsageError: scans without segments, or views of two scans.
        """
        first, second = batch.views
        if not torch.equal(first.cloud.source, second.cloud.source):
            raise UsageError(
                f"the views of {first.cloud.names[0]} show two scans, whose segments have nothing "
                "to do with each other",
                needed="two views of one scan",
                fix="take the data set of scans itself, without PosedPairs",
            )
        segment = [_regions(view, "segment") for view in batch.views]
        objects = [_regions(view, "foreground") for view in batch.views]
        span = 1 + max(int(ids.max()) if len(ids) else 0 for ids in segment)

        def number(ids: Tensor, sample: Tensor) -> Tensor:
            return torch.where(ids < 0, -1, sample * span + ids)

        voxels = [
            number(
                voxel_regions(ids, view.voxels.point_to_voxel, len(view.voxels.tensor)),
                view.voxels.tensor.sample,
            )
            for ids, view in zip(segment, batch.views, strict=True)
        ]
        points = [
            number(ids, view.cloud.sample) for ids, view in zip(objects, batch.views, strict=True)
        ]
        known = torch.cat(voxels).unique()
        known = known[known >= 0]
        rows = [
            torch.where(own < 0, -1, torch.searchsorted(known, own.clamp_min(0))) for own in voxels
        ]
        present = [torch.isin(known, own) for own in voxels]
        return cls(
            (rows[0], rows[1]),
            known // span,
            torch.isin(known, torch.cat(points)),
            (present[0], present[1]),
        )


def _regions(view: VoxelBatch, name: str) -> Tensor:
    if name not in view.cloud.regions:
        raise UsageError(
            f"{view.cloud.names[0]} has no {name} regions",
            needed="scans with segments and their foreground",
            fix="compute them while training: views.segments='outdoors' or 'indoors'; or once, "
            "with `pointcl segments`, and take data.type='WithSegments'",
        )
    return view.cloud.regions[name]


def draw_of_each(ids: Tensor, wanted: Tensor, draw: Tensor) -> Tensor:
    """Rows of each segment, uniformly and with replacement: as many of a small as of a large one.

    Args:
        ids: (M,) int64 segment of each row, -1 = none.
        wanted: (n,) int64 segments, each with a row.
        draw: (n, k) in [0, 1).

    Returns:
        (n * k,) int64 rows, those of a segment one after the other.
    """
    ordered, order = ids.sort(stable=True)
    start = torch.searchsorted(ordered, wanted).unsqueeze(1)
    size = torch.searchsorted(ordered, wanted, right=True).unsqueeze(1) - start
    place = (draw * size).long().minimum(size - 1)
    return order[(start + place).flatten()]


def some_of_each(sample: Tensor, most: int) -> Tensor:
    """(n,) int64 rows, ascending: at most so many of each sample, at random."""
    order = torch.randperm(len(sample), device=sample.device)
    order = order[sample[order].argsort(stable=True)]
    return order[rank_in_run(sample[order]) < most].sort().values
