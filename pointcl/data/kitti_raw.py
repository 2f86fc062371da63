"""KITTI's raw recordings: drives of camera and LiDAR, most with poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path

import numpy as np

from densecl.data.base import fingerprint_files, require_folder
from densecl.data.decode import UnreadableFileError
from densecl.data.names import Names
from densecl.errors import UsageError
from pointcl.data.base import ScanDataset, read_names
from pointcl.data.checks import at_start, read_text, require_part
from pointcl.data.kitti import camera_numbers, read_velodyne
from pointcl.data.kitti_calibration import (
    KittiCalibration,
    read_object_calibration,
    read_raw_calibration,
)
from pointcl.data.kitti_files import find_picture, scan_stems
from pointcl.data.oxts import imu_to_world, read_packet
from pointcl.data.scan import Scan
from pointcl.registry import DATASETS


@dataclass(frozen=True)
class _Drive:
    """One drive: where it lies, how it is calibrated, when each scan was taken."""

    name: str
    folder: Path
    calibration: KittiCalibration
    times: dict[str, np.ndarray]
    has_poses: bool
    first: str


@DATASETS.register_module()
class KITTIRaw(ScanDataset):
    """Scans of ``<root>/<date>/<date>_drive_<number>_sync``.

    Points lie in the LiDAR's frame (x forward, y left, z up) and are not compensated for the
    vehicle's motion. Intensity is the file's reflectance, 0 to 1 already. The ego frame is the
    IMU's where the day has ``calib_imu_to_velo.txt``, else the LiDAR's. Poses come from ``oxts``:
    the world is east, north, up from the drive's first packet. The cameras are triggered as the
    LiDAR looks forward, so a picture has the pose of its scan.

    Args:
        root: folder of the dates; a date, or a single drive, will do. A drive may bring its own
            ``calib.txt`` with the keys of the object benchmark.
        drives: folder names such as "2011_09_26_drive_0001_sync" to use: a list, or a text file
            with one a line. None = all below the root.
        cameras: picture folders to use, of "image_00" to "image_03"; () = none.
        poses: True = a drive without ``oxts`` is an error; False = no poses; None = where they
            are.
        on_error: "raise" or "skip", see ``FileDataset``.

    Raises:
        UsageError: missing folders, files, drives or calibrations; times that are fewer than
            scans.
    """

    def __init__(
        self,
        root: str | Path,
        drives: str | Path | Sequence[str] | None = None,
        cameras: Sequence[str] = ("image_02",),
        poses: bool | None = None,
        on_error: str = "raise",
    ) -> None:
        self.root = require_folder(root, "data.root")
        self.cameras = camera_numbers(cameras, "image_0")
        found = _find_drives(self.root)
        if drives is not None:
            listed = read_names(drives, "data.drives")
            missing = [name for name in listed if name not in found]
            if missing:
                raise UsageError(
                    f"{len(missing)} drives, e.g. {missing[0]!r}, are not below {self.root}",
                    needed=f"drives such as {next(iter(found), 'DATE_drive_NUMBER_sync')}",
                    fix="correct data.drives or data.root",
                )
            found = {name: found[name] for name in listed}
        if not found:
            raise UsageError(
                f"data.root={str(root)!r} holds no drive",
                needed="<date>/<date>_drive_<number>_sync/velodyne_points/data",
            )
        self._drives: list[_Drive] = []
        owner: list[int] = []
        stems: list[str] = []
        for name, folder in found.items():
            frames = scan_stems(folder / "velodyne_points" / "data")
            self._drives.append(self._open(name, folder, frames, poses))
            owner += [len(self._drives) - 1] * len(frames)
            stems += frames
        self._owner = np.array(owner, np.int32)
        self._stems = Names.of(stems)
        super().__init__([self._drives[row].name for row in owner], on_error)

    def name(self, index: int) -> str:
        """Such as "2011_09_26_drive_0001_sync/0000000012"."""
        return f"{self.sequences[index]}/{self._stems[index]}"

    def load(self, index: int) -> Scan:
        """Read one scan.

        Raises:
            UnreadableFileError: one of its files is missing or damaged.
        """
        drive, stem = self._drives[self._owner[index]], self._stems[index]
        path = drive.folder / "velodyne_points" / "data" / f"{stem}.bin"
        points, intensity = read_velodyne(path)
        to_imu = drive.calibration.lidar_to_imu
        scan = Scan(
            points=points,
            source=index,
            name=self.name(index),
            intensity=intensity,
            sequence=drive.name,
            timestamp=_time(drive, "velodyne_points", stem),
            to_ego=np.eye(4) if to_imu is None else to_imu,
            ego_to_world=self._pose(drive, stem),
            compensated=False,
        )
        scan.cameras = tuple(
            drive.calibration.camera(
                number,
                find_picture(drive.folder / folder / "data", stem),
                name=folder,
                key=f"{drive.name}/{folder}/{stem}",
                to_ego=scan.to_ego,
                ego_to_world=scan.ego_to_world,
                timestamp=_time(drive, folder, stem),
            )
            for folder, number in self.cameras.items()
        )
        return scan

    def fingerprint(self) -> str:
        """Hash of the scans, of some of their sizes, and of the settings."""
        files = Names.of(
            str(
                (drive.folder / "velodyne_points" / "data").relative_to(self.root)
                / f"{self._stems[index]}.bin"
            )
            for index, drive in enumerate(self._drives[row] for row in self._owner)
        )
        with_poses = [drive.has_poses for drive in self._drives]
        return fingerprint_files(self.root, files, (list(self.cameras), with_poses))

    def _open(self, name: str, folder: Path, frames: list[str], poses: bool | None) -> _Drive:
        for camera in self.cameras:
            require_part(folder / camera / "data", "unpack it, or leave it out of data.cameras")
        with at_start("put the date's calibration files beside its drives, or mend them"):
            own = folder / "calib.txt"
            calibration = (
                read_object_calibration(own)
                if own.is_file()
                else read_raw_calibration(folder.parent)
            )
            for number in self.cameras.values():
                calibration.lens(number)
            times = {
                sensor: _read_times(folder / sensor / "timestamps.txt", frames)
                for sensor in ("velodyne_points", *self.cameras)
                if (folder / sensor / "timestamps.txt").is_file()
            }
        there = (folder / "oxts" / "data").is_dir()
        if poses and not (there and calibration.lidar_to_imu is not None):
            raise UsageError(
                f"{folder} has no poses",
                needed="oxts/data and the date's calib_imu_to_velo.txt",
                fix="add them, or set data.poses=None",
            )
        has_poses = there and calibration.lidar_to_imu is not None and poses is not False
        return _Drive(name, folder, calibration, times, has_poses, frames[0])

    @staticmethod
    def _pose(drive: _Drive, stem: str) -> np.ndarray | None:
        if not drive.has_poses:
            return None
        folder = drive.folder / "oxts" / "data"
        return imu_to_world(read_packet(folder / f"{stem}.txt"), _origin(folder))


@lru_cache(maxsize=256)
def _origin(folder: Path) -> np.ndarray:
    """The first packet of a drive, whichever scans are used."""
    return read_packet(folder / f"{scan_stems(folder, '.txt')[0]}.txt")


def _find_drives(root: Path) -> dict[str, Path]:
    """Drive name -> folder: the root itself, its children, or its grandchildren."""
    for level in ([root], sorted(root.iterdir()), sorted(root.glob("*/*"))):
        drives = [folder for folder in level if (folder / "velodyne_points" / "data").is_dir()]
        if drives:
            return {folder.name: folder for folder in drives}
    return {}


def _read_times(path: Path, frames: list[str]) -> np.ndarray:
    """Seconds since 1970 (UTC), one per line.

    Raises:
        UnreadableFileError: a line is no time, or there are fewer than the last frame needs.
    """
    times = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        whole, _, fraction = line.strip().partition(".")
        try:
            moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
            times.append(moment.timestamp() + float(f"0.{fraction or 0}"))
        except ValueError as error:
            raise UnreadableFileError(path, f"line {number}: {error}") from error
    # a line for each number, also where a scan is missing
    if len(times) <= int(frames[-1]):
        raise UnreadableFileError(path, f"{len(times)} times, the last scan is number {frames[-1]}")
    return np.array(times)


def _time(drive: _Drive, sensor: str, stem: str) -> float | None:
    return float(drive.times[sensor][int(stem)]) if sensor in drive.times else None
