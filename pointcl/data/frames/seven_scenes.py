"""7-Scenes: ``frame-000000.{color,depth,pose}.*`` in one folder per sequence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from pointcl.data.checks import at_start
from pointcl.data.frames.sequence import (
    Found,
    FrameSequence,
    Rig,
    folders_below,
    no_intrinsics,
    read_depth,
    read_intrinsics,
    read_matrix,
)
from pointcl.data.image_size import image_size

_DEPTH = ".depth.png"
_COLOUR = (".color.png", ".color.jpg")
_INTRINSICS = "camera-intrinsics.txt"


class SevenScenes(FrameSequence):
    """A sequence of 7-Scenes. Depth in millimetres; one set of intrinsics for both cameras.

    The data set gives its depth and colour cameras no common calibration: colours are those of the
    same pixel, a few pixels off at depth edges.

    Args:
        folder: of the frames.
        root: of the data set; ``camera-intrinsics.txt`` is looked for from the folder up to it.
        intrinsics: (3, 3), instead of that file.

    Raises:
        UsageError: there are no intrinsics.
    """

    def __init__(self, folder: Path, root: Path, intrinsics: np.ndarray | None = None) -> None:
        names = [path.name.removesuffix(_DEPTH) for path in folder.glob(f"*{_DEPTH}")]
        super().__init__(folder, sorted(names))
        if intrinsics is None:
            with at_start():
                intrinsics = read_intrinsics(_find_intrinsics(folder, root))
        self.rig = Rig(intrinsics, intrinsics, 1000.0)

    def depth(self, frame: int) -> np.ndarray:
        """Depth image of a frame."""
        return read_depth(self._file(frame, _DEPTH))

    def colour(self, frame: int) -> Path | None:
        """Colour image of a frame."""
        for ending in _COLOUR:
            if (path := self._file(frame, ending)).exists():
                return path
        return None

    def colour_size(self, frame: int) -> tuple[int, int]:
        """Size of the colour image."""
        path = self.colour(frame)
        if path is None:
            raise UnreadableFileError(self._file(frame, _COLOUR[0]), "No such file or directory")
        return image_size(path)

    def pose(self, frame: int) -> np.ndarray:
        """Pose of a frame as its file has it."""
        return read_matrix(self._file(frame, ".pose.txt"))

    def files(self, frames: Sequence[int]) -> list[Path]:
        """Depth images."""
        return [self._file(frame, _DEPTH) for frame in frames]

    def _file(self, frame: int, ending: str) -> Path:
        return self.folder / f"{self.names[frame]}{ending}"


def find(root: Path, intrinsics: np.ndarray | None) -> Found:
    """Sequences below a folder."""

    def holds(folder: str, children: list[str], files: list[str]) -> bool:
        return any(name.endswith(_DEPTH) for name in files)

    for folder in folders_below(root, holds):
        yield folder, partial(SevenScenes, folder, root, intrinsics)


def _find_intrinsics(folder: Path, root: Path) -> Path:
    for place in (folder, *folder.parents):
        if (file := place / _INTRINSICS).is_file():
            return file
        if place == root:
            break
    example = "for 7-Scenes (585, 585, 320, 240)"
    raise no_intrinsics(folder, f"{_INTRINSICS} there or above", example)
