"""Labelled images as arrays, and the crops that fine-tuning sees.

Every random choice is a function of (seed, step): two runs with the same seed see the same
crops in the same order, whatever the row of the table, so that rows differ by weights alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from densecl.data.sample import Sample
from densecl.data.seeding import rng
from densecl.diagnostics.segmentation_metrics import IGNORE
from densecl.errors import UsageError
from densecl.views.photometric import Photometric, apply_colour, draw_colour

_ORDER, _CROP, _COLOUR = 11, 12, 13  # streams of one seed


class LabelledDataset(Protocol):
    """Anything that yields samples whose first frame has a ``label`` map."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...

    def name(self, index: int, /) -> str:
        """Stable name of an item."""
        ...


class LabelledImages:
    """The images of a data set at the indices given, decoded once while they fit.

    Args:
        dataset: yields samples with ``maps["label"]``.
        indices: which items, in order; None = all.
        resize: (H, W) that images are resized to, or None. Labels keep their own size in
            ``__getitem__``; ``training_pair`` resizes both.
        cache_bytes: decoded arrays are kept until this many bytes are used, then decoded anew
            at each access.

    Raises:
        UsageError: the selection is empty.
    """

    def __init__(
        self,
        dataset: LabelledDataset,
        indices: Sequence[int] | None = None,
        *,
        resize: tuple[int, int] | None = None,
        cache_bytes: int = 1 << 30,
    ) -> None:
        self.dataset = dataset
        self.indices = list(range(len(dataset)) if indices is None else indices)
        if not self.indices:
            raise UsageError("no labelled image selected", fix="check the subset file and split")
        self.resize = resize
        self._room = cache_bytes
        self._cache: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, position: int) -> str:
        """Name of the image at ``position`` of the selection."""
        return self.dataset.name(self.indices[position])

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) uint8 and label map (H0, W0) uint8.

        Raises:
            UsageError: the sample carries no label map.
        """
        if position in self._cache:
            return self._cache[position]
        sample = self.dataset[self.indices[position]]
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
        pair = (np.ascontiguousarray(image), np.ascontiguousarray(label.astype(np.uint8)))
        size = pair[0].nbytes + pair[1].nbytes
        if size <= self._room:
            self._room -= size
            self._cache[position] = pair
        return pair

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


def batch_positions(count: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Positions of one training batch: shuffled passes over ``count`` items, laid end to end.

    Args:
        count: number of training images; may be smaller than the batch.
        batch_size: items per step.
        step: from 0.
        seed: of the run.
    """
    positions = []
    for place in range(step * batch_size, (step + 1) * batch_size):
        epoch, offset = divmod(place, count)
        positions.append(int(rng(seed, _ORDER, epoch).permutation(count)[offset]))
    return positions


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
    seen = count > 0
    weight = np.where(seen, 1 / np.sqrt(np.maximum(count, 1)), 0.0)
    return (weight * seen.sum() / max(weight.sum(), 1e-12)).astype(np.float32)
