"""Points of a scan and the cells of a frozen picture network that show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from densecl.engine.model import InputNorm
from densecl.errors import UsageError
from densecl.transfer.selection import Selection
from pointcl.data.scan import Scan
from pointcl.models.teacher import RANDOM, Teacher
from pointcl.pairs.projection import read_pixels
from pointcl.transfer.point_rows import draw_rows
from pointcl.views.batch import VoxelBatch
from pointcl.views.camera_views import CameraPictures
from pointcl.views.links import Links
from pointcl.views.pictures import PictureGenerator

_LINKS = 46  # stream of a seed


class PicturedScans(Selection[Scan]):
    """The scans of a data set at the indices given, with their cameras; labels are left out.

    Args:
        dataset: yields ``Scan``.
        indices, cache_bytes: see ``Selection``; pictures are read anew at each access.

    Raises:
        UsageError: the selection is empty.
    """

    what = "scan"

    def read(self, index: int) -> Scan:
        """One scan.

        Raises:
            UsageError: it is none, or has no camera.
        """
        scan = self.dataset[index]
        if not isinstance(scan, Scan) or not scan.cameras:
            raise UsageError(
                f"{self.dataset.name(index)} is no scan with pictures",
                needed="single scans with pictures and calibrations (Scan.cameras)",
                fix="name the data set's cameras, or choose one that has them",
            )
        return replace(scan, boxes=None, label=None, instance=None, regions={})

    def size_of(self, item: Scan) -> int:
        """Bytes of all its arrays."""
        return item.points.nbytes + sum(rows.nbytes for rows in item.rows().values())


@dataclass(frozen=True)
class ShownPoints:
    """Points that one picture shows, and the picture's features.

    Attributes:
        row: (P,) int64 rows of the cloud.
        place: (P, 2) float64, where they show, as (x, y) in cells: cell (i, j) is centred at
            (j, i).
        read: (P, C) float32 unit rows, the map read bilinearly at these places.
        features: (C, h, w) float32 map of the picture.
    """

    row: Tensor
    place: Tensor
    read: Tensor
    features: Tensor


class PictureReader:
    """Reads the pictures of scans with a frozen network, and where the points show in them.

    Args:
        teacher: the network; it is moved to ``device``.
        size: (H, W) that pictures are resized to; None = their own.
        cameras: names of those to use; None = all that a scan has.
        occlusion: whether points that something nearer covers are left out.
        device: where the network is run.

    Raises:
        UsageError: the network's file does not say how pictures are normalised.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        size: tuple[int, int] | None = None,
        cameras: Sequence[str] | None = None,
        occlusion: bool = True,
        device: str | torch.device = "cpu",
    ) -> None:
        order, mean, std = input_of(teacher)
        self.teacher = teacher.to(device)
        self.norm = InputNorm(mean, std, channel_order=order).to(device)
        self.size = size
        self.pictures = CameraPictures(
            cameras=cameras, superpixels=None, occlusion=occlusion, min_links=0, crop=False
        )

    def __call__(
        self, scan: Scan, batch: VoxelBatch, most: int, draw: int
    ) -> Iterator[ShownPoints]:
        """What each picture of a scan shows, pictures that show no point left out.

        Args:
            scan: with cameras.
            batch: its voxels; points in none are left out.
            most: points, drawn at random, evenly over the pictures.
            draw: seed of that.
        """
        numbers = self.pictures.chosen(scan)
        each = max(1, most // len(numbers))
        for number in numbers:
            camera = scan.cameras[number]
            links = self.pictures.links(scan, [camera]).keep_points(batch.cloud.index)
            height, width = self.size or camera.size
            cut = PictureGenerator((int(height), int(width)), crop=False)
            pictures = cut([self.pictures.frame(camera)], links, epoch=0, source=scan.source)
            links = pictures.links
            usable = (batch.voxels.point_to_voxel[links.point] >= 0).nonzero().squeeze(1)
            links = links.filter(draw_rows(usable, each, draw, _LINKS, scan.source, number))
            if not len(links):
                continue
            image = pictures.views[0].image
            features = self.teacher(self.norm(image[None]))[0].float().cpu()
            yield shown_points(links, features, (image.shape[1], image.shape[2]))


def shown_points(links: Links, features: Tensor, size: tuple[int, int]) -> ShownPoints:
    """Places and readings of links to one picture.

    Args:
        links: P of one scan and one picture, inside the picture.
        features: (C, h, w) map of the picture.
        size: (H, W) of the picture, in the pixels of the links.
    """
    (h, w), (height, width) = features.shape[-2:], size
    scale = torch.tensor([w / width, h / height], dtype=torch.float64)
    reading = read_pixels(links, (h, w), size)
    read = reading.apply(features.flatten(1).T)
    return ShownPoints(
        row=links.point,
        place=links.pixel.double() * scale - 0.5,
        read=torch.nn.functional.normalize(read, dim=1),
        features=features,
    )


def open_teacher(
    weights: str, backbone: Mapping[str, Any] | None, stride: int | None, seed: int
) -> Teacher:
    """The picture network of a run.

    Args:
        weights: a checkpoint, or "random": weights of ``seed``.
        backbone: see ``Teacher``.
        stride: of the map that is read, see ``Teacher``.
        seed: of random weights.

    Raises:
        UsageError: none is named, no such file, or as ``Teacher``.
    """
    if not weights:
        raise UsageError(
            "image_correspondence.teacher is not given",
            needed="a checkpoint of a network of pictures, or 'random', a control",
            fix="set image_correspondence.teacher=FILE; densecl pretrain makes one",
        )
    if weights != RANDOM and not Path(weights).expanduser().is_file():
        raise UsageError(
            f"image_correspondence.teacher = {weights!r}: no such file",
            needed="a checkpoint of a network of pictures, or 'random', a control",
            fix="densecl pretrain makes one, image_correspondence.teacher=FILE names it",
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Teacher(weights, backbone, stride)


def input_of(teacher: Teacher) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    """Channel order, mean and std (0-255) that a picture network was trained with.

    Raises:
        UsageError: its file does not say.
    """
    if teacher.input is None:
        raise UsageError(
            f"{teacher.path} does not say how its input is normalised",
            needed="mean, std and channel order of the pretraining",
            fix='densecl.weights.export(FILE, "safetensors", OUT, meta=dict(mean=..., std=..., '
            'channel_order="RGB")) writes a file that says so',
        )
    return teacher.input
