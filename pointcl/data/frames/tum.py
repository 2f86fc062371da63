"""The TUM RGB-D benchmark: ``rgb.txt``, ``depth.txt`` and ``groundtruth.txt``, joined by time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from pointcl.data.checks import at_start, read_text
from pointcl.data.frames.sequence import (
    Found,
    FrameSequence,
    Rig,
    folders_below,
    no_intrinsics,
    read_depth,
    read_intrinsics,
)
from pointcl.data.image_size import image_size
from pointcl.data.unprojection import pinhole
from pointcl.sensors.pose import pose_from_quaternion

TOLERANCE = 0.02
"""Seconds between a depth image and what belongs to it, as in the benchmark's own tool."""

_KNOWN = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
}
_INTRINSICS = "camera-intrinsics.txt"


class Tum(FrameSequence):
    """A sequence of the TUM benchmark. 5000 depth values per metre, registered to the colour image.

    Each depth image takes the colour image and the pose nearest in time, within 0.02 s. The lens's
    distortion is left out, in the points and in the camera alike.

    Args:
        folder: of the sequence.
        intrinsics: (3, 3); None = ``camera-intrinsics.txt`` in the folder, else the benchmark's
            calibration by "freiburg1", 2 or 3 in the folder's name.

    Raises:
        UsageError: a list is missing or damaged, or there are no intrinsics.
    """

    def __init__(self, folder: Path, intrinsics: np.ndarray | None = None) -> None:
        with at_start():
            self._time, depth = _read_list(folder / "depth.txt")
            colour_time, colour = _read_list(folder / "rgb.txt")
            self._pose_time, self._poses = _read_trajectory(folder / "groundtruth.txt")
        super().__init__(folder, [Path(file).stem for file in depth])
        self._depth = depth
        nearest = associate(self._time, colour_time)
        self._colour = [colour[row] if row >= 0 else None for row in nearest]
        self._pose = associate(self._time, self._pose_time)
        intrinsics = _intrinsics(folder) if intrinsics is None else intrinsics
        self.rig = Rig(intrinsics, intrinsics, 5000.0)

    def depth(self, frame: int) -> np.ndarray:
        """Depth image of a frame."""
        return read_depth(self.folder / self._depth[frame])

    def colour(self, frame: int) -> Path | None:
        """Colour image nearest in time."""
        name = self._colour[frame]
        return None if name is None else self.folder / name

    def colour_size(self, frame: int) -> tuple[int, int]:
        """Size of the colour image."""
        path = self.colour(frame)
        if path is None:
            raise UnreadableFileError(self.folder / self._depth[frame], "no colour within 0.02 s")
        return image_size(path)

    def pose(self, frame: int) -> np.ndarray | None:
        """Pose nearest in time, None where the trajectory has a gap."""
        row = self._pose[frame]
        if row < 0:
            return None
        x, y, z, qx, qy, qz, qw = self._poses[row]
        try:
            return pose_from_quaternion((qw, qx, qy, qz), (x, y, z))
        except ValueError as error:
            path = self.folder / "groundtruth.txt"
            raise UnreadableFileError(path, f"time {self._pose_time[row]}: {error}") from error

    def timestamp(self, frame: int) -> float:
        """Time of the depth image."""
        return float(self._time[frame])

    def files(self, frames: Sequence[int]) -> list[Path]:
        """Lists and depth images."""
        lists = [self.folder / name for name in ("rgb.txt", "depth.txt", "groundtruth.txt")]
        return lists + [self.folder / self._depth[frame] for frame in frames]


def find(root: Path, intrinsics: np.ndarray | None) -> Found:
    """Sequences below a folder."""
    for folder in folders_below(root, lambda folder, children, files: "depth.txt" in files):
        yield folder, partial(Tum, folder, intrinsics)


def associate(times: np.ndarray, others: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray:
    """Row of ``others`` nearest to each time, -1 where none is within ``tolerance``.

    Args:
        times: (N,) seconds.
        others: (M,) seconds in any order; M may be 0.
        tolerance: seconds.

    Returns:
        (N,) int64; the earlier one on ties.
    """
    if not len(others):
        return np.full(len(times), -1, np.int64)
    order = np.argsort(others, kind="stable")
    ordered = others[order]
    after = np.searchsorted(ordered, times).clip(0, len(others) - 1)
    before = (after - 1).clip(0)
    earlier = np.abs(times - ordered[before]) <= np.abs(ordered[after] - times)
    nearest = np.where(earlier, before, after)
    near = np.abs(ordered[nearest] - times) <= tolerance
    return np.where(near, order[nearest], -1)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.replace(",", " ").split()
        if words and not words[0].startswith("#"):
            yield number, words


def _read_list(path: Path) -> tuple[np.ndarray, list[str]]:
    times, files = [], []
    for number, words in _lines(path):
        try:
            time, file = words
            times.append(float(time))
        except ValueError as error:
            raise UnreadableFileError(path, f"line {number}: not `time file`") from error
        files.append(file)
    if not files:
        raise UnreadableFileError(path, "it lists no image")
    return np.array(times), files


def _read_trajectory(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(M,) seconds and (M, 7) x, y, z, qx, qy, qz, qw; none where there is no such file."""
    rows = []
    if path.exists():
        for number, words in _lines(path):
            try:
                rows.append([float(word) for word in words])
            except ValueError as error:
                raise UnreadableFileError(path, f"line {number}: {error}") from error
            if len(rows[-1]) != 8 or not np.isfinite(rows[-1]).all():
                reason = f"line {number}: not `time x y z qx qy qz qw`"
                raise UnreadableFileError(path, reason)
    table = np.array(rows, np.float64).reshape(len(rows), 8)
    return table[:, 0], table[:, 1:]


def _intrinsics(folder: Path) -> np.ndarray:
    file = folder / _INTRINSICS
    if file.is_file():
        with at_start():
            return read_intrinsics(file)
    for name, values in _KNOWN.items():
        if name in folder.resolve().name:
            return pinhole(*values)
    example = "e.g. (525, 525, 319.5, 239.5)"
    raise no_intrinsics(folder, f"{_INTRINSICS}, nor freiburg1, 2 or 3 in its name", example)
