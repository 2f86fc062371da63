"""Pictures: views of a scan's cameras that carry the places of the points along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from densecl.data.sample import Frame
from densecl.data.seeding import rng
from densecl.errors import UsageError
from densecl.views.crops import Box, random_box
from densecl.views.generator import cut_view
from densecl.views.recipe import RECIPES, ViewRecipe
from densecl.views.view import View, ViewBatch
from pointcl.rows import every
from pointcl.views.links import Links

_TRIES = 50


@dataclass
class Pictures:
    """The pictures of one scan and the links of its points to them.

    Attributes:
        views: one per camera; ``source`` is the scan's, the geometry leads back to the camera's
            own pixels.
        links: with one picture number per view; pixels are those of the views.
    """

    views: list[View]
    links: Links


@dataclass
class PictureBatch:
    """The pictures of B scans, I of them: first all of scan 0, then all of scan 1, ...

    Attributes:
        views: of I pictures; as a point set (``PointSet.from_view``) its samples are pictures.
        links: of all points, see ``Links``.
    """

    views: ViewBatch
    links: Links

    @classmethod
    def collate(cls, items: Sequence[Pictures]) -> PictureBatch:
        """Stack B items.

        Raises:
            ValueError: none has a picture, or the pictures do not fit together.
        """
        views = [view for item in items for view in item.views]
        return cls(ViewBatch.collate(views), Links.cat([item.links for item in items]))

    def to(self, device: torch.device | str, non_blocking: bool = True) -> PictureBatch:
        """The same batch on ``device``."""
        return PictureBatch(
            self.views.to(device, non_blocking), self.links.to(device, non_blocking)
        )


class PictureGenerator:
    """Cuts one view of each camera picture of a scan; the defaults are SLidR's.

    A crop is drawn again until more than ``min_links`` of the picture's links, or at least the
    share ``min_share`` of them, lie in it; after 50 draws the best of them is taken. Everything is
    a function of (seed, epoch, scan, camera).

    Args:
        size: (H, W) of the views in pixels.
        crop: False = the whole picture, resized and not mirrored: what validation uses.
        seed: of every draw.
        min_links, min_share: see above.
        settings: fields of ``ViewRecipe``: ``scale``, ``ratio``, ``hflip``, and any colour, which
            SLidR leaves alone. Rotation and shear are refused.

    Raises:
        UsageError: an unknown setting, or a value out of range.

    Source: Sautier et al. 2022 (SLidR), supplementary A, and its reference code, which draws until
    a crop is good and rounds pixel positions after each step.
    """

    def __init__(
        self,
        size: Sequence[int] = (224, 416),
        crop: bool = True,
        seed: int = 0,
        *,
        min_links: int = 1024,
        min_share: float = 0.75,
        **settings: Any,
    ) -> None:
        if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
            raise UsageError(f"pictures.size={size!r}", needed="(height, width) in pixels")
        if min_links < 0 or not 0.0 <= min_share <= 1.0:
            raise UsageError(
                f"pictures.min_links={min_links!r}, pictures.min_share={min_share!r}",
                needed="min_links >= 0 and min_share from 0 to 1",
            )
        self.size, self.seed = (size[0], size[1]), seed
        self.min_links, self.min_share = min_links, min_share
        slidr = {"scale": (0.3, 1.0), "ratio": (14 / 9, 17 / 9), "hflip": 0.5 if crop else 0.0}
        plain: ViewRecipe = RECIPES["none"][0]
        self.recipe = plain.override(**{**slidr, **settings, "crop": crop})
        if self.recipe.rotation or self.recipe.shear:
            raise UsageError("pictures.rotation and pictures.shear", needed="0 for both")

    def __call__(
        self,
        frames: Sequence[Frame],
        links: Links,
        *,
        epoch: int,
        source: int,
        cameras: Sequence[int] | None = None,
    ) -> Pictures:
        """The pictures of one scan in ``epoch``.

        Args:
            frames: I images with the maps that ride along, e.g. ``region``.
            links: of one scan; pixels in those of the frames.
            epoch: of the draws.
            source: id of the scan, stable over runs.
            cameras: numbers of the cameras, for the draws; None = 0 .. I-1. With them a picture
                does not depend on which others are chosen, or on their order.

        Raises:
            ValueError: frames, links and cameras disagree in number.
        """
        numbers = list(range(len(frames))) if cameras is None else list(cameras)
        if not len(frames) == links.num_images == len(numbers):
            raise ValueError(
                f"{len(frames)} frames, links to {links.num_images} pictures, "
                f"{len(numbers)} cameras"
            )
        views, kept, pixel = [], torch.zeros(len(links), dtype=torch.bool), links.pixel.clone()
        for image, (frame, number) in enumerate(zip(frames, numbers, strict=True)):
            random = rng(self.seed, epoch, source, number)
            rows = (links.image == image).nonzero().squeeze(1)
            place = links.pixel[rows].double()
            box = self._box(frame.image.shape[:2], place.numpy(), random)
            view = cut_view(frame, box, self.recipe, self.size, random)
            view.source = source
            views.append(view)
            moved = view.geometry.from_canonical(place).float()
            kept[rows] = inside(moved, self.size)
            pixel[rows] = moved
        return Pictures(views, replace(links, pixel=pixel).filter(kept))

    def _box(self, size: tuple[int, int], place: np.ndarray, random: np.random.Generator) -> Box:
        whole = (0, 0, size[1], size[0])
        if not self.recipe.crop:
            return whole
        best, most = whole, -1
        for _ in range(_TRIES):
            box = random_box(size, self.recipe.scale, self.recipe.ratio, random)
            count = int(every((place >= box[:2]) & (place < box[2:])).sum())
            if count > self.min_links or count >= self.min_share * len(place):
                return box
            if count > most:
                best, most = box, count
        return best


def inside(pixel: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Which (P, 2) positions lie in a picture of (H, W) pixels, (P,) bool."""
    extent = pixel.new_tensor([size[1], size[0]])
    return ((pixel >= 0) & (pixel < extent)).all(1)
