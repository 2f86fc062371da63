"""ScanNet's recordings: a ``.sens`` file, or the folders that its reader exports."""

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
    Picture,
    Rig,
    folders_below,
    no_intrinsics,
    read_depth,
    read_intrinsics,
    read_matrix,
)
from pointcl.data.image_size import image_size
from pointcl.data.sens import SensFile
from pointcl.data.unprojection import pinhole

_PARTS = ("color", "depth", "pose")


class Exported(FrameSequence):
    """``color/0.jpg``, ``depth/0.png`` (mm), ``pose/0.txt``, ``intrinsic/intrinsic_*.txt``.

    The frames of the benchmark's own excerpt, with ``intrinsics_color.txt`` and
    ``intrinsics_depth.txt`` beside the folders, are read too.

    Args:
        folder: of the scene.
        intrinsics: (3, 3) of the depth images, instead of the file.

    Raises:
        UsageError: there are no intrinsics.
    """

    def __init__(self, folder: Path, intrinsics: np.ndarray | None = None) -> None:
        names = [path.stem for path in (folder / "depth").glob("*.png")]
        super().__init__(folder, sorted(names, key=lambda name: (len(name), name)))
        self._ending = ".png" if any((folder / "color").glob("*.png")) else ".jpg"
        with at_start():
            depth = _intrinsics(folder, "depth") if intrinsics is None else intrinsics
            self.rig = Rig(depth, _intrinsics(folder, "color"), 1000.0)
            for name in ("color", "depth"):
                file = folder / "intrinsic" / f"extrinsic_{name}.txt"
                if file.is_file():
                    _require_one_place(read_matrix(file), file)

    def depth(self, frame: int) -> np.ndarray:
        """Depth image of a frame."""
        return read_depth(self._file("depth", frame, ".png"))

    def colour(self, frame: int) -> Path:
        """Colour image of a frame."""
        return self._file("color", frame, self._ending)

    def colour_size(self, frame: int) -> tuple[int, int]:
        """Size of the colour image."""
        return image_size(self.colour(frame))

    def pose(self, frame: int) -> np.ndarray:
        """Pose of a frame as its file has it."""
        return read_matrix(self._file("pose", frame, ".txt"))

    def files(self, frames: Sequence[int]) -> list[Path]:
        """Depth images."""
        return [self._file("depth", frame, ".png") for frame in frames]

    def _file(self, part: str, frame: int, ending: str) -> Path:
        return self.folder / part / f"{self.names[frame]}{ending}"


class Recorded(FrameSequence):
    """The frames of a ``.sens`` file.

    Args:
        path: the file.
        intrinsics: (3, 3) of the depth images, instead of the file's.

    Raises:
        UsageError: the file cannot be opened.
    """

    def __init__(self, path: Path, intrinsics: np.ndarray | None = None) -> None:
        with at_start():
            self._sens = SensFile(path)
            for matrix in (self._sens.colour_extrinsics, self._sens.depth_extrinsics):
                _require_one_place(matrix, path)
        super().__init__(path.parent, [f"{frame:06d}" for frame in range(len(self._sens))])
        depth, colour = self._sens.depth_intrinsics, self._sens.colour_intrinsics
        own = pinhole(depth[0, 0], depth[1, 1], depth[0, 2], depth[1, 2])
        self.rig = Rig(
            own if intrinsics is None else intrinsics,
            pinhole(colour[0, 0], colour[1, 1], colour[0, 2], colour[1, 2]),
            float(self._sens.depth_shift),
        )

    def depth(self, frame: int) -> np.ndarray:
        """Depth image of a frame."""
        return self._sens.depth(frame)

    def colour(self, frame: int) -> Picture:
        """What decodes the colour image of a frame."""
        return partial(self._sens.colour, frame)

    def colour_size(self, frame: int) -> tuple[int, int]:
        """Size of the colour images."""
        return self._sens.colour_size

    def pose(self, frame: int) -> np.ndarray:
        """Pose of a frame as recorded."""
        return self._sens.poses[frame].astype(np.float64)

    def timestamp(self, frame: int) -> float | None:
        """Time of the depth image, where the file has it."""
        microseconds = int(self._sens.timestamps[frame, 1])
        return microseconds * 1e-6 if microseconds else None

    def files(self, frames: Sequence[int]) -> list[Path]:
        """The recording."""
        return [self._sens.path]


def find(root: Path, intrinsics: np.ndarray | None) -> Found:
    """Scenes below a folder; one that is exported and recorded is read as exported."""

    def holds(folder: str, children: list[str], files: list[str]) -> bool:
        return set(_PARTS) <= set(children) or any(name.endswith(".sens") for name in files)

    for folder in folders_below(root, holds):
        if all((folder / part).is_dir() for part in _PARTS):
            yield folder, partial(Exported, folder, intrinsics)
            continue
        for path in sorted(folder.glob("*.sens")):
            place = folder if folder.name == path.stem else path.with_suffix("")
            yield place, partial(Recorded, path, intrinsics)


def _intrinsics(folder: Path, which: str) -> np.ndarray:
    inside, beside = f"intrinsic/intrinsic_{which}.txt", f"intrinsics_{which}.txt"
    for name in (inside, beside):
        if (folder / name).is_file():
            return read_intrinsics(folder / name)
    raise no_intrinsics(folder, f"{inside} or {beside}", "and export the colour camera's too")


def _require_one_place(extrinsics: np.ndarray, path: Path) -> None:
    if not np.allclose(extrinsics, np.eye(4), atol=1e-3):
        raise UnreadableFileError(
            path, "its cameras do not look from one place (extrinsics are not the identity)"
        )
