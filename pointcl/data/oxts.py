"""Poses of KITTI's raw recordings from its inertial and satellite navigation packets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from densecl.data.decode import UnreadableFileError
from pointcl.data.checks import read_rows

EARTH_RADIUS = 6378137.0
"""Metres, of the sphere that KITTI projects its positions from."""


def read_packet(path: Path) -> np.ndarray:
    """(6,) float64: latitude, longitude in degrees, altitude in metres, roll, pitch, yaw in rad.

    Raises:
        UnreadableFileError: missing, or no packet of at least six numbers.
    """
    rows = read_rows(path)
    if len(rows) != 1 or rows.shape[1] < 6:
        raise UnreadableFileError(path, f"expected one line of 30 numbers, got {rows.shape}")
    if abs(rows[0, 0]) >= 90 or abs(rows[0, 1]) > 180:
        raise UnreadableFileError(path, f"latitude {rows[0, 0]}, longitude {rows[0, 1]}")
    return rows[0, :6]


def imu_to_world(packet: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Pose (4, 4) of the IMU (x forward, y left, z up).

    The world's axes are east, north and up; its origin is the place of ``origin``, a packet whose
    latitude also gives the scale of the Mercator projection.

    Source: Geiger et al. 2013, Vision meets Robotics, and the recordings' development kit.
    """
    scale = np.cos(np.radians(origin[0]))
    pose = np.eye(4)
    pose[:3, 3] = _mercator(packet, scale) - _mercator(origin, scale)
    (cr, cp, cy), (sr, sp, sy) = np.cos(packet[3:6]), np.sin(packet[3:6])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    pose[:3, :3] = about_z @ about_y @ about_x
    return pose


def _mercator(packet: np.ndarray, scale: float) -> np.ndarray:
    latitude, longitude, altitude = packet[:3]
    east = scale * EARTH_RADIUS * np.radians(longitude)
    north = scale * EARTH_RADIUS * np.log(np.tan(np.pi / 4 + np.radians(latitude) / 2))
    return np.array([east, north, altitude])
