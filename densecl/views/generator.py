"""From a sample to its views: pixels, geometry, and every map carried along."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch

from densecl.data.sample import Frame, Sample
from densecl.data.seeding import rng
from densecl.errors import UsageError
from densecl.views.crops import Box, overlapping_box, random_box
from densecl.views.geometry import Affine
from densecl.views.photometric import apply_colour, draw_colour
from densecl.views.recipe import ViewRecipe, resolve_recipe
from densecl.views.view import View
from densecl.views.warp import crop_resize, nearest_index, warp_affine

# value of a carried map where the view shows nothing; regions use -1, label maps 255
_OUTSIDE = {"label": 255}


class ViewGenerator:
    """Cuts the views of a sample. A view depends on (seed, epoch, sample.source, view) alone.

    Args:
        recipe: "mocov2", "byol", "none" (resize only), or a dict of ``ViewRecipe`` fields with
            the recipe it starts from under ``base``.
        size: side or (H, W) of the views in pixels.
        num_views: how many views a sample yields; view v is cut from frame ``v % T``.
        seed: seed of every draw.
        min_overlap: least share of the smaller crop that view 0 and each later view have in
            common, 0 = leave it to chance. Measured before rotation and shear.
        overrides: one dict per view, replacing values for that view only; besides the recipe's
            fields it may hold ``size``. Shorter lists leave the remaining views as they are.
        settings: recipe fields for all views (``scale=(0.2, 1)``, ``hflip=0.5``, ...).

    Raises:
        UsageError: an unknown recipe or setting, or a value out of range.
    """

    def __init__(
        self,
        recipe: str | Mapping[str, Any] = "mocov2",
        size: int | Sequence[int] = 224,
        num_views: int = 2,
        seed: int = 0,
        *,
        min_overlap: float = 0.0,
        overrides: Sequence[Mapping[str, Any]] = (),
        **settings: Any,
    ) -> None:
        if num_views < 1:
            raise UsageError(f"views.num_views={num_views!r}", needed="1 or more")
        if not 0.0 <= min_overlap <= 1.0:
            raise UsageError(f"views.min_overlap={min_overlap!r}", needed="0 to 1")
        if len(overrides) > num_views:
            raise UsageError(
                f"views.overrides has {len(overrides)} entries for {num_views} views",
                fix="raise views.num_views or shorten the list",
            )
        base = resolve_recipe(recipe)
        self.recipes: list[ViewRecipe] = []
        self.sizes: list[tuple[int, int]] = []
        for view in range(num_views):
            own = dict(overrides[view]) if view < len(overrides) else {}
            self.sizes.append(_size(own.pop("size", size)))
            self.recipes.append(base[view % len(base)].override(**settings, **own))
        self.num_views, self.seed, self.min_overlap = num_views, seed, min_overlap

    def __call__(self, sample: Sample, epoch: int) -> list[View]:
        """The views of ``sample`` in ``epoch``, in order.

        Raises:
            UsageError: an image is not (H, W, 3) uint8 or a map does not fit it.
        """
        views = []
        first: Box | None = None
        for index, (recipe, size) in enumerate(zip(self.recipes, self.sizes, strict=True)):
            random = rng(self.seed, epoch, sample.source, index)
            number = index % len(sample.frames)
            frame = sample.frames[number]
            _check_frame(frame, sample.name)
            box = self._box(recipe, frame.image.shape[:2], random, first)
            first = box if first is None else first
            view = cut_view(frame, box, recipe, size, random)
            view.source, view.frame = sample.source, number
            views.append(view)
        return views

    def _box(
        self,
        recipe: ViewRecipe,
        source_size: tuple[int, int],
        random: np.random.Generator,
        first: Box | None,
    ) -> Box:
        if not recipe.crop:
            return 0, 0, source_size[1], source_size[0]
        if first is None or self.min_overlap == 0.0:
            return random_box(source_size, recipe.scale, recipe.ratio, random)
        return overlapping_box(
            source_size, recipe.scale, recipe.ratio, random, first, self.min_overlap
        )


def cut_view(
    frame: Frame,
    box: Box,
    recipe: ViewRecipe,
    size: tuple[int, int],
    random: np.random.Generator,
) -> View:
    """One view of ``frame``: the box mirrored, turned and coloured as the recipe and draws say.

    The box is in source pixels; the recipe's ``crop``, ``scale`` and ``ratio`` are not used. The
    view's ``source`` and ``frame`` are left at 0.
    """
    source_size = (frame.image.shape[0], frame.image.shape[1])
    chance = random.random(2)
    hflip, vflip = bool(chance[0] < recipe.hflip), bool(chance[1] < recipe.vflip)
    turn, lean = (2.0 * random.random(2) - 1.0) * (recipe.rotation, recipe.shear)
    geometry = Affine.from_crop(box, size, hflip, vflip)
    valid = None
    if turn == 0.0 and lean == 0.0:
        image = crop_resize(frame.image, box, size)
        if hflip or vflip:
            # cv2 mirrors both axes for -1, left-right for 1, top-bottom for 0
            image = cv2.flip(image, -1 if hflip and vflip else int(hflip))
    else:
        turned = geometry.compose(_about_centre(box, float(turn), float(lean)))
        assert isinstance(turned, Affine)
        geometry = turned
        image, valid = warp_affine(frame.image, geometry.matrix.double().numpy(), size, recipe.fill)
    image = apply_colour(image, draw_colour(recipe, size, random))
    planes = np.empty((3, *size), np.uint8)
    cv2.split(image, list(planes))
    view = View(
        image=torch.from_numpy(planes),
        geometry=geometry,
        source=0,
        source_size=source_size,
        valid=None if valid is None or valid.all() else torch.from_numpy(np.array(valid)),
    )
    _carry_maps(frame, view, geometry)
    return view


def _about_centre(box: Box, rotation: float, shear: float) -> Affine:
    """Rotation and shear, in degrees, that leave the centre of the box where it is."""
    angle, lean = math.radians(rotation), math.radians(shear)
    linear = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = linear @ np.array([[1.0, math.tan(lean)], [0.0, 1.0]])
    centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    matrix = np.column_stack([linear, centre - linear @ centre])
    return Affine(torch.from_numpy(matrix).float())


def _carry_maps(frame: Frame, view: View, geometry: Affine) -> None:
    if not frame.maps and frame.flow is None:
        return
    size = (view.image.shape[1], view.image.shape[2])
    rows, columns, inside = nearest_index(geometry.matrix.numpy(), size, view.source_size)
    outside = None if inside.all() else ~inside
    for name, values in frame.maps.items():
        carried = values[rows, columns].astype(np.int64)
        if outside is not None:
            carried[outside] = _OUTSIDE.get(name, -1)
        view.maps[name] = torch.from_numpy(carried)
    if frame.flow is not None:
        flow = frame.flow[rows, columns].astype(np.float32)
        if outside is not None:
            flow[outside] = np.nan
        view.flow = torch.from_numpy(flow)


def _check_frame(frame: Frame, name: str) -> None:
    image = frame.image
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise UsageError(
            f"{name}: image is {image.dtype} of shape {image.shape}",
            needed="(H, W, 3) uint8, RGB",
        )
    for key, values in (*frame.maps.items(), ("flow", frame.flow)):
        if values is not None and values.shape[:2] != image.shape[:2]:
            raise UsageError(
                f"{name}: {key} is {values.shape[1]} x {values.shape[0]}, "
                f"its image {image.shape[1]} x {image.shape[0]}",
                needed="a map of the image's size",
            )


def _size(value: int | Sequence[int]) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise UsageError(f"views.size={value!r}", needed="a side in pixels, or (height, width)")
    return pair[0], pair[1]
