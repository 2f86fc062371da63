"""What methods share that teach a sparse backbone what a network of pictures knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from densecl.distributed import gather_rows, mean_over_ranks, rank, row_counts
from densecl.errors import UsageError
from densecl.losses import normalise, region_info_nce
from pointcl.methods.base import PointMethod
from pointcl.models.points import bev_features, point_features
from pointcl.models.teacher import Teacher
from pointcl.views.batch import PointBatch
from pointcl.views.links import Links
from pointcl.views.pictures import PictureBatch

READ = ("voxels", "points", "bev")


class PictureDistillation(PointMethod):
    """A sparse backbone, a frozen teacher of pictures, and a linear head on each.

    What meets are unit vectors of points and of the pixels that show them. Only the backbone and
    the two heads learn.

    Attributes:
        takes_regions: whether pictures need superpixels.

    Args:
        backbone: config of a sparse backbone, or the module itself.
        teacher: a checkpoint that ``densecl.load_backbone`` reads, or "random", a control.
        teacher_backbone: config of its network; None = the file's own, ResNet-50 for "random".
        teacher_stride: of the map that is read, a ResNet is dilated to it; None = the coarsest.
        dim: D of the embedding.
        read: where a point's features come from: "voxels", its voxel on the map at stride 1;
            "points", all maps side by side at the point; "bev", a detector's bird's-eye map at
            the point, bilinearly.
        align_corners: of the teacher's map when it is enlarged. True: its corner cells lie on the
            corner pixels, as in the reference code; where a convolution pads, cell 0 of a ResNet
            does look at pixel 0. False: cells tile the picture.
        temperature: > 0, divides the scores.
        gather_keys: whether the pixels' vectors of all processes are the negatives, so that
            several processes train as one; False = each has its own, as the reference code.
        shuffle_pairs: a control: each vector of points gets the pixels of a random other one.

    Raises:
        UsageError: an argument out of range, a teacher that cannot be read, or a backbone without
            the map that is asked for.
    """

    num_views = 1
    takes_pictures = True
    takes_regions: ClassVar[bool] = False

    def __init__(
        self,
        backbone: Mapping[str, Any] | nn.Module,
        teacher: str | Path,
        *,
        teacher_backbone: Mapping[str, Any] | None = None,
        teacher_stride: int | None = None,
        dim: int = 64,
        read: str = "voxels",
        align_corners: bool = True,
        temperature: float = 0.07,
        gather_keys: bool = True,
        shuffle_pairs: bool = False,
    ) -> None:
        super().__init__(backbone)
        refuse_unless("read", read, read in READ, f"one of {', '.join(READ)}")
        refuse_unless("temperature", temperature, temperature > 0, "a number > 0")
        refuse_unless("dim", dim, isinstance(dim, int) and dim > 0, "1 or more")
        self.teacher = Teacher(teacher, teacher_backbone, teacher_stride)
        self.read, self.align_corners, self.temperature = read, align_corners, temperature
        self.gather_keys, self.shuffle_pairs = gather_keys, shuffle_pairs
        self.online["head"] = nn.Linear(self._width(), dim)
        self.online["picture_head"] = nn.Conv2d(self.teacher.channels, dim, 1)

    def _width(self) -> int:
        if self.read == "voxels":
            return self.need_every_voxel()
        if self.read == "points":
            return sum(self.channels.values())
        width = getattr(self.online["backbone"], "bev_channels", None)
        if width is None:
            raise UsageError(
                "method.read = 'bev' with a backbone that has no bird's-eye map",
                needed="a detector's encoder, as VoxelResNet",
                fix="set method.read='voxels'",
            )
        return int(width)

    @property
    def picture_input(self) -> tuple[str, tuple[float, ...], tuple[float, ...]] | None:
        """Channel order, mean and std that the teacher expects; None where nobody knows."""
        return self.teacher.input

    @property
    def notes(self) -> dict[str, Any]:
        """What a checkpoint says beside what all say."""
        return {"teacher": self.teacher.describe()}

    def embed_points(self, batch: PointBatch, links: Links) -> Tensor:
        """(P, D) unit rows: the features of each link's point."""
        view, point = batch.views[0], links.point
        features, head = self.encode(view), self.online["head"]
        if self.read == "voxels":
            voxels = normalise(head(features.maps[1].features))
            return voxels.index_select(0, view.voxels.point_to_voxel[point])
        # Each point once, however many pictures show it.
        rows, link = point.unique(return_inverse=True)
        places = view.voxels.grid.positions(view.cloud.points[rows])
        look = bev_features if self.read == "bev" else point_features
        places = places.to(view.voxels.tensor.features.dtype)
        found = look(features, places, view.cloud.sample[rows])
        return normalise(head(found)).index_select(0, link)

    def contrast(
        self, points: Tensor, pixels: Tensor, meaning: Tensor | None = None, both: bool = False
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """InfoNCE from vectors of points to those of pixels, row i to row i; eq. 3 of SLidR.

        Args:
            points: (R, D) of this process.
            pixels: (R, D).
            meaning: (R, F) features of the rows that do not learn, see ``region_info_nce``.
            both: whether to go from pixels to points too, and take the mean.

        Returns:
            The loss of this process (``mean_over_ranks``), and telemetry.
        """
        if self.shuffle_pairs:
            order = torch.randperm(len(pixels), device=pixels.device)
            pixels = pixels[order]
        counts = row_counts(points) if self.gather_keys else [len(points)]
        start = sum(counts[: rank()]) if self.gather_keys else 0
        own = torch.arange(len(points), device=points.device) + start

        def gathered(rows: Tensor) -> Tensor:
            return gather_rows(rows, gradient=True, counts=counts) if self.gather_keys else rows

        alike = None if meaning is None else (meaning, gathered(meaning))
        losses = []
        for query, key in ((points, pixels), (pixels, points))[: 2 if both else 1]:
            total, mass = region_info_nce(
                query,
                gathered(key),
                temperature=self.temperature,
                own=own,
                meaning=alike,
                reduction="parts",
            )
            losses.append(mean_over_ranks(total, mass))
        return torch.stack(losses).mean(), similarities(points, pixels)


@torch.no_grad()
def similarities(points: Tensor, pixels: Tensor) -> dict[str, Tensor | float]:
    """Mean score of positives, and of every row with every row."""
    if not len(points):
        return {}
    return {
        "positive_similarity": (points * pixels).sum(1).mean(),
        "negative_similarity": points.mean(0) @ pixels.mean(0),
    }


def link_numbers(batch: PointBatch) -> dict[str, Tensor | float]:
    """Telemetry of the links of a batch."""
    links = pictures_of(batch).links
    shown = torch.bincount(links.scan[links.image], minlength=links.num_scans)
    return {
        "links_per_scan": len(links) / max(len(batch), 1),
        "empty_fraction": (shown == 0).float().mean(),
    }


def pictures_of(batch: PointBatch) -> PictureBatch:
    """The pictures of a batch.

    Raises:
        UsageError: there are none.
    """
    if batch.pictures is None:
        raise UsageError(
            "the batch has no pictures", needed="a loader of CameraViews (views.pictures)"
        )
    return batch.pictures


def refuse_unless(name: str, value: Any, good: bool, needed: str) -> None:
    """Raise the error of an argument that is out of range."""
    if not good:
        raise UsageError(f"method.{name} = {value!r}", needed=needed)
