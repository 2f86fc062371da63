"""Images with the boxes of their objects: the item, and what the readers share.

A box is (x0, y0, x1, y1) in pixels, its edges and not the indices of its corner pixels: the box of
the pixel in row r and column c is (c, r, c + 1, r + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from densecl.data.base import FileDataset, fingerprint_files
from densecl.data.decode import read_rgb
from densecl.data.names import Names
from densecl.errors import UsageError

_SHOWN = 8


@dataclass(frozen=True)
class BoxedImage:
    """One image and its objects.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        boxes: (G, 4) float32.
        labels: (G,) int64 class ids.
        ignore: (G,) bool: neither asked for nor counted as background, as an object too hard or
            too small.
        crowd: (G,) bool: an ignored region with any number of objects in it.
        area: (G,) float32, square pixels of the objects, where known those of their masks.
        name: the path or key, for messages.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    name: str

    def __post_init__(self) -> None:
        count = len(self.boxes)
        columns = (self.labels, self.ignore, self.crowd, self.area)
        if self.boxes.shape != (count, 4) or any(each.shape != (count,) for each in columns):
            raise ValueError(
                f"{self.name}: boxes {self.boxes.shape}, columns {[c.shape for c in columns]}"
            )


@dataclass(frozen=True)
class BoxTable:
    """The boxes of all images of a data set in a few arrays, shared between workers.

    Attributes:
        offsets: (N + 1,) int64: image i has the rows ``offsets[i]:offsets[i + 1]``.
        boxes, labels, ignore, crowd, area: see ``BoxedImage``.
    """

    offsets: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray
    crowd: np.ndarray
    area: np.ndarray

    @classmethod
    def of(cls, images: Sequence[Sequence[BoxRow]]) -> BoxTable:
        """From the rows of each image."""
        rows = [row for image in images for row in image]
        boxes = np.array([row.box for row in rows], np.float32).reshape(-1, 4)
        areas = [
            (x1 - x0) * (y1 - y0) if row.area is None else row.area
            for row in rows
            for x0, y0, x1, y1 in [row.box]
        ]
        return cls(
            np.cumsum([0, *(len(image) for image in images)], dtype=np.int64),
            boxes,
            np.array([row.label for row in rows], np.int64),
            np.array([row.ignore for row in rows], bool),
            np.array([row.crowd for row in rows], bool),
            np.array(areas, np.float32),
        )

    def item(self, index: int, image: np.ndarray, name: str) -> BoxedImage:
        """Image ``index`` with its boxes."""
        part = slice(self.offsets[index], self.offsets[index + 1])
        return BoxedImage(
            image=image,
            boxes=self.boxes[part],
            labels=self.labels[part],
            ignore=self.ignore[part],
            crowd=self.crowd[part],
            area=self.area[part],
            name=name,
        )

    def digest(self) -> str:
        """A hash of all of it."""
        state = blake2b(digest_size=16)
        for each in (self.offsets, self.boxes, self.labels, self.ignore, self.crowd, self.area):
            state.update(each.tobytes())
        return state.hexdigest()


@dataclass(frozen=True)
class BoxRow:
    """One object as a reader finds it; see ``BoxedImage``. Without ``area`` that of the box."""

    box: tuple[float, float, float, float]
    label: int
    ignore: bool = False
    crowd: bool = False
    area: float | None = None


class BoxDataset(FileDataset[BoxedImage]):
    """Image files whose boxes were read before.

    Args:
        root: folder of the images.
        names: of the samples.
        files: of the images, below ``root``.
        table: their boxes.
        classes: names of the classes, in the order of their ids.
        on_error: "raise" or "skip", see ``FileDataset``.
    """

    def __init__(
        self,
        root: Path,
        names: Names,
        files: Names,
        table: BoxTable,
        classes: Sequence[str],
        on_error: str = "raise",
    ) -> None:
        self.root, self.table, self.classes = root, table, tuple(classes)
        self._names, self._files = names, files
        super().__init__(len(names), on_error)

    def name(self, index: int) -> str:
        """Name of a sample."""
        return self._names[index]

    def load(self, index: int) -> BoxedImage:
        """Read one image.

        Raises:
            UnreadableFileError: it cannot be read.
        """
        image = read_rgb(self.root / self._files[index])
        return self.table.item(index, image, self.name(index))

    def fingerprint(self) -> str:
        """Hash of the names, some file sizes, the classes and all boxes."""
        return fingerprint_files(self.root, self._files, (self.classes, self.table.digest()))


def clip_box(
    box: tuple[float, float, float, float], width: float, height: float
) -> tuple[float, float, float, float]:
    """The part of a box inside an image."""
    x0, x1 = (min(max(x, 0.0), width) for x in (box[0], box[2]))
    y0, y1 = (min(max(y, 0.0), height) for y in (box[1], box[3]))
    return x0, y0, x1, y1


def check_degenerate(found: Sequence[str], where: Path, degenerate: str) -> None:
    """Refuse boxes without area unless they are to be left out.

    Args:
        found: a description of each.
        where: what they stand in.
        degenerate: "raise" or "drop".

    Raises:
        UsageError: there are some and they are not to be left out; or another word.
    """
    if degenerate not in ("raise", "drop"):
        raise UsageError(f"data.degenerate={degenerate!r}", needed='"raise" or "drop"')
    if found and degenerate == "raise":
        more = ", ..." if len(found) > _SHOWN else ""
        raise UsageError(
            f"{len(found)} boxes without area in {where}: {'; '.join(found[:_SHOWN])}{more}",
            needed="x0 < x1 and y0 < y1, inside the image",
            fix='correct the file, or leave these boxes out with data.degenerate="drop"',
        )
