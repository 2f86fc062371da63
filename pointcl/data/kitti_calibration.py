"""KITTI's calibration files, of all its benchmarks, as poses and intrinsics.

All of them lead from the LiDAR to the rectified frame of camera 0 (x right, y down, z forward),
and from there with a projection ``P_i`` (3, 4) to the pixels of camera i. Column four of ``P_i``
carries where camera i stands; it is folded exactly into the camera's pose, so that what is left
are plain intrinsics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from pointcl.data.checks import read_text, require_rigid
from pointcl.data.image_size import image_size
from pointcl.sensors.camera import Camera
from pointcl.sensors.pose import compose, inverse

HALF_PIXEL = 0.5
"""KITTI's pixel (0, 0) is the centre of the first pixel; ours is its corner."""


@dataclass(frozen=True)
class KittiCalibration:
    """What every KITTI benchmark knows about its sensors.

    Attributes:
        path: of the file, for messages.
        lidar_to_rect: (4, 4) LiDAR -> rectified camera 0.
        projections: camera number -> (3, 4) ``P_i``, as in the file.
        lidar_to_imu: (4, 4), or None where there is no IMU.
    """

    path: Path
    lidar_to_rect: np.ndarray
    projections: Mapping[int, np.ndarray]
    lidar_to_imu: np.ndarray | None = None

    def lens(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Intrinsics (3, 3) of camera ``number``, half a pixel added, and its LiDAR -> camera.

        Raises:
            UnreadableFileError: the file has no such camera, or its projection is none.
        """
        projection = self.projections.get(number)
        if projection is None:
            raise UnreadableFileError(self.path, f"it has no projection of camera {number}")
        intrinsics = projection[:, :3].copy()
        upper = np.allclose(intrinsics, np.triu(intrinsics)) and intrinsics[2, 2] == 1
        if not upper or min(intrinsics[0, 0], intrinsics[1, 1]) <= 0:
            raise UnreadableFileError(
                self.path, f"projection of camera {number} has no focal lengths:\n{projection}"
            )
        rect_to_camera = np.eye(4)
        rect_to_camera[:3, 3] = np.linalg.solve(intrinsics, projection[:, 3])
        intrinsics[:2, 2] += HALF_PIXEL
        return intrinsics, compose(self.lidar_to_rect, rect_to_camera)

    def camera(
        self,
        number: int,
        picture: Path,
        *,
        name: str,
        key: str,
        to_ego: np.ndarray,
        ego_to_world: np.ndarray | None = None,
        timestamp: float | None = None,
    ) -> Camera:
        """The camera of one picture; ``to_ego`` (4, 4) is the LiDAR's pose on the vehicle.

        Raises:
            UnreadableFileError: the picture is missing, or the calibration lacks the camera.
        """
        intrinsics, lidar_to_camera = self.lens(number)
        return Camera(
            name=name,
            source=picture,
            size=image_size(picture),
            intrinsics=intrinsics,
            to_ego=compose(inverse(lidar_to_camera), to_ego),
            ego_to_world=ego_to_world,
            timestamp=timestamp,
            key=key,
        )


def read_object_calibration(path: Path) -> KittiCalibration:
    """Of the object benchmark (keys P0-P3, R0_rect, Tr_velo_to_cam) or of odometry (P0-P3, Tr).

    The keys decide, not the line numbers. Odometry's clouds are already rectified: no R0.

    Raises:
        UnreadableFileError: missing, or without one of the keys, or its values are no pose.
    """
    values = read_keyed(path)
    if "Tr" in values:
        lidar_to_rect = _pose(values, "Tr", path)
    else:
        turn = np.eye(4)
        turn[:3, :3] = _numbers(values, _first(values, "R0_rect", "R_rect"), (3, 3), path)
        turn = require_rigid(turn, path, "R0_rect")
        key = _first(values, "Tr_velo_to_cam", "Tr_velo_cam")
        lidar_to_rect = compose(_pose(values, key, path), turn)
    imu = None
    key = _first(values, "Tr_imu_to_velo", "Tr_imu_velo")
    if key in values:
        imu = inverse(_pose(values, key, path))
    projections = {
        number: _numbers(values, f"P{number}", (3, 4), path)
        for number in range(4)
        if f"P{number}" in values
    }
    return KittiCalibration(path, lidar_to_rect, projections, imu)


def read_raw_calibration(folder: Path) -> KittiCalibration:
    """Of a day of the raw recordings: calib_cam_to_cam.txt, calib_velo_to_cam.txt, and, where it
    is there, calib_imu_to_velo.txt.

    Raises:
        UnreadableFileError: missing, or without one of the keys, or its values are no pose.
    """
    path = folder / "calib_cam_to_cam.txt"
    cameras = read_keyed(path)
    turn = np.eye(4)
    turn[:3, :3] = _numbers(cameras, "R_rect_00", (3, 3), path)
    lidar_to_rect = compose(
        _turn_and_shift(folder / "calib_velo_to_cam.txt"),
        require_rigid(turn, path, "R_rect_00"),
    )
    imu = folder / "calib_imu_to_velo.txt"
    projections = {
        number: _numbers(cameras, f"P_rect_{number:02d}", (3, 4), path)
        for number in range(4)
        if f"P_rect_{number:02d}" in cameras
    }
    lidar_to_imu = inverse(_turn_and_shift(imu)) if imu.is_file() else None
    return KittiCalibration(path, lidar_to_rect, projections, lidar_to_imu)


def read_keyed(path: Path) -> dict[str, np.ndarray]:
    """The lines ``key: numbers`` (or ``key numbers``) of a text file; other lines are left out.

    Raises:
        UnreadableFileError: missing, empty, or a number is not finite.
    """
    values: dict[str, np.ndarray] = {}
    for line in read_text(path).splitlines():
        words = line.replace(":", " ", 1).split()
        try:
            numbers = np.array([float(word) for word in words[1:]])
        except ValueError:  # such as the date of the calibration
            continue
        if words and not np.isfinite(numbers).all():
            raise UnreadableFileError(path, f"{words[0]} is not finite")
        if len(numbers):
            values[words[0]] = numbers
    return values


def _turn_and_shift(path: Path) -> np.ndarray:
    values = read_keyed(path)
    pose = np.eye(4)
    pose[:3, :3] = _numbers(values, "R", (3, 3), path)
    pose[:3, 3] = _numbers(values, "T", (3,), path)
    return require_rigid(pose, path, "R, T")


def _pose(values: Mapping[str, np.ndarray], key: str, path: Path) -> np.ndarray:
    pose = np.eye(4)
    pose[:3] = _numbers(values, key, (3, 4), path)
    return require_rigid(pose, path, key)


def _numbers(
    values: Mapping[str, np.ndarray], key: str, shape: tuple[int, ...], path: Path
) -> np.ndarray:
    if key not in values:
        raise UnreadableFileError(path, f"it has no {key}, only {', '.join(values) or 'nothing'}")
    if values[key].size != np.prod(shape):
        raise UnreadableFileError(path, f"{key} has {values[key].size} numbers, not {shape}")
    return values[key].reshape(shape)


def _first(values: Mapping[str, np.ndarray], *keys: str) -> str:
    return next((key for key in keys if key in values), keys[0])
