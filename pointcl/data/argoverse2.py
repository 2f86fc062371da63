"""Argoverse 2's sensor data set: logs of two stacked LiDARs, ring cameras, poses and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from densecl.data.base import fingerprint_files, require_folder
from densecl.data.decode import UnreadableFileError
from densecl.data.names import Names
from densecl.errors import UsageError
from pointcl.data.base import ScanDataset, read_names
from pointcl.data.checks import require_finite, require_part, scale_intensity
from pointcl.data.feather import read_feather
from pointcl.data.formats.extra import need
from pointcl.data.kitti_files import scan_stems
from pointcl.data.scan import Boxes, Scan
from pointcl.registry import DATASETS
from pointcl.sensors.camera import Camera
from pointcl.sensors.pose import pose_from_quaternion

CAMERAS = (
    "ring_front_center",
    "ring_front_right",
    "ring_side_right",
    "ring_rear_right",
    "ring_rear_left",
    "ring_side_left",
    "ring_front_left",
)
SPLITS = ("train", "val", "test")

POSE_GAP = 10_000_000
"""Nanoseconds that a pose may be away from a recording; the files have one for each."""

PICTURE_GAP = 60_000_000
"""Nanoseconds that the nearest picture may be away from a sweep: the cameras run at 20 Hz."""

_INTRINSICS = "intrinsics.feather"
_EXTRINSICS = "egovehicle_SE3_sensor.feather"
_POSE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")


@DATASETS.register_module()
class Argoverse2(ScanDataset):
    """Sweeps of ``<root>/<split>/<log>/sensors/lidar``.

    Points lie in the ego frame (x forward, y left, z up, at the rear axle), moved by the data set
    to where they were at the sweep's time; ``time`` is ``offset_ns``. Both LiDARs are in one
    cloud: rings 0 to 31 and 32 to 63. Intensity is the file's byte divided by 255. Each camera
    brings the picture nearest in time and the vehicle's pose of that time. Pictures are
    undistorted, so the lens coefficients of the calibration are not used; half a pixel is added
    to the principal point.

    Args:
        root: folder of the splits.
        split: "train", "val" or "test"; None = the logs lie in the root.
        logs: names of the logs to use: a list, or a text file with one a line. None = all.
        cameras: names to use, in that order; () = none.
        boxes: whether to read ``annotations.feather``; logs without it are not annotated.
        on_error: "raise" or "skip", see ``FileDataset``.

    Raises:
        UsageError: missing folders, logs, poses or calibrations; pyarrow is not installed.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = "train",
        logs: str | Path | Sequence[str] | None = None,
        cameras: Sequence[str] = CAMERAS,
        boxes: bool = True,
        on_error: str = "raise",
    ) -> None:
        need("pyarrow.feather", "the files of Argoverse 2")
        if split not in (None, *SPLITS):
            raise UsageError(f"data.split={split!r}", needed=f"one of {', '.join(SPLITS)}, or None")
        if isinstance(cameras, str):
            raise UsageError(f"data.cameras={cameras!r}", needed=f"a list, any of {CAMERAS}")
        top = require_folder(root, "data.root")
        self.root = top
        if split is not None:
            self.root = require_part(top / split, "correct data.root or data.split")
        self.cameras, self.boxes, self.split = tuple(cameras), boxes, split
        found = sorted(path.parts[-3] for path in self.root.glob("*/sensors/lidar"))
        names = found if logs is None else read_names(logs, "data.logs")
        missing = [name for name in names if name not in found]
        if missing or not names:
            raise UsageError(
                f"{self.root} has no log {missing[0] if missing else ''}".rstrip(),
                needed="<log>/sensors/lidar",
                fix="correct data.root, data.split or data.logs",
            )
        owner: list[str] = []
        stems: list[str] = []
        for log in names:
            self._require(self.root / log)
            stamps = scan_stems(self.root / log / "sensors" / "lidar", ".feather")
            bad = [stamp for stamp in stamps if not stamp.isdigit()]
            if bad:
                raise UsageError(
                    f"{self.root / log}/sensors/lidar/{bad[0]}.feather",
                    needed="names that are nanoseconds",
                )
            owner += [log] * len(stamps)
            stems += stamps
        self._stems = Names.of(stems)
        super().__init__(owner, on_error)

    def name(self, index: int) -> str:
        """Such as "adcf7d18-.../315973157959879000"."""
        return f"{self.sequences[index]}/{self._stems[index]}"

    def load(self, index: int) -> Scan:
        """Read one sweep.

        Raises:
            UnreadableFileError: one of its files is missing or damaged.
        """
        log, stamp = self.root / self.sequences[index], int(self._stems[index])
        path = log / "sensors" / "lidar" / f"{stamp}.feather"
        columns = ("x", "y", "z", "intensity", "laser_number", "offset_ns")
        values = read_feather(path, *columns)
        points = np.stack([values[axis].astype(np.float32) for axis in "xyz"], 1)
        if not len(points):
            raise UnreadableFileError(path, "the sweep has no point")
        scan = Scan(
            points=require_finite(points, path, "points"),
            source=index,
            name=self.name(index),
            intensity=scale_intensity(values["intensity"], 255, path),
            ring=values["laser_number"].astype(np.int16),
            time=(values["offset_ns"] * 1e-9).astype(np.float32),
            sequence=self.sequences[index],
            timestamp=stamp * 1e-9,
            ego_to_world=_pose_at(log, stamp),
        )
        scan.cameras = tuple(self._camera(log, name, stamp) for name in self.cameras)
        if self.boxes and (log / "annotations.feather").is_file():
            scan.boxes = _boxes(log / "annotations.feather", stamp)
        return scan

    def fingerprint(self) -> str:
        """Hash of the sweeps, of some of their sizes, and of the settings."""
        files = Names.of(
            f"{log}/sensors/lidar/{self._stems[index]}.feather"
            for index, log in enumerate(self.sequences)
        )
        return fingerprint_files(self.root, files, (self.split, self.cameras, self.boxes))

    def _require(self, log: Path) -> None:
        """The files that concern all sweeps of a log are there, and readable."""
        needed = ["city_SE3_egovehicle.feather"]
        if self.cameras:
            needed += [f"calibration/{_INTRINSICS}", f"calibration/{_EXTRINSICS}"]
        for name in needed:
            if not (log / name).is_file():
                raise UsageError(
                    f"{log / name} does not exist",
                    needed="poses, and the calibration of the cameras",
                    fix="add it" + (", or set data.cameras=()" if "calib" in name else ""),
                )
        for camera in self.cameras:
            folder = log / "sensors" / "cameras" / camera
            require_part(folder, "unpack that camera, or leave it out of data.cameras")

    def _camera(self, log: Path, name: str, stamp: int) -> Camera:
        folder = log / "sensors" / "cameras" / name
        stamps = _picture_stamps(folder)
        nearest = int(stamps[np.argmin(np.abs(stamps - stamp))]) if len(stamps) else 0
        if abs(nearest - stamp) > PICTURE_GAP:
            raise UnreadableFileError(
                folder, f"no picture within {PICTURE_GAP / 1e9} s of the sweep {stamp}"
            )
        intrinsics, size, to_ego = _calibration(log, name)
        return Camera(
            name=name,
            source=folder / f"{nearest}.jpg",
            size=size,
            intrinsics=intrinsics,
            to_ego=to_ego,
            ego_to_world=_pose_at(log, nearest),
            timestamp=nearest * 1e-9,
            key=f"{log.name}/{name}/{nearest}",
        )


@lru_cache(maxsize=64)
def _poses(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (R,) int64 in order, and quaternions and translations (R, 7)."""
    values = read_feather(path, "timestamp_ns", *_POSE)
    order = np.argsort(values["timestamp_ns"], kind="stable")
    places = np.stack([values[name] for name in _POSE], 1)[order]
    if not len(places):
        raise UnreadableFileError(path, "it has no pose")
    return values["timestamp_ns"][order], require_finite(places, path, "poses")


def _pose_at(log: Path, stamp: int) -> np.ndarray:
    path = log / "city_SE3_egovehicle.feather"
    times, places = _poses(path)
    row = int(np.argmin(np.abs(times - stamp)))
    if abs(int(times[row]) - stamp) > POSE_GAP:
        raise UnreadableFileError(
            path, f"no pose within {POSE_GAP / 1e9} s of {stamp}, the nearest is of {times[row]}"
        )
    return _to_pose(places[row], path)


@lru_cache(maxsize=512)
def _calibration(log: Path, camera: str) -> tuple[np.ndarray, tuple[int, int], np.ndarray]:
    """Intrinsics with half a pixel added, (H, W), and camera -> ego."""
    path = log / "calibration" / _INTRINSICS
    fields = ("fx_px", "fy_px", "cx_px", "cy_px", "height_px", "width_px")
    lens = _row_of(path, camera, fields)
    if min(lens[0], lens[1], lens[4], lens[5]) <= 0:
        raise UnreadableFileError(path, f"{camera}: {dict(zip(fields, lens, strict=True))}")
    intrinsics = np.array([[lens[0], 0, lens[2] + 0.5], [0, lens[1], lens[3] + 0.5], [0, 0, 1]])
    path = log / "calibration" / _EXTRINSICS
    to_ego = _to_pose(_row_of(path, camera, _POSE), path)
    return intrinsics, (int(lens[4]), int(lens[5])), to_ego


def _row_of(path: Path, camera: str, fields: tuple[str, ...]) -> np.ndarray:
    values = read_feather(path, "sensor_name", *fields)
    rows = np.flatnonzero(values["sensor_name"] == camera)
    if not len(rows):
        there = ", ".join(map(str, values["sensor_name"]))
        raise UnreadableFileError(path, f"it has no sensor {camera}, only {there}")
    row = np.array([values[name][rows[0]] for name in fields], np.float64)
    return require_finite(row[None], path, camera)[0]


def _to_pose(place: np.ndarray, path: Path) -> np.ndarray:
    try:
        return pose_from_quaternion(place[:4].tolist(), place[4:].tolist())
    except ValueError as error:
        raise UnreadableFileError(path, str(error)) from error


@lru_cache(maxsize=512)
def _picture_stamps(folder: Path) -> np.ndarray:
    names = [path.stem for path in folder.glob("*.jpg")]
    return np.sort(np.array([int(name) for name in names if name.isdigit()], np.int64))


@lru_cache(maxsize=16)
def _annotations(path: Path) -> dict[str, np.ndarray]:
    fields = ("timestamp_ns", "track_uuid", "category", "length_m", "width_m", "height_m")
    values = read_feather(path, *fields, *_POSE)
    # by name, so that an object's id is the same in every sweep and every run
    values["instance"] = np.unique(values["track_uuid"].astype(str), return_inverse=True)[1]
    return values


def _boxes(path: Path, stamp: int) -> Boxes:
    values = _annotations(path)
    rows = np.flatnonzero(values["timestamp_ns"] == stamp)
    w, x, y, z = (values[name][rows] for name in _POSE[:4])
    return Boxes(
        centre=np.stack([values[name][rows] for name in _POSE[4:]], 1),
        extent=np.stack([values[f"{side}_m"][rows] for side in ("length", "width", "height")], 1),
        yaw=np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z)),
        label=[str(name) for name in values["category"][rows]],
        instance=values["instance"][rows].astype(np.int64),
    )
