"""Rigid poses as (4, 4) float64 matrices; ``a_to_b`` takes coordinates in a to those in b."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

UNIT = 1e-3
"""How far the length of a quaternion, or a rotation's Gram matrix, may be from one."""


def pose_from_quaternion(
    rotation: Sequence[float], translation: Sequence[float] = (0.0, 0.0, 0.0)
) -> np.ndarray:
    """Pose of a rotation given as (w, x, y, z) and a translation in metres.

    Raises:
        ValueError: the quaternion is not of unit length, or something is not finite.
    """
    q = np.asarray(rotation, np.float64)
    shift = np.asarray(translation, np.float64)
    if q.shape != (4,) or shift.shape != (3,) or not np.isfinite([*q, *shift]).all():
        raise ValueError(f"no pose: rotation {rotation}, translation {translation}")
    length = float(np.linalg.norm(q))
    if abs(length - 1) > UNIT:
        raise ValueError(f"a rotation is a quaternion of length 1, got {rotation} of {length:.4f}")
    w, x, y, z = q / length
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = shift
    return pose


def check_pose(pose: np.ndarray, name: str) -> np.ndarray:
    """The pose as float64.

    Raises:
        ValueError: it is not a finite (4, 4) rigid motion; ``name`` says which one.
    """
    matrix = np.asarray(pose, np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be a finite (4, 4) matrix, got\n{pose}")
    turn = matrix[:3, :3]
    rigid = np.abs(turn @ turn.T - np.eye(3)).max() < UNIT and np.linalg.det(turn) > 0
    if not rigid or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise ValueError(f"{name} must be a rotation and a translation, got\n{matrix}")
    return matrix


def inverse(pose: np.ndarray) -> np.ndarray:
    """``b_to_a`` of ``a_to_b``."""
    turn = pose[:3, :3].T
    out = np.eye(4)
    out[:3, :3] = turn
    out[:3, 3] = -turn @ pose[:3, 3]
    return out


def compose(*poses: np.ndarray) -> np.ndarray:
    """One pose for several, the first applied first: ``compose(a_to_b, b_to_c)`` is a_to_c."""
    out = np.eye(4)
    for pose in poses:
        out = pose @ out
    return out


def move(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 3) in the pose's target frame, float64."""
    return np.asarray(points, np.float64) @ pose[:3, :3].T + pose[:3, 3]


def rotate(pose: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Directions (..., 3) in the pose's target frame, float64."""
    return np.asarray(directions, np.float64) @ pose[:3, :3].T
