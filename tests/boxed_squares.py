"""Coloured squares with their boxes: what the smallest detector can learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from densecl.data.boxes import BoxedImage


@dataclass
class Squares:
    """A red and a blue square, some images with one of them alone, on grey noise."""

    count: int
    size: tuple[int, int] = (64, 64)
    seed: int = 0
    classes = ("red", "blue")

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"squares{self.seed}/{index:03d}"

    def __getitem__(self, index: int) -> BoxedImage:
        generator = np.random.default_rng([self.seed, index])
        image = generator.integers(90, 140, (*self.size, 3)).astype(np.uint8)
        boxes, labels = [], []
        for label, colour in enumerate(((220, 30, 30), (30, 30, 220))):
            if index % 4 == label + 1:
                continue
            side = int(generator.integers(14, 20))
            x = int(generator.integers(0, self.size[1] // 2 - side)) + label * self.size[1] // 2
            y = int(generator.integers(0, self.size[0] - side))
            image[y : y + side, x : x + side] = colour
            boxes.append((x, y, x + side, y + side))
            labels.append(label)
        return boxed(image, boxes, labels, name=self.name(index))


def boxed(image: np.ndarray, boxes: Any, labels: Any, name: str = "x", **more: Any) -> BoxedImage:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    none = np.zeros(len(boxes), bool)
    return BoxedImage(
        image=image,
        boxes=boxes,
        labels=np.array(labels, np.int64),
        ignore=more.get("ignore", none),
        crowd=more.get("crowd", none),
        area=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        name=name,
    )
