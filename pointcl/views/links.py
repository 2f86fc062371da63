"""Links: which point of a cloud shows at which place of which picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from densecl.pairs.checks import check_float, check_ids, check_rows

if TYPE_CHECKING:
    from pointcl.sensors.projection import Projection


@dataclass
class Links:
    """P links between the points of one or more scans and the pictures of their cameras.

    A point may have several links, one per picture that shows it. Pictures and scans are numbered
    apart: a batch of B scans with 6 cameras each has 6 B pictures, and ``scan`` says whose each
    one is. ``PointSet.sample`` is the number of the scan for points and the number of the picture
    for pixels.

    Attributes:
        point: (P,) int64 row of the point, of all clouds one after the other; of its voxel after
            ``renumber``.
        image: (P,) int64 picture, in [0, I).
        pixel: (P, 2) float32 continuous (x, y) in that picture as it is now; the centre of (row r,
            column c) is (c + 0.5, r + 0.5).
        scan: (I,) int64 scan of each picture.
        counts: B numbers of rows that ``point`` counts, one per scan.
    """

    point: Tensor
    image: Tensor
    pixel: Tensor
    scan: Tensor
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        p = check_ids("point", self.point, low=0, high=self.num_points, limit="num_points")
        check_rows("image", self.image, p, "point", self.point)
        check_ids("image", self.image, low=0, high=len(self.scan), limit="number of pictures")
        check_rows("pixel", self.pixel, p, "point", self.point)
        check_float("pixel", self.pixel, dims=2)
        if self.pixel.shape[1] != 2 or not bool(self.pixel.isfinite().all()):
            raise ValueError(f"pixel must be finite (P, 2), got {tuple(self.pixel.shape)}")
        check_ids("scan", self.scan, low=0, high=self.num_scans, limit="num_scans")

    def __len__(self) -> int:
        return self.point.shape[0]

    @property
    def num_images(self) -> int:
        """I."""
        return len(self.scan)

    @property
    def num_scans(self) -> int:
        """B."""
        return len(self.counts)

    @property
    def num_points(self) -> int:
        """Rows of all clouds."""
        return sum(self.counts)

    @classmethod
    def from_projections(cls, projections: Sequence[Projection], num_points: int) -> Links:
        """The kept points of one cloud in its pictures, picture by picture, in the points' order.

        Raises:
            ValueError: a projection is not of ``num_points`` points.
        """
        for projection in projections:
            if len(projection) != num_points:
                raise ValueError(f"a projection of {len(projection)} points, not {num_points}")
        rows = [np.flatnonzero(projection.kept) for projection in projections]
        count = torch.tensor([len(kept) for kept in rows], dtype=torch.int64)
        pixels = [p.pixel[kept] for p, kept in zip(projections, rows, strict=True)]
        return cls(
            torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *rows])),
            torch.arange(len(rows)).repeat_interleave(count),
            torch.from_numpy(np.concatenate([np.zeros((0, 2)), *pixels])).float(),
            torch.zeros(len(rows), dtype=torch.int64),
            (num_points,),
        )

    def filter(self, keep: Tensor) -> Links:
        """The links of a (P,) bool mask, or of an int64 index, in that order.

        Raises:
            ValueError: a mask of another length.
        """
        if keep.dtype == torch.bool and keep.shape != self.point.shape:
            raise ValueError(f"keep {tuple(keep.shape)} for {len(self)} links")
        rows = keep.nonzero().squeeze(1) if keep.dtype == torch.bool else keep
        names = ("point", "image", "pixel")
        return replace(self, **{name: getattr(self, name).index_select(0, rows) for name in names})

    def renumber(self, new_row: Tensor) -> Links:
        """The links after points were dropped or merged into voxels.

        The clouds stay in their order: every new row of a scan comes after those of the scans
        before, and none is left out. Links that come to share a voxel stay, so a voxel counts as
        often as its points do.

        Args:
            new_row: (num_points,) int64, the new row of each old one, e.g.
                ``Voxels.point_to_voxel``; -1 drops its links.

        Raises:
            ValueError: ``new_row`` has another length, is below -1, or mixes the scans.
        """
        if new_row.shape != (self.num_points,):
            raise ValueError(f"new_row {tuple(new_row.shape)} for {self.num_points} points")
        check_ids("new_row", new_row, low=-1)
        counts: list[int] = []
        begin = 0
        for rows in new_row.split(self.counts):
            rows = rows[rows >= 0]
            end = int(rows.max()) + 1 if len(rows) else begin
            if len(rows) and int(rows.min()) != begin:
                raise ValueError(
                    f"new rows of scan {len(counts)} start at {int(rows.min())}, not at {begin}"
                )
            counts.append(end - begin)
            begin = end
        moved = new_row[self.point]
        kept = self.filter(moved >= 0)
        return replace(kept, point=moved[moved >= 0], counts=tuple(counts))

    def keep_points(self, rows: Tensor) -> Links:
        """The links after only some rows of the clouds were kept.

        Args:
            rows: (num_points,) bool mask, or the (n,) int64 rows that were kept, in their new
                order, scan after scan: ``CloudView.index``.

        Raises:
            ValueError: a mask of another length, a row that is out of range or kept twice.
        """
        if rows.dtype == torch.bool:
            if rows.shape != (self.num_points,):
                raise ValueError(f"mask {tuple(rows.shape)} for {self.num_points} points")
            rows = rows.nonzero().squeeze(1)
        check_ids("rows", rows, low=0, high=self.num_points, limit="num_points")
        new_row = torch.full((self.num_points,), -1, device=rows.device)
        new_row[rows] = torch.arange(len(rows), device=rows.device)
        if int((new_row >= 0).sum()) != len(rows):
            raise ValueError("a row of the cloud is kept twice")
        return self.renumber(new_row)

    @classmethod
    def cat(cls, parts: Sequence[Links]) -> Links:
        """One batch: points, pictures and scans are numbered after those of the parts before.

        Raises:
            ValueError: no parts.
        """
        if not parts:
            raise ValueError("cat needs at least one Links")
        points = images = scans = 0
        counts: tuple[int, ...] = ()
        moved: list[tuple[Tensor, Tensor, Tensor]] = []
        for part in parts:
            moved.append((part.point + points, part.image + images, part.scan + scans))
            points += part.num_points
            images += part.num_images
            scans += part.num_scans
            counts += part.counts
        point, image, scan = (torch.cat(list(column)) for column in zip(*moved, strict=True))
        pixel = torch.cat([part.pixel for part in parts])
        return cls(point, image, pixel, scan, counts)

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Links:
        """The same links on ``device``."""
        names = ("point", "image", "pixel", "scan")
        return replace(
            self, **{n: getattr(self, n).to(device, non_blocking=non_blocking) for n in names}
        )

    def per_image(self) -> Tensor:
        """(I,) int64, number of links of each picture."""
        return torch.bincount(self.image, minlength=self.num_images)
