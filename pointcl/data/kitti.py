"""KITTI's object benchmark: single frames of camera, LiDAR and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densecl.data.base import fingerprint_files, require_folder
from densecl.data.decode import UnreadableFileError
from densecl.data.names import Names
from densecl.errors import UsageError
from pointcl.data.base import ScanDataset, read_names
from pointcl.data.checks import (
    read_records,
    read_text,
    require_finite,
    require_part,
    scale_intensity,
)
from pointcl.data.kitti_calibration import KittiCalibration, read_object_calibration
from pointcl.data.kitti_files import find_picture, scan_stems
from pointcl.data.scan import Boxes, Scan
from pointcl.registry import DATASETS
from pointcl.sensors.pose import inverse, move, rotate


@DATASETS.register_module()
class KITTI(ScanDataset):
    """Frames of ``<root>/<split>/{velodyne,calib,image_2,label_2}``.

    Points lie in the LiDAR's frame (x forward, y left, z up), which is also the ego frame: single
    frames have no poses. Intensity is the file's reflectance, 0 to 1 already. Clouds are not
    compensated for the vehicle's motion. Boxes come from the camera's frame and the middle of
    their bottom to the LiDAR's frame and their own middle; DontCare regions are left out.

    Args:
        root: folder that holds ``training`` and ``testing``.
        split: "training" or "testing".
        names: frames to use, such as "000123", in that order: a list, or a text file with one a
            line; a bare word such as "train" means ``<root>/ImageSets/train.txt``. None = all.
        cameras: picture folders to use, of "image_2" (left colour) and "image_3" (right); ()
            = none.
        boxes: whether to read ``label_2``; no effect on "testing".
        on_error: "raise" or "skip", see ``FileDataset``.

    Raises:
        UsageError: a missing folder or list, no frames, or names that are not there.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "training",
        names: str | Path | Sequence[str] | None = None,
        cameras: Sequence[str] = ("image_2",),
        boxes: bool = True,
        on_error: str = "raise",
    ) -> None:
        if split not in ("training", "testing"):
            raise UsageError(f"data.split={split!r}", needed='"training" or "testing"')
        top = require_folder(root, "data.root")
        self.root = require_part(top / split, "set data.root to the folder above it")
        self.split, self.cameras = split, camera_numbers(cameras, "image_")
        self.boxes = boxes and split == "training"
        folders = ["velodyne", *self.cameras, *(["label_2"] if self.boxes else [])]
        if self.cameras or self.boxes:
            folders.append("calib")
        for folder in folders:
            require_part(
                self.root / folder, "unpack it, or do without: data.cameras=(), data.boxes=False"
            )
        stems = scan_stems(self.root / "velodyne")
        if names is not None:
            named = isinstance(names, str) and names.replace("_", "").isalnum()
            source = top / "ImageSets" / f"{names}.txt" if named else names
            listed, there = read_names(source, "data.names"), set(stems)
            missing = [name for name in listed if name not in there]
            if missing:
                raise UsageError(
                    f"{len(missing)} frames, e.g. {missing[0]!r}, are not in "
                    f"{self.root / 'velodyne'}",
                    fix="add the files or correct data.names",
                )
            stems = listed
        self._stems = Names.of(stems)
        super().__init__([""] * len(stems), on_error)

    def name(self, index: int) -> str:
        """Such as "training/000123"."""
        return f"{self.split}/{self._stems[index]}"

    def load(self, index: int) -> Scan:
        """Read one frame.

        Raises:
            UnreadableFileError: one of its files is missing or damaged.
        """
        stem = self._stems[index]
        points, intensity = read_velodyne(self.root / "velodyne" / f"{stem}.bin")
        scan = Scan(
            points=points,
            source=index,
            name=self.name(index),
            intensity=intensity,
            compensated=False,
        )
        if self.cameras or self.boxes:
            calibration = read_object_calibration(self.root / "calib" / f"{stem}.txt")
            scan.cameras = tuple(
                calibration.camera(
                    number,
                    find_picture(self.root / folder, stem),
                    name=folder,
                    key=f"{self.split}/{folder}/{stem}",
                    to_ego=scan.to_ego,
                )
                for folder, number in self.cameras.items()
            )
            if self.boxes:
                scan.boxes = read_boxes(self.root / "label_2" / f"{stem}.txt", calibration)
        return scan

    def fingerprint(self) -> str:
        """Hash of the frames, of some sizes of clouds, and of the settings."""
        files = Names.of(f"velodyne/{self._stems[i]}.bin" for i in range(len(self)))
        return fingerprint_files(self.root, files, (self.split, list(self.cameras), self.boxes))


def read_velodyne(path: Path, top: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) float32 in metres and intensity (N,) float32 of a KITTI cloud.

    Args:
        path: file of float32 x, y, z, reflectance.
        top: value of the file that becomes an intensity of 1.

    Raises:
        UnreadableFileError: missing, truncated, or with values that are not finite or not in
            0 to ``top``.
    """
    values = read_records(path, 4)
    points = require_finite(values[:, :3], path, "points")
    return points.astype(np.float32), scale_intensity(values[:, 3], top, path)


def read_boxes(path: Path, calibration: KittiCalibration) -> Boxes:
    """The objects of a label file, in the LiDAR's frame.

    Raises:
        UnreadableFileError: missing, or a line is no object.
    """
    labels: list[str] = []
    rows: list[list[float]] = []
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if not words or words[0] == "DontCare":
            continue
        try:
            numbers = [float(word) for word in words[8:15]]
        except ValueError as error:
            raise UnreadableFileError(path, f"line {number}: {error}") from error
        if len(numbers) < 7 or not np.isfinite(numbers).all() or min(numbers[:3]) <= 0:
            raise UnreadableFileError(
                path, f"line {number}: {line.strip()!r} has no height, width, length > 0, x y z, ry"
            )
        labels.append(words[0])
        rows.append(numbers)
    values = np.array(rows, np.float64).reshape(len(rows), 7)
    height, width, length, angle = values[:, 0], values[:, 1], values[:, 2], values[:, 6]
    middle = values[:, 3:6].copy()
    middle[:, 1] -= height / 2  # y points down
    ahead = np.stack([np.cos(angle), np.zeros(len(rows)), -np.sin(angle)], 1)
    to_lidar = inverse(calibration.lidar_to_rect)
    heading = rotate(to_lidar, ahead)
    return Boxes(
        centre=move(to_lidar, middle),
        extent=np.stack([length, width, height], 1),
        yaw=np.arctan2(heading[:, 1], heading[:, 0]),
        label=labels,
        instance=np.full(len(rows), -1, np.int64),
    )


def camera_numbers(cameras: Sequence[str], prefix: str) -> dict[str, int]:
    """Picture folder -> camera number.

    Raises:
        UsageError: a folder is none of ``prefix`` 0 to 3.
    """
    numbers = {f"{prefix}{number}": number for number in range(4)}
    unknown = [name for name in cameras if name not in numbers]
    if unknown or isinstance(cameras, str):
        raise UsageError(f"data.cameras={cameras!r}", needed=f"a list, any of {list(numbers)}")
    return {name: numbers[name] for name in cameras}


def _lines(path: Path) -> list[str]:
    # a frame without objects has an empty label file
    if path.is_file() and not path.stat().st_size:
        return []
    return read_text(path).splitlines()
