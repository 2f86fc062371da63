"""The cameras on the vehicle: where they sit, what they see, and when they fire."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densecl.data.streets.camera import Camera
from densecl.data.streets.draw import banded, rng
from densecl.data.streets.drive import Drive
from densecl.data.streets.primitives import pitch_matrix, roll_matrix, yaw_matrix
from pointcl.data.streets.motion import Motion
from pointcl.data.streets.splits import TURN

CAMERAS: dict[str, float] = {
    "front": 0.0,
    "left": np.radians(75.0),
    "right": np.radians(-75.0),
    "back": np.pi,
}
"""Names of the cameras and the bearing of each from the vehicle, radians to the left."""

_AXES = np.array([[0.0, 0, 1], [-1.0, 0, 0], [0, -1.0, 0]])
"""Columns: right, down and forward of a camera that looks along x."""


@dataclass(frozen=True)
class Mount:
    """One camera of a drive.

    Attributes:
        to_ego: (4, 4) float64, (right, down, forward) -> ego.
        field_of_view: degrees across the image.
        lag: seconds from the timestamp of a scan to the camera's picture.
    """

    to_ego: np.ndarray
    field_of_view: float
    lag: float

    def intrinsics(self, size: tuple[int, int]) -> np.ndarray:
        """(3, 3) float64 for an image of (H, W) pixels."""
        height, width = size
        focal = width / 2 / np.tan(np.radians(self.field_of_view) / 2)
        return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])

    def camera(self, motion: Motion, time: float, size: tuple[int, int]) -> Camera:
        """The camera that takes the picture of the scan at ``time`` seconds."""
        fired = time + self.lag
        pose = motion.pose(fired) @ self.to_ego
        return Camera(size, self.intrinsics(size), pose[:3, :3].T, pose[:3, 3], fired)


def draw_mounts(drive: Drive) -> dict[str, Mount]:
    """All cameras of a drive.

    A camera runs on a clock of its own at the rate of the sensor: it fires when the beam passes
    its direction, and up to half a turn before or after that, the same way all drive long.
    """
    group = drive.town.group
    g = rng(*drive.key, "cameras")
    mounts = {}
    for name, bearing in CAMERAS.items():
        yaw = bearing + g.normal(0, 0.06)
        turn = yaw_matrix(yaw) @ pitch_matrix(banded(g, group, -0.1, 0.12))
        turn = turn @ roll_matrix(g.normal(0, 0.02))
        to_ego = np.eye(4)
        to_ego[:3, :3] = turn @ _AXES
        reach = g.uniform(0.3, 0.9)
        height = drive.rig.height + g.normal(0, 0.04)
        to_ego[:3, 3] = reach * np.cos(bearing), reach * np.sin(bearing), height
        angle = drive.rig.field_of_view + g.normal(0, 1.0)
        passing = -(np.mod(bearing + np.pi, 2 * np.pi) - np.pi) / (2 * np.pi) * TURN
        mounts[name] = Mount(to_ego, float(angle), float(passing + g.uniform(-0.5, 0.5) * TURN))
    return mounts
