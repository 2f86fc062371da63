"""A camera of a scan: where it stood when it fired, and how it maps directions to pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densecl.data.decode import read_rgb
from pointcl.sensors.pose import check_pose

Distortion = tuple[float, ...]
"""(k1, k2, p1, p2[, k3[, k4, k5, k6]]), OpenCV's radial and tangential model."""


@dataclass(frozen=True)
class Camera:
    """One picture taken near the time of a scan.

    Pixels are continuous: the centre of (row r, column c) is (c + 0.5, r + 0.5). Calibrations
    whose pixel centres are whole numbers get 0.5 added to their principal point by the reader.

    Attributes:
        name: of the camera in its data set, e.g. "CAM_FRONT".
        source: image file; or a function that returns the (H, W, 3) uint8 RGB image.
        size: (H, W) pixels of the image.
        intrinsics: (3, 3) float64; (right, down, forward) -> pixels.
        to_ego: (4, 4) float64 pose of the camera on the vehicle: camera -> ego.
        ego_to_world: (4, 4) pose of the vehicle when the camera fired, or None = unknown.
        timestamp: seconds, on the clock of the scan, or None.
        distortion: of the lens; None where images are undistorted.
        ego_mask: (H, W) bool, True where the picture shows the vehicle itself, or None.
        key: stable name of the picture in its data set, e.g. "sequence/image_02/000123"; segments
            are stored under it.
    """

    name: str
    source: Path | Callable[[], np.ndarray]
    size: tuple[int, int]
    intrinsics: np.ndarray
    to_ego: np.ndarray
    ego_to_world: np.ndarray | None = None
    timestamp: float | None = None
    distortion: Distortion | None = None
    ego_mask: np.ndarray | None = None
    key: str = ""

    def __post_init__(self) -> None:
        k = np.asarray(self.intrinsics, np.float64)
        if k.shape != (3, 3) or not np.isfinite(k).all() or k[0, 0] <= 0 or k[1, 1] <= 0:
            raise ValueError(f"camera {self.name}: intrinsics must be (3, 3), focal > 0, got\n{k}")
        object.__setattr__(self, "intrinsics", k)
        object.__setattr__(self, "to_ego", check_pose(self.to_ego, f"{self.name}: to_ego"))
        if self.ego_to_world is not None:
            pose = check_pose(self.ego_to_world, f"{self.name}: ego_to_world")
            object.__setattr__(self, "ego_to_world", pose)

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8, RGB.

        Raises:
            UnreadableFileError: the file is missing or damaged.
            ValueError: its size is not the camera's.
        """
        pixels = read_rgb(self.source) if isinstance(self.source, Path) else self.source()
        if pixels.shape[:2] != tuple(self.size):
            raise ValueError(
                f"camera {self.name}: the image of {self.source} is {pixels.shape[:2]}, "
                f"its calibration is for {tuple(self.size)}"
            )
        return pixels
