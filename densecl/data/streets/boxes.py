"""``StreetsBoxes``: the moving objects of the embedded world, for detection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densecl.data.boxes import BoxedImage
from densecl.data.streets.classes import CLASSES
from densecl.data.streets.dataset import Streets
from densecl.data.streets.splits import WORLD_VERSION
from densecl.errors import UsageError
from densecl.registry import DATASETS


@DATASETS.register_module()
class StreetsBoxes:
    """Frames of ``Streets`` with the boxes of what is visible of each object.

    An object whose box is short of ``side`` pixels, or of which fewer than ``share`` of the box's
    pixels are visible, is ignored: it is neither asked for nor background.

    Args:
        classes: which of the world's classes; the id of an object is its class's position here.
        side: least width and height of a box that is asked for, pixels.
        share: least share of the box that shows the object.
        split, length, size, seed, cache, subset: see ``Streets``.

    Raises:
        UsageError: a class that the world has not, or that is no object.
    """

    version = WORLD_VERSION

    def __init__(
        self,
        split: str = "train",
        classes: Sequence[str] = ("car", "pedestrian", "bicyclist"),
        side: float = 4.0,
        share: float = 0.2,
        length: int | None = None,
        size: tuple[int, int] = (120, 160),
        seed: int = 0,
        cache: str | Path | bool | None = None,
        subset: float | str | Path | Sequence[str] | None = None,
    ) -> None:
        unknown = [name for name in classes if name not in CLASSES]
        if unknown or not classes:
            raise UsageError(
                f"data.classes: {', '.join(unknown) or 'none'}",
                needed=f"some of {', '.join(CLASSES)}",
            )
        self.classes, self.side, self.share = tuple(classes), side, share
        self.streets = Streets(split, length, size, 1, seed, cache, subset)

    def __len__(self) -> int:
        return len(self.streets)

    def name(self, index: int) -> str:
        """Name of the frame, as ``Streets`` has it."""
        return self.streets.name(index)

    def fingerprint(self) -> str:
        """Hash of the frames and of what is asked for."""
        return f"{self.streets.fingerprint()}, {self.classes}, {self.side:g}, {self.share:g}"

    def __getitem__(self, index: int) -> BoxedImage:
        """A frame with its boxes, by ascending instance id."""
        frame = self.streets[index].frames[0]
        position = np.full(256, -1)
        position[[CLASSES.index(name) for name in self.classes]] = range(len(self.classes))
        instance, label = frame.maps["instance"], position[frame.maps["label"]]
        shown = (instance >= 0) & (label >= 0)
        row, column = np.nonzero(shown)
        ids, inverse, pixels = np.unique(instance[shown], return_inverse=True, return_counts=True)
        boxes = np.empty((len(ids), 4), np.float32)
        for low, high, place in ((0, 2, column), (1, 3, row)):
            boxes[:, low] = np.inf
            boxes[:, high] = -np.inf
            np.minimum.at(boxes[:, low], inverse, place)
            np.maximum.at(boxes[:, high], inverse, place + 1)
        labels = np.zeros(len(ids), np.int64)
        labels[inverse] = label[shown]
        sides = boxes[:, 2:] - boxes[:, :2]
        ignore = (sides.min(axis=1, initial=np.inf) < self.side) | (
            pixels < self.share * sides.prod(axis=1)
        )
        return BoxedImage(
            image=frame.image,
            boxes=boxes,
            labels=labels,
            ignore=ignore,
            crowd=np.zeros(len(ids), bool),
            area=pixels.astype(np.float32),
            name=self.name(index),
        )
