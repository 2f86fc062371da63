"""Labelled images as arrays, and the crops that fine-tuning sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from densecl.data.sample import Sample
from densecl.data.seeding import rng
from densecl.diagnostics.segmentation_metrics import IGNORE
from densecl.errors import UsageError
from densecl.transfer.selection import Selection, batch_positions, root_weights
from densecl.views.photometric import Photometric, apply_colour, draw_colour

__all__ = ["LabelledDataset", "LabelledImages", "batch_positions", "class_weights", "random_crop"]

_CROP, _COLOUR = 12, 13  # streams of one seed, beside the order of ``batch_positions``


class LabelledDataset(Protocol):
    """Anything that yields samples whose first frame has a ``label`` map."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...

    def name(self, index: int, /) -> str:
        """Stable name of an item."""
        ...


class LabelledImages(Selection[tuple[np.ndarray, np.ndarray]]):
    """The images of a data set at the indices given: (H, W, 3) uint8 and (H0, W0) uint8 labels.

    Args:
        dataset: yields samples with ``maps["label"]``.
        indices, cache_bytes: see ``Selection``.
        resize: (H, W) that images are resized to, or None. Labels keep their own size in
            ``__getitem__``; ``training_pair`` resizes both.

    Raises:
        UsageError: the selection is empty.
    """

    what = "image"

    def __init__(
        self,
        dataset: LabelledDataset,
        indices: Sequence[int] | None = None,
        *,
        resize: tuple[int, int] | None = None,
        cache_bytes: int = 1 << 30,
    ) -> None:
        super().__init__(dataset, indices, cache_bytes)
        self.resize = resize

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and label map.

        Raises:
            UsageError: the sample carries no label map.
        """
        sample = self.dataset[index]
        frame = sample.frames[0]
        if "label" not in frame.maps:
            raise UsageError(
                f"{sample.name} carries no label map",
                needed='a data set whose frames hold maps["label"]',
                fix="use a labelled data set or split for transfer",
            )
        image, label = frame.image, frame.maps["label"]
        if self.resize is not None and image.shape[:2] != self.resize:
            image = _resize_image(image, self.resize)
        return np.ascontiguousarray(image), np.ascontiguousarray(label.astype(np.uint8))

    def size_of(self, item: tuple[np.ndarray, np.ndarray]) -> int:
        """Bytes of both arrays."""
        return item[0].nbytes + item[1].nbytes

    def training_pair(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and label map of one common size."""
        image, label = self[position]
        if label.shape != image.shape[:2]:
            size = (image.shape[1], image.shape[0])
            label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST_EXACT)
        return image, label


def _resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = size[0] < image.shape[0] or size[1] < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (size[1], size[0]), interpolation=method)


def random_crop(
    image: np.ndarray,
    label: np.ndarray,
    crop: tuple[int, int],
    scale: tuple[float, float],
    hflip: float,
    generator: np.random.Generator,
    fill: Sequence[float] = (124, 116, 104),
) -> tuple[np.ndarray, np.ndarray]:
    """Random scale, random crop, random flip; padding is ignored by the loss.

    Args:
        image: (H, W, 3) uint8.
        label: (H, W) uint8.
        crop: (h, w) of the result.
        scale: range of the zoom, drawn log-uniformly; 2 means objects twice as large.
        hflip: probability of a left-right flip.
        generator: the only source of randomness.
        fill: colour of padding where the image is smaller than the crop.

    Returns:
        (h, w, 3) uint8 and (h, w) uint8.
    """
    zoom = float(np.exp(generator.uniform(np.log(scale[0]), np.log(scale[1]))))
    # the same box is cut from image and label in source pixels, then resized once
    box = [max(1, round(side / zoom)) for side in crop]
    start = [
        int(generator.integers(0, abs(have - want) + 1)) * (1 if have >= want else -1)
        for have, want in zip(label.shape, box, strict=True)
    ]
    flip = generator.random() < hflip
    image = _cut(image, start, box, fill)
    label = _cut(label, start, box, IGNORE)
    size = (crop[1], crop[0])
    image = _resize_image(image, crop)
    label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST_EXACT)
    if flip:
        image, label = image[:, ::-1], label[:, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(label)


def _cut(
    source: np.ndarray, start: Sequence[int], box: Sequence[int], fill: Sequence[float] | int
) -> np.ndarray:
    """The box [start, start + box) of ``source``; ``fill`` where it lies outside."""
    (top, left), (height, width) = start, box
    bottom, right = top + height, left + width
    inside = source[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    if inside.shape[:2] == (height, width):
        return inside
    out = np.empty((height, width, *source.shape[2:]), source.dtype)
    out[...] = np.asarray(fill, dtype=source.dtype)
    y, x = max(0, -top), max(0, -left)
    out[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return out


def training_batch(
    images: LabelledImages,
    *,
    batch_size: int,
    crop: tuple[int, int],
    scale: tuple[float, float],
    hflip: float,
    fill: Sequence[float],
    seed: int,
    step: int,
    colour: Photometric | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The batch of one step: (B, h, w, 3) uint8 and (B, h, w) uint8.

    ``colour`` is drawn from a stream of its own: switching it on moves no crop.
    """
    pairs = []
    for slot, position in enumerate(batch_positions(len(images), batch_size, step, seed)):
        image, label = images.training_pair(position)
        generator = rng(seed, _CROP, step, slot)
        cut, ids = random_crop(image, label, crop, scale, hflip, generator, fill)
        if colour is not None:
            cut = apply_colour(cut, draw_colour(colour, crop, rng(seed, _COLOUR, step, slot)))
        pairs.append((cut, ids))
    return np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])


def class_weights(images: LabelledImages, num_classes: int, ignore: int = IGNORE) -> np.ndarray:
    """Inverse root frequency of each class among the labelled pixels.

    Returns:
        (L,) float32 with mean 1 over the classes that occur; 0 for those that do not.
    """
    count = np.zeros(num_classes)
    for position in range(len(images)):
        label = images[position][1]
        count += np.bincount(label[label != ignore].ravel(), minlength=num_classes)
    return root_weights(count)
