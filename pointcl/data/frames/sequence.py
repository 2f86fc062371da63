"""One recording of an RGB-D camera, whatever its layout on disk."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError, read_ids
from densecl.data.names import Names
from densecl.errors import UsageError
from pointcl.data.checks import read_text
from pointcl.data.unprojection import pinhole

Picture = Path | Callable[[], np.ndarray]
Found = Iterator[tuple[Path, Callable[[], "FrameSequence"]]]
"""The folders of recordings, and what opens each."""


@dataclass(frozen=True)
class Rig:
    """Calibration of the depth and the colour camera, which look from one place.

    Attributes:
        depth: (3, 3) intrinsics of the depth images, pixel centres at halves.
        colour: (3, 3) intrinsics of the colour images.
        scale: depth values per metre.
    """

    depth: np.ndarray
    colour: np.ndarray
    scale: float


class FrameSequence(ABC):
    """Frames of one recording; a layout says where their parts lie.

    Args:
        folder: of the recording.
        names: of the frames, in order.

    Attributes:
        names: of the frames.
        rig: its calibration.
    """

    rig: Rig

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, Names.of(names)

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def depth(self, frame: int) -> np.ndarray:
        """(H, W) uint16 depth values, 0 or 65535 = none."""

    @abstractmethod
    def colour(self, frame: int) -> Picture | None:
        """The colour image, or None where the recording has none."""

    @abstractmethod
    def colour_size(self, frame: int) -> tuple[int, int]:
        """(H, W) of the colour image."""

    @abstractmethod
    def pose(self, frame: int) -> np.ndarray | None:
        """(4, 4) float64 camera -> world as recorded, maybe not finite; None = none recorded."""

    @abstractmethod
    def files(self, frames: Sequence[int]) -> list[Path]:
        """What these frames are read from, for a fingerprint."""

    def timestamp(self, frame: int) -> float | None:
        """Seconds, or None."""
        return None


def read_depth(path: Path) -> np.ndarray:
    """(H, W) uint16 depth image.

    Raises:
        UnreadableFileError: missing, damaged, or no image of 16 bits.
    """
    depth = read_ids(path)
    if depth.ndim != 2 or depth.dtype != np.uint16:
        raise UnreadableFileError(path, f"{depth.shape} {depth.dtype}, not (H, W) uint16 depth")
    return depth


def read_matrix(path: Path) -> np.ndarray:
    """(3, 3) or (4, 4) float64 of a text file; its numbers may be infinite or NaN.

    Raises:
        UnreadableFileError: missing, empty, or not 9 or 16 numbers.
    """
    words = read_text(path).split()
    side = {9: 3, 16: 4}.get(len(words))
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise UnreadableFileError(path, str(error)) from error
    if side is None:
        raise UnreadableFileError(path, f"{len(words)} numbers, a matrix has 9 or 16")
    return values.reshape(side, side)


def read_intrinsics(path: Path) -> np.ndarray:
    """(3, 3) intrinsics with pixel centres at halves, of a file with whole centres.

    Raises:
        UnreadableFileError: missing, no matrix, or not a pinhole's.
    """
    matrix = read_matrix(path)
    if not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise UnreadableFileError(path, f"no intrinsics of a camera:\n{matrix}")
    return pinhole(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])


def no_intrinsics(folder: Path, looked_for: str, example: str) -> UsageError:
    """The error for a recording whose calibration is not there."""
    return UsageError(
        f"no intrinsics for {folder}: no {looked_for}",
        needed="focal lengths and principal point of the depth camera, in pixels",
        fix=f"add the file, or set data.intrinsics=(fx, fy, cx, cy), {example}",
    )


def folders_below(root: Path, holds: Callable[[str, list[str], list[str]], bool]) -> Iterator[Path]:
    """Folders that are recordings, ``root`` included, in no order; none inside another.

    Args:
        root: where to look; links are followed, each folder once.
        holds: whether a folder, by its path, sub-folders and files, is one.
    """
    seen: set[tuple[int, int]] = set()
    for folder, children, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            children.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        if holds(folder, children, files):
            children.clear()
            yield Path(folder)
        children[:] = [child for child in children if not child.startswith(".")]
