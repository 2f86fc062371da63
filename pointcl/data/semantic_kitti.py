"""SemanticKITTI: the drives of KITTI's odometry benchmark with a label for every point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densecl.data.base import fingerprint_files, require_folder
from densecl.data.decode import UnreadableFileError
from densecl.data.names import Names
from densecl.errors import UsageError
from pointcl.data.base import ScanDataset
from pointcl.data.checks import at_start, read_labels, read_rows, require_part, require_rigid
from pointcl.data.classes import ClassMap
from pointcl.data.kitti import camera_numbers, read_velodyne
from pointcl.data.kitti_calibration import KittiCalibration, read_object_calibration
from pointcl.data.kitti_files import find_picture, scan_stems
from pointcl.data.scan import IGNORE, Scan
from pointcl.registry import DATASETS
from pointcl.sensors.pose import compose, inverse

SPLITS = {
    "train": ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10"),
    "val": ("08",),
    "trainval": ("00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10"),
    "test": ("11", "12", "13", "14", "15", "16", "17", "18", "19", "20", "21"),
}
_CLASSES: dict[str, tuple[tuple[int, ...], tuple[int, int, int]]] = {
    "car": ((10, 252), (100, 150, 245)),
    "bicycle": ((11,), (100, 230, 245)),
    "motorcycle": ((15,), (30, 60, 150)),
    "truck": ((18, 258), (80, 30, 180)),
    "other-vehicle": ((13, 16, 20, 256, 257, 259), (0, 0, 255)),
    "person": ((30, 254), (255, 30, 30)),
    "bicyclist": ((31, 253), (255, 40, 200)),
    "motorcyclist": ((32, 255), (150, 30, 90)),
    "road": ((40, 60), (255, 0, 255)),
    "parking": ((44,), (255, 150, 255)),
    "sidewalk": ((48,), (75, 0, 75)),
    "other-ground": ((49,), (175, 0, 75)),
    "building": ((50,), (255, 200, 0)),
    "fence": ((51,), (255, 120, 50)),
    "vegetation": ((70,), (0, 175, 0)),
    "trunk": ((71,), (135, 60, 0)),
    "terrain": ((72,), (150, 240, 80)),
    "pole": ((80,), (255, 240, 150)),
    "traffic-sign": ((81,), (255, 0, 0)),
}
CLASSES = tuple(_CLASSES)
PALETTE = np.array([colour for _, colour in _CLASSES.values()], np.uint8)
LEARNING_MAP = dict.fromkeys((0, 1, 52, 99), IGNORE) | {
    raw: label for label, (ids, _) in enumerate(_CLASSES.values()) for raw in ids
}
"""Raw id -> class; moving things join those that stand."""


@dataclass(frozen=True)
class _Sequence:
    """One drive: its calibration, the LiDAR's pose and the time of each scan, where known."""

    name: str
    folder: Path
    calibration: KittiCalibration | None
    poses: np.ndarray | None
    times: np.ndarray | None


@DATASETS.register_module()
class SemanticKITTI(ScanDataset):
    """Scans of ``<root>/sequences/<number>/{velodyne,labels,image_2}`` with their 19 classes.

    Points lie in the LiDAR's frame (x forward, y left, z up), which is also the ego frame; they
    are compensated for the vehicle's motion. Where a drive has ``poses.txt`` and ``calib.txt``,
    the world is the LiDAR's frame at the drive's first scan. Intensity is the file's value
    divided by ``intensity_top``. The lower half of a label is the class (moving things join those
    that stand), the upper half the instance, 0 there = none. A picture has the pose of its scan.

    Other data in this layout is read by giving its own classes and map.

    Args:
        root: folder that holds ``sequences`` (or ``dataset/sequences``).
        split: "train", "val", "trainval" or "test" of the benchmark, or a list of drives such as
            ["00", "08"].
        labels: whether to read ``labels``; the test drives have none.
        cameras: picture folders to use, of "image_2" and "image_3" of the odometry benchmark,
            which are a download of their own; () = none.
        classes: names of the classes; None = the benchmark's 19.
        learning_map: raw id -> class id, 255 = ignore; to be given with ``classes``.
        palette: RGB colour of each class.
        intensity_top: value of the clouds' fourth number that becomes an intensity of 1; 255 for
            sensors that count in bytes.
        on_error: "raise" or "skip", see ``FileDataset``.

    Raises:
        UsageError: missing folders, files or drives; poses, times or labels that are not as many
            as scans; a class map that does not fit.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | Sequence[str] = "train",
        labels: bool = True,
        cameras: Sequence[str] = (),
        classes: Sequence[str] | None = None,
        learning_map: Mapping[int, int] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        intensity_top: float = 1.0,
        on_error: str = "raise",
    ) -> None:
        top = require_folder(root, "data.root")
        if not (top / "sequences").is_dir() and (top / "dataset" / "sequences").is_dir():
            top = top / "dataset"
        self.root = require_part(top / "sequences", "set data.root to the folder above it")
        self.cameras = camera_numbers(cameras, "image_")
        if (classes is None) != (learning_map is None):
            raise UsageError(
                "data.classes and data.learning_map", needed="both of them, or none of them"
            )
        if not intensity_top > 0:
            raise UsageError(f"data.intensity_top={intensity_top!r}", needed="a number above 0")
        self.intensity_top = float(intensity_top)
        self._map: ClassMap | None = None
        if labels:
            own = classes is None or learning_map is None
            self._map = ClassMap(
                CLASSES if classes is None else classes,
                LEARNING_MAP if learning_map is None else learning_map,
                PALETTE if own and palette is None else palette,
            )
            self.classes, self.palette = self._map.classes, self._map.palette
        self._sequences: list[_Sequence] = []
        owner: list[int] = []
        stems: list[str] = []
        within: list[int] = []
        for number in _drives(split):
            folder = self._require(number)
            frames = scan_stems(folder / "velodyne")
            self._sequences.append(self._open(number, folder, frames))
            owner += [len(self._sequences) - 1] * len(frames)
            within += range(len(frames))
            stems += frames
        self._owner, self._within = np.array(owner, np.int32), np.array(within, np.int32)
        self._stems = Names.of(stems)
        super().__init__([self._sequences[row].name for row in owner], on_error)

    def name(self, index: int) -> str:
        """Such as "08/000123"."""
        return f"{self.sequences[index]}/{self._stems[index]}"

    def load(self, index: int) -> Scan:
        """Read one scan.

        Raises:
            UnreadableFileError: one of its files is missing or damaged.
        """
        drive, stem = self._sequences[self._owner[index]], self._stems[index]
        within = self._within[index]
        points, intensity = read_velodyne(
            drive.folder / "velodyne" / f"{stem}.bin", self.intensity_top
        )
        scan = Scan(
            points=points,
            source=index,
            name=self.name(index),
            intensity=intensity,
            sequence=drive.name,
            timestamp=None if drive.times is None else float(drive.times[within]),
            ego_to_world=None if drive.poses is None else drive.poses[within],
        )
        if self._map is not None:
            path = drive.folder / "labels" / f"{stem}.label"
            raw = read_labels(path, "<u4", len(points))
            scan.label = self._map(raw & 0xFFFF, path)
            scan.instance = np.where(raw >> 16 > 0, raw >> 16, -1)
        if drive.calibration is not None:
            scan.cameras = tuple(
                drive.calibration.camera(
                    number,
                    find_picture(drive.folder / folder, stem),
                    name=folder,
                    key=f"sequences/{drive.name}/{folder}/{stem}",
                    to_ego=scan.to_ego,
                    ego_to_world=scan.ego_to_world,
                    timestamp=scan.timestamp,
                )
                for folder, number in self.cameras.items()
            )
        return scan

    def fingerprint(self) -> str:
        """Hash of the scans, of some of their sizes, and of the settings."""
        files = Names.of(
            f"{drive}/velodyne/{self._stems[index]}.bin"
            for index, drive in enumerate(self.sequences)
        )
        classes = self._map and (self._map.classes, sorted(self._map.learning_map.items()))
        poses = [drive.poses is not None for drive in self._sequences]
        settings = (classes, list(self.cameras), poses, self.intensity_top)
        return fingerprint_files(self.root, files, settings)

    def _require(self, number: str) -> Path:
        folder = self.root / number
        if not (folder / "velodyne").is_dir():
            there = sorted(path.name for path in self.root.iterdir() if path.is_dir())
            raise UsageError(
                f"{folder / 'velodyne'} does not exist",
                needed=f"drive {number}; there are {', '.join(there) or 'none'}",
                fix=f"add it, or list the drives to use: data.split={there}",
            )
        for camera in self.cameras:
            require_part(folder / camera, "unpack it, or leave it out of data.cameras")
        if self._map is not None and not (folder / "labels").is_dir():
            raise UsageError(
                f"{folder / 'labels'} does not exist",
                needed="the labels of each drive",
                fix="add them, or set data.labels=False, as for the test drives",
            )
        return folder

    def _open(self, number: str, folder: Path, frames: list[str]) -> _Sequence:
        """Read what belongs to all scans of a drive, and count the labels' files."""
        if self._map is not None:
            labelled = set(scan_stems(folder / "labels", ".label"))
            missing = [stem for stem in frames if stem not in labelled]
            if missing:
                raise UsageError(
                    f"{folder / 'labels'} lacks {missing[0]}.label and {len(missing) - 1} more",
                    needed="a label file for each scan",
                    fix="add them, or set data.labels=False",
                )
        path = folder / "calib.txt"
        poses = folder / "poses.txt"
        with at_start():
            wanted = bool(self.cameras) or poses.is_file()
            calibration = read_object_calibration(path) if wanted else None
            if calibration is not None:
                for camera in self.cameras.values():
                    calibration.lens(camera)
            return _Sequence(
                name=number,
                folder=folder,
                calibration=calibration,
                poses=_read_poses(poses, calibration, len(frames)),
                times=_read_times(folder / "times.txt", len(frames)),
            )


def _drives(split: str | Sequence[str]) -> list[str]:
    if isinstance(split, str):
        if split not in SPLITS:
            raise UsageError(
                f"data.split={split!r}", needed=f"one of {', '.join(SPLITS)}, or a list of drives"
            )
        return list(SPLITS[split])
    drives = [f"{name:02d}" if isinstance(name, int) else str(name) for name in split]
    if not drives or len(set(drives)) != len(drives):
        raise UsageError(f"data.split={split!r}", needed='drives such as ["00", "08"], each once')
    return drives


def _read_poses(path: Path, calibration: KittiCalibration | None, scans: int) -> np.ndarray | None:
    """(N, 4, 4) of the LiDAR; the file holds those of camera 0."""
    if calibration is None or not path.is_file():
        return None
    rows = read_rows(path, 12)
    if len(rows) != scans:
        raise UnreadableFileError(path, f"{len(rows)} poses for {scans} scans")
    poses = np.tile(np.eye(4), (scans, 1, 1))
    poses[:, :3] = rows.reshape(-1, 3, 4)
    back = inverse(calibration.lidar_to_rect)
    for row in range(scans):
        pose = require_rigid(poses[row], path, f"line {row + 1}")
        poses[row] = compose(calibration.lidar_to_rect, pose, back)
    return poses


def _read_times(path: Path, scans: int) -> np.ndarray | None:
    if not path.is_file():
        return None
    times = read_rows(path, 1)[:, 0]
    if len(times) != scans:
        raise UnreadableFileError(path, f"{len(times)} times for {scans} scans")
    return times
