"""PPKT: a point has the feature that a 2D network has for the pixel that shows it.

Source: Liu et al. 2021, Learning from 2D: Contrastive Pixel-to-Point Knowledge Transfer for 3D
Pretraining; values as Sautier et al. 2022 train it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densecl.losses import normalise
from densecl.methods.base import MethodOutput
from densecl.pairs import Pairs, PointSet
from pointcl.methods.distillation import (
    PictureDistillation,
    link_numbers,
    pictures_of,
    refuse_unless,
)
from pointcl.pairs.projection import match_by_projection, read_pixels
from pointcl.registry import METHODS
from pointcl.views.batch import PointBatch
from pointcl.views.links import Links


@METHODS.register_module()
class PPKT(PictureDistillation):
    """Contrast of points with their pixels.

    Args:
        backbone, teacher, options: see ``PictureDistillation``. The paper's teacher keeps its
            stride of 32.
        max_pairs: links that enter the loss, drawn from those of the batch of this process.

    Raises:
        UsageError: see ``PictureDistillation``.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any] | nn.Module,
        teacher: str | Path,
        *,
        max_pairs: int = 4096,
        **options: Any,
    ) -> None:
        super().__init__(backbone, teacher, **options)
        refuse_unless("max_pairs", max_pairs, max_pairs > 0, "1 or more")
        self.max_pairs = max_pairs

    def forward(self, batch: PointBatch) -> MethodOutput:
        """Draw links, read both ends, contrast them."""
        pictures = pictures_of(batch)
        links = some_of(pictures.links, self.max_pairs)
        points = self.embed_points(batch, links)
        pixels = self.embed_pixels(self.teacher(pictures.views.image), links, pictures.views.size)
        loss, telemetry = self.contrast(points, pixels)
        rows = torch.arange(len(links), device=points.device)
        return MethodOutput(
            losses={"pixels": loss},
            telemetry={
                **telemetry,
                **link_numbers(batch),
                "pairs_per_scan": len(links) / max(len(batch), 1),
            },
            pairs=Pairs(rows, rows, num_src=len(links), num_dst=len(links)),
            rows=points.detach(),
        )

    def embed_pixels(self, cells: Tensor, links: Links, size: tuple[int, int]) -> Tensor:
        """Maps of the teacher (I, C, h, w) -> (P, D) unit rows at the pixel of each link."""
        maps = self.online["picture_head"](cells)
        reading = read_pixels(
            links, (maps.shape[2], maps.shape[3]), size, align_corners=self.align_corners
        )
        return normalise(reading.apply(maps.permute(0, 2, 3, 1).flatten(0, 2)))

    def positives(self, batch: PointBatch) -> tuple[PointSet, PointSet, Pairs]:
        """Voxels, the pixels of the pictures, and all pairs of them, before any is drawn."""
        pictures, view = pictures_of(batch), batch.views[0]
        points, links = view.to_point_set({}), pictures.links
        blank = torch.zeros(links.num_images, 1, *pictures.views.size, device=points.device)
        pixels = PointSet.from_view({"blank": blank}, pictures.views)
        renumbered = links.renumber(view.voxels.point_to_voxel)
        pairs, _ = match_by_projection(points, pixels, renumbered, pictures.views.size, by="row")
        return points, pixels, pairs


def some_of(links: Links, most: int) -> Links:
    """At most so many links at random; all of them, in their order, where there are no more."""
    if len(links) <= most:
        return links
    return links.filter(torch.randperm(len(links), device=links.point.device)[:most])
