"""SLidR: the points of a superpixel have the features that a 2D network has for its pixels.

Source: Sautier et al. 2022, Image-to-Lidar Self-Supervised Distillation for Autonomous Driving
Data. ``tolerant``: Mahmoud et al. 2023, Self-Supervised Image-to-Point Distillation via
Semantically Tolerant Contrastive Loss (ST-SLidR).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densecl.methods.base import MethodOutput
from densecl.pairs import Pairs, PointSet, pool_regions
from densecl.pairs.maps import read_cells
from densecl.pairs.pooling import Pooled
from pointcl.methods.distillation import PictureDistillation, link_numbers, pictures_of
from pointcl.pairs.pixels import pool_unit_pixels
from pointcl.pairs.projection import number_regions, read_regions
from pointcl.registry import METHODS
from pointcl.views.batch import PointBatch

IGNORE = 255


@METHODS.register_module()
class SLidR(PictureDistillation):
    """Contrast of superpixels of points with superpixels of pixels.

    Args:
        backbone, teacher, options: see ``PictureDistillation``. The paper's teacher is a ResNet-50
            of MoCo v2 with ``teacher_stride=4``.
        symmetric: contrast pixels with points too; the paper goes from points to pixels alone.
        tolerant: ST-SLidR's weights: superpixels that the teacher finds alike are pushed apart
            less. Its balancing of anchors is not in it.

    Raises:
        UsageError: see ``PictureDistillation``.
    """

    takes_regions = True

    def __init__(
        self,
        backbone: Mapping[str, Any] | nn.Module,
        teacher: str | Path,
        *,
        symmetric: bool = False,
        tolerant: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(backbone, teacher, **options)
        self.symmetric, self.tolerant = symmetric, tolerant

    def forward(self, batch: PointBatch) -> MethodOutput:
        """Sections 3.2 and 3.3."""
        pictures = pictures_of(batch)
        region = pictures.views.maps["region"]
        superpixels, count = numbered(region)

        points = self.embed_points(batch, pictures.links)
        query = pool_regions(points, read_regions(pictures.links, superpixels), num_regions=count)

        cells = self.teacher(pictures.views.image)
        key = self.pool_pixels(cells, region, count)

        seen = query.mass > 0  # superpixels without a point drop out
        meaning = self.pool_cells(cells, superpixels, count)[seen] if self.tolerant else None
        own, theirs = query.feature[seen], key.feature[seen]
        loss, telemetry = self.contrast(own, theirs, meaning, both=self.symmetric)
        rows = torch.arange(len(own), device=own.device)
        return MethodOutput(
            losses={"superpixels": loss},
            telemetry={
                **telemetry,
                **link_numbers(batch),
                "pairs_per_scan": len(own) / max(len(batch), 1),
                "superpixels_seen": len(own) / max(int((key.mass > 0).sum()), 1),
            },
            pairs=Pairs(rows, rows, num_src=len(own), num_dst=len(own)),
            rows=own.detach(),
        )

    def pool_pixels(self, cells: Tensor, region: Tensor, count: int) -> Pooled:
        """Mean of the unit vectors of a superpixel's pixels, those without a point too.

        Args:
            cells: (I, C, h, w) maps of the teacher.
            region: (I, H, W) superpixels, numbered within their picture.
            count: R of the batch, as many for each picture.
        """
        maps = self.online["picture_head"](cells)
        each = count // max(len(region), 1)
        return pool_unit_pixels(maps, region, each, align_corners=self.align_corners)

    def pool_cells(self, cells: Tensor, superpixels: Tensor, count: int) -> Tensor:
        """(R, C): the teacher's own features over the cells whose centre lies in a superpixel.

        A superpixel between the centres of all cells gets zeros and is like no other.
        """
        shape = (cells.shape[2], cells.shape[3])
        rows = cells.permute(0, 2, 3, 1).flatten(0, 2)
        ids = read_cells(superpixels, shape).flatten()
        return pool_regions(rows, ids, num_regions=count).feature

    def positives(self, batch: PointBatch) -> tuple[PointSet, PointSet, Pairs]:
        """Voxels, superpixels with the commonest label of their points, and what lies in which."""
        pictures, points = pictures_of(batch), batch.views[0].to_point_set({})
        superpixels, count = numbered(pictures.views.maps["region"])
        links = pictures.links.renumber(batch.views[0].voxels.point_to_voxel)
        region = read_regions(links, superpixels)
        found = torch.stack([links.point, region])[:, region >= 0].unique(dim=1)
        picture = torch.zeros(count, dtype=torch.int64, device=region.device)
        known = superpixels >= 0
        images = torch.arange(len(superpixels), device=region.device)
        picture[superpixels[known]] = images[:, None, None].expand_as(superpixels)[known]
        whole = PointSet(
            {},
            links.scan[picture],
            num_samples=links.num_scans,
            frame=("superpixel", "px"),
            regions={"superpixel": torch.arange(count, device=region.device)},
            label=None
            if points.label is None
            else commonest(points.label[found[0]], found[1], count),
        )
        return points, whole, Pairs(found[0], found[1], num_src=len(points), num_dst=count)


def numbered(maps: Tensor) -> tuple[Tensor, int]:
    """Superpixels (I, H, W) with ids that no other picture of the batch has, and R, I times the
    most of a picture: those of picture i are ``i * R / I`` to ``(i + 1) * R / I - 1``.
    """
    most = int(maps.max()) + 1 if maps.numel() else 0
    return number_regions(maps), len(maps) * most


def commonest(label: Tensor, region: Tensor, count: int) -> Tensor:
    """(R,) int64: the most frequent label of each region; 255 where all are unknown."""
    known = (label >= 0) & (label != IGNORE)
    votes = torch.zeros(count, IGNORE, dtype=torch.int64, device=label.device)
    one = torch.ones_like(label[known])
    votes.index_put_((region[known], label[known]), one, accumulate=True)
    most, winner = votes.max(1)
    return torch.where(most > 0, winner, IGNORE)
