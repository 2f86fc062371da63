"""Images with boxes as arrays, and the crops that a detector is fine-tuned on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from densecl.data.boxes import BoxedImage
from densecl.data.seeding import rng
from densecl.errors import UsageError
from densecl.transfer.selection import Selection, batch_positions
from densecl.views.photometric import Photometric, apply_colour, draw_colour

_CROP, _COLOUR = 12, 13  # streams of one seed, beside the order of ``batch_positions``


class BoxedImages(Selection[BoxedImage]):
    """The images of a data set at the indices given, at their own size.

    Args:
        dataset: yields ``BoxedImage``.
        indices, cache_bytes: see ``Selection``.

    Raises:
        UsageError: the selection is empty.
    """

    what = "image"

    def read(self, index: int) -> BoxedImage:
        """Image and boxes.

        Raises:
            UsageError: the data set has no boxes.
        """
        item = self.dataset[index]
        if not isinstance(item, BoxedImage):
            raise UsageError(
                f"{type(self.dataset).__name__} carries no boxes",
                needed="a data set of images with boxes",
                fix="use StreetsBoxes, VocBoxes or CocoBoxes for detection",
            )
        return item

    def size_of(self, item: BoxedImage) -> int:
        """Bytes of the image, which outweighs its boxes."""
        return item.image.nbytes


@dataclass(frozen=True)
class Window:
    """What a training crop shows of an image.

    Attributes:
        box: (x0, y0, x1, y1) in the image's pixels; it may reach beyond the image.
        flip: mirrored left to right.
    """

    box: tuple[float, float, float, float]
    flip: bool


def draw_window(
    shape: tuple[int, int],
    crop: tuple[int, int],
    base: float,
    scale: tuple[float, float],
    hflip: float,
    generator: np.random.Generator,
) -> Window:
    """Draw scale, place and flip of a training crop.

    Args:
        shape: (H, W) of the image.
        crop: (h, w) of the crop.
        base: crop pixels per image pixel at scale 1.
        scale: range of the zoom, drawn log-uniformly; 2 means objects twice as large.
        hflip: probability of a left-right flip.
        generator: the only source of randomness.
    """
    zoom = base * float(np.exp(generator.uniform(np.log(scale[0]), np.log(scale[1]))))
    sides = [side / zoom for side in crop]
    # inside the image where the image is larger, around it where it is smaller
    top, left = (
        generator.uniform(0, 1) * (have - side) for have, side in zip(shape, sides, strict=True)
    )
    return Window((left, top, left + sides[1], top + sides[0]), bool(generator.random() < hflip))


def cut(
    item: BoxedImage,
    window: Window,
    crop: tuple[int, int],
    visible: float,
    fill: Sequence[float] = (124, 116, 104),
) -> BoxedImage:
    """The part of an image that a window shows, at a given size.

    Args:
        item: image and boxes.
        window: see ``Window``.
        crop: (h, w) of the result.
        visible: a box of which less than this share lies in the window is ignored; one that lies
            outside altogether is left out.
        fill: colour beyond the image.
    """
    x0, y0, x1, y1 = window.box
    zoom = np.array([crop[1] / (x1 - x0), crop[0] / (y1 - y0)])
    # cv2's coordinates are of pixel centres, ours of edges
    matrix = np.array(
        [
            [zoom[0], 0, -zoom[0] * (x0 - 0.5) - 0.5],
            [0, zoom[1], -zoom[1] * (y0 - 0.5) - 0.5],
        ]
    )
    image = _warp(item.image, matrix, crop, float(zoom.min()), fill)
    boxes = (item.boxes.astype(np.float64) - [x0, y0, x0, y0]) * np.tile(zoom, 2)
    if window.flip:
        image = np.ascontiguousarray(image[:, ::-1])
        boxes = np.stack(
            [crop[1] - boxes[:, 2], boxes[:, 1], crop[1] - boxes[:, 0], boxes[:, 3]], 1
        )
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    boxes = boxes.clip(0, [crop[1], crop[0], crop[1], crop[0]])
    seen = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    share = np.divide(seen, whole, out=np.zeros_like(seen), where=whole > 0)
    kept = seen > 0
    return replace(
        item,
        image=image,
        boxes=boxes[kept].astype(np.float32),
        labels=item.labels[kept],
        ignore=(item.ignore | (share < visible))[kept],
        crowd=item.crowd[kept],
        area=(item.area * zoom.prod() * share)[kept].astype(np.float32),
    )


def _warp(
    image: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    zoom: float,
    fill: Sequence[float],
) -> np.ndarray:
    """``image`` under an affine map, smoothed first where it shrinks."""
    if zoom < 1:
        # a Gaussian as wide as makes the new grid's sampling free of aliases
        sigma = 0.5 * (1 / zoom**2 - 1) ** 0.5
        image = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return cv2.warpAffine(
        image,
        matrix,
        (size[1], size[0]),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=tuple(float(round(value)) for value in fill),
    )


def training_items(
    images: BoxedImages,
    *,
    batch_size: int,
    crop: tuple[int, int],
    resize: tuple[int, int] | None,
    scale: tuple[float, float],
    hflip: float,
    visible: float,
    fill: Sequence[float],
    seed: int,
    step: int,
    colour: Photometric | None = None,
) -> list[BoxedImage]:
    """The crops of one step, all of the size ``crop``.

    Args:
        images: to learn from.
        batch_size: how many.
        crop, scale, hflip: see ``draw_window``; ``visible`` and ``fill``: see ``cut``.
        resize: (H, W) within which an image fits at scale 1; None = its own size.
        seed, step: what all that is drawn depends on. ``colour`` is drawn from a stream of its
            own: switching it on moves no crop.
        colour: colour augmentation, or None.
    """
    items = []
    for slot, position in enumerate(batch_positions(len(images), batch_size, step, seed)):
        item = images[position]
        shape = (item.image.shape[0], item.image.shape[1])
        base, generator = fitting_scale(shape, resize), rng(seed, _CROP, step, slot)
        window = draw_window(shape, crop, base, scale, hflip, generator)
        item = cut(item, window, crop, visible, fill)
        if colour is not None:
            drawn = draw_colour(colour, crop, rng(seed, _COLOUR, step, slot))
            item = replace(item, image=apply_colour(item.image, drawn))
        items.append(item)
    return items


def fitting_scale(shape: tuple[int, int], resize: tuple[int, int] | None) -> float:
    """By how much an image grows to fit into (H, W) with its aspect kept."""
    return 1.0 if resize is None else min(resize[0] / shape[0], resize[1] / shape[1])
