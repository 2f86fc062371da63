"""Frames of a moving RGB-D camera as scans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

from densecl.data.base import fingerprint_files, require_folder
from densecl.data.decode import UnreadableFileError, read_rgb
from densecl.data.names import Names
from densecl.errors import UsageError
from pointcl.data.base import ScanDataset, read_names
from pointcl.data.checks import require_rigid
from pointcl.data.folder import natural
from pointcl.data.frames import LAYOUTS, FrameSequence
from pointcl.data.overlap import downsample, overlaps, read_pairs, write_pairs
from pointcl.data.scan import Scan
from pointcl.data.unprojection import colours_at, pinhole, unproject
from pointcl.registry import DATASETS
from pointcl.sensors.camera import Camera
from pointcl.sensors.pose import move

_NO_DEPTH = 65535
"""What 7-Scenes writes beside 0 where the sensor saw nothing."""


@DATASETS.register_module()
class RGBDFrames(ScanDataset):
    """One scan per frame, in the frame of its depth camera: x right, y down, z forward.

    Every pixel is a row, NaN where it has no depth, so that a row leads to its pixel (``pixel``).
    The vehicle is the camera: ``to_ego`` is the identity, ``ego_to_world`` the pose of the frame,
    and the one camera of a scan is the one that took the colour image. Colours are uint8 RGB of the
    pixel that a point falls into, black outside. Calibrations of these data sets count centres of
    pixels in whole numbers: 0.5 is added to their principal points. Lens distortion is left out.

    Args:
        root: a sequence, or a folder of sequences at any depth.
        layout: "7scenes" (``frame-000000.color.png``, ``.depth.png`` in mm, ``.pose.txt``), "tum"
            (``rgb.txt``, ``depth.txt``, ``groundtruth.txt``; joined by time; depth / 5000) or
            "scannet" (exported ``color``, ``depth``, ``pose``, ``intrinsic``, or ``.sens`` files).
        split: names of the sequences to use (their path below the root, or its last part), or a
            text file with one a line; None = all.
        stride: every so many frames of each sequence.
        pixel_step: every so many rows and columns of the depth images.
        max_depth: metres; what is farther is no return. None = no limit.
        colour: whether to read the colour images.
        intrinsics: (fx, fy, cx, cy) of the depth images with whole pixel centres, where the data
            lack them.
        invalid_poses: frames whose pose is missing or infinite: "drop" (all poses are read at the
            start) or "keep", with ``ego_to_world`` None.
        on_error: "raise" or "skip", see ``ScanDataset``.

    Attributes:
        dropped: reason -> number of frames left out.

    Raises:
        UsageError: an unknown layout or option, no sequence below the folder or not those of the
            split, intrinsics not found, or no frame left.
    """

    def __init__(
        self,
        root: str | Path,
        layout: str,
        split: str | Path | Sequence[str] | None = None,
        stride: int = 1,
        pixel_step: int = 1,
        max_depth: float | None = None,
        colour: bool = True,
        intrinsics: Sequence[float] | None = None,
        invalid_poses: str = "drop",
        on_error: str = "raise",
    ) -> None:
        self.root = require_folder(root, "data.root")
        _check_options(layout, stride, pixel_step, max_depth, intrinsics, invalid_poses)
        self.pixel_step, self.max_depth, self.colour = pixel_step, max_depth, colour
        given = None if intrinsics is None else pinhole(*intrinsics)
        found = {
            # A root that is itself a recording is one sequence, so it has a name as well.
            (
                folder.relative_to(self.root).as_posix()
                if folder != self.root
                else folder.resolve().name
            ): opener
            for folder, opener in LAYOUTS[layout](self.root, given)
        }
        if not found:
            raise UsageError(
                f"no recording in the layout {layout!r} in {self.root}",
                needed=_LOOKS_LIKE[layout],
                fix="check data.root and data.layout",
            )
        names = sorted(found, key=natural) if split is None else read_names(split, "data.split")
        # a list of scenes has their names alone, wherever their folders lie
        last = {name.rsplit("/", 1)[-1]: name for name in sorted(found, key=natural, reverse=True)}
        missing = [name for name in names if name not in found and name not in last]
        if missing:
            raise UsageError(
                f"data.split names {len(missing)} sequences that {self.root} does not hold, e.g. "
                f"{missing[0]!r}",
                needed=f"names like {min(found, key=natural)!r}",
            )
        names = [name if name in found else last[name] for name in names]
        self._sequences = [found[name]() for name in names]
        self.dropped: Counter[str] = Counter()
        rows = [
            (place, frame)
            for place, sequence in enumerate(self._sequences)
            for frame in range(0, len(sequence), stride)
            if invalid_poses == "keep" or self._has_pose(sequence, frame)
        ]
        if not rows:
            raise UsageError(
                f"no frame of {self.root} has a valid pose: {dict(self.dropped)}",
                fix='set data.invalid_poses="keep" to read them without poses',
            )
        self._place, self._frame = np.array(rows, np.int64).T
        super().__init__([names[place] for place in self._place.tolist()], on_error)

    def name(self, index: int) -> str:
        """Sequence and frame."""
        frame = self._at(index)[0].names[self._frame[index]]
        return f"{self.sequences[index]}/{frame}"

    def load(self, index: int) -> Scan:
        """Read one frame."""
        return self._load(index, self.colour)

    def pixel(self, index: int, rows: np.ndarray) -> np.ndarray:
        """Pixel of the depth image that rows of a scan come from.

        Args:
            index: of the scan, its ``source``.
            rows: (N,) rows of its points.

        Returns:
            (N, 2) float64 (x, y): the pixel's centre.
        """
        sequence, frame = self._at(index)
        width = -(-sequence.depth(frame).shape[1] // self.pixel_step)
        row, column = np.divmod(np.asarray(rows), width)
        return np.stack([column, row], 1) * float(self.pixel_step) + 0.5

    def fingerprint(self) -> str:
        """Hash of the frames, of some file sizes, and of what changes the scans."""
        files = [
            file
            for place, sequence in enumerate(self._sequences)
            for file in sequence.files(self._frame[self._place == place].tolist())
        ]
        names = Names.of(file.relative_to(self.root).as_posix() for file in files)
        rigs = [sequence.rig for sequence in self._sequences]
        calibration = [[rig.depth.tolist(), rig.colour.tolist(), rig.scale] for rig in rigs]
        frames = blake2b(self._place.tobytes() + self._frame.tobytes(), digest_size=16).hexdigest()
        settings = [frames, calibration, self.pixel_step, self.max_depth, self.colour]
        return fingerprint_files(self.root, names, settings)

    def pairs(
        self,
        min_overlap: float = 0.3,
        voxel: float = 0.05,
        reach: float = 1.5,
        max_gap: int | None = None,
        cache: str | Path | None = None,
    ) -> list[tuple[int, int, float]]:
        """Pairs of frames of one sequence that see the same place.

        Both clouds are reduced to one mean point per voxel, in the world. The overlap is the share
        of points with a point of the other frame closer than ``reach`` voxels; of the two
        directions the larger.

        Args:
            min_overlap: pairs below are left out.
            voxel: metres.
            reach: voxels.
            max_gap: only frames at most so many frames (of this data set) apart; None = all.
            cache: file that keeps the answer (.npz), and gives it if the data set and the settings
                are still the same; None = it is computed every time.

        Returns:
            (i, j, overlap) with i < j, ordered.

        Raises:
            UsageError: an unreadable frame (with ``on_error="raise"``), or an option out of range.

        Source: Xie et al. 2020 (PointContrast), the preparation of its frame pairs.
        """
        if not 0 < min_overlap <= 1 or voxel <= 0 or reach <= 0:
            given = f"min_overlap={min_overlap}, voxel={voxel}, reach={reach}"
            raise UsageError(given, needed="an overlap in (0, 1], positive lengths")
        settings = repr((self.fingerprint(), min_overlap, voxel, reach, max_gap))
        known = None if cache is None else read_pairs(Path(cache), settings)
        if known is None:
            parts = []
            for place in range(len(self._sequences)):
                rows = np.flatnonzero(self._place == place)
                clouds = [self._in_world(int(row), voxel) for row in rows]
                i, j, share = overlaps(clouds, reach * voxel, min_overlap, max_gap)
                parts.append((rows[i], rows[j], share))
            known = tuple(np.concatenate(part) for part in zip(*parts, strict=True))
            if cache is not None:
                write_pairs(Path(cache), settings, known)
        return list(zip(*(part.tolist() for part in known), strict=True))

    def _load(self, index: int, with_colour: bool) -> Scan:
        sequence, frame = self._at(index)
        depth = sequence.depth(frame)
        _require_centre(sequence.rig.depth, depth.shape, self.name(index), "depth")
        metres = np.where(depth == _NO_DEPTH, 0, depth) / sequence.rig.scale
        if self.max_depth is not None:
            metres[metres > self.max_depth] = 0
        points = unproject(metres, sequence.rig.depth, self.pixel_step)
        pose = self._pose(sequence, frame)
        picture = sequence.colour(frame)
        if picture is None and with_colour:
            raise UnreadableFileError(self.name(index), "the frame has no colour image")
        camera = colour = None
        if picture is not None:
            camera = Camera(
                "colour",
                picture,
                sequence.colour_size(frame),
                sequence.rig.colour,
                to_ego=np.eye(4),
                ego_to_world=pose,
                timestamp=sequence.timestamp(frame),
                key=self.name(index),
            )
            _require_centre(camera.intrinsics, camera.size, self.name(index), "colour")
            if with_colour:
                image = read_rgb(picture) if isinstance(picture, Path) else picture()
                colour = colours_at(points, image, camera.intrinsics)
        return Scan(
            points,
            source=index,
            name=self.name(index),
            colour=colour,
            sequence=self.sequences[index],
            timestamp=sequence.timestamp(frame),
            ego_to_world=pose,
            cameras=() if camera is None else (camera,),
        )

    def _in_world(self, index: int, voxel: float) -> np.ndarray:
        """Reduced points of a frame in the world; none without a pose or, with "skip", a file."""
        try:
            scan = self._load(index, with_colour=False)
        except UnreadableFileError:
            if self._bad is None:
                raise
            return np.empty((0, 3))
        if scan.to_world is None:
            return np.empty((0, 3))
        return downsample(move(scan.to_world, scan.points), voxel)

    def _at(self, index: int) -> tuple[FrameSequence, int]:
        return self._sequences[self._place[index]], int(self._frame[index])

    def _has_pose(self, sequence: FrameSequence, frame: int) -> bool:
        try:
            pose = sequence.pose(frame)
        except UnreadableFileError:
            return True  # a damaged file is no lost track: reading the frame will say so
        if pose is None or not np.isfinite(pose).all():
            self.dropped["no pose" if pose is None else "infinite pose"] += 1
            return False
        return True

    def _pose(self, sequence: FrameSequence, frame: int) -> np.ndarray | None:
        pose = sequence.pose(frame)
        if pose is None or not np.isfinite(pose).all():
            return None
        return require_rigid(pose, sequence.folder / sequence.names[frame], "pose")


_LOOKS_LIKE = {
    "7scenes": "files like frame-000000.depth.png",
    "tum": "a folder with rgb.txt and depth.txt",
    "scannet": "a .sens file, or folders color, depth and pose beside each other",
}


def _check_options(
    layout: str,
    stride: int,
    pixel_step: int,
    max_depth: float | None,
    intrinsics: Sequence[float] | None,
    invalid_poses: str,
) -> None:
    if layout not in LAYOUTS:
        raise UsageError(f"data.layout={layout!r}", needed=f"one of {', '.join(LAYOUTS)}")
    if stride < 1 or pixel_step < 1:
        raise UsageError(f"data.stride={stride}, pixel_step={pixel_step}", needed="1 or more")
    if max_depth is not None and not max_depth > 0:
        raise UsageError(f"data.max_depth={max_depth}", needed="metres above 0, or None")
    if intrinsics is not None and (len(intrinsics) != 4 or min(intrinsics[:2]) <= 0):
        raise UsageError(f"data.intrinsics={intrinsics}", needed="fx, fy, cx, cy in pixels")
    if invalid_poses not in ("drop", "keep"):
        raise UsageError(f"data.invalid_poses={invalid_poses!r}", needed='"drop" or "keep"')


def _require_centre(intrinsics: np.ndarray, size: tuple[int, ...], name: str, which: str) -> None:
    """A principal point far from the middle belongs to images of another size."""
    height, width = size
    x, y = intrinsics[0, 2], intrinsics[1, 2]
    if not (0.25 < x / width < 0.75 and 0.25 < y / height < 0.75):
        raise UsageError(
            f"{name}: {which} images of {width} x {height}, principal point ({x:g}, {y:g})",
            needed="intrinsics of images of that size",
            fix="scale the intrinsics as the images were scaled",
        )
