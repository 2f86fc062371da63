"""Random motions of a whole cloud, as (4, 4) float64 matrices: cloud -> view.

``pointcl.sensors.pose.compose`` chains them, the first applied first. Most are rigid; a flip and a
scale are affine.
"""

from __future__ import annotations

import numpy as np

from densecl.views.geometry import Affine
from pointcl.sensors.pose import compose

AXES = ("x", "y", "z")


def rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Turn by ``angle`` radians about an axis (3,) of any length but zero."""
    x, y, z = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    matrix = np.eye(4)
    matrix[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return matrix


def turn_about_z(angle: float, random: np.random.Generator) -> np.ndarray:
    """Turn about z by U(-angle, angle) radians."""
    return rotation(np.array([0.0, 0.0, 1.0]), random.uniform(-angle, angle))


def turn_any(angle: float, random: np.random.Generator) -> np.ndarray:
    """Turn about a random axis by U(-angle, angle) radians.

    The axis is a point drawn from a cube around the origin, as PointContrast draws it.
    """
    axis = random.uniform(-0.5, 0.5, 3)
    return rotation(axis, random.uniform(-angle, angle))


def turn_and_tilt(angle: float, tilt: float, random: np.random.Generator) -> np.ndarray:
    """Turns by U(-tilt, tilt) about x and y and by U(-angle, angle) about z, in random order.

    Source: Hou et al. 2021 (CSC).
    """
    limits = (tilt, tilt, angle)
    turns = [rotation(np.eye(3)[k], random.uniform(-limits[k], limits[k])) for k in range(3)]
    return compose(*(turns[k] for k in random.permutation(3)))


def flip(chance: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """Mirror x, and mirror y, each with its probability."""
    sign = np.where(random.random(2) < chance, -1.0, 1.0)
    return np.diag([*sign, 1.0, 1.0])


def scale(low: float, high: float, random: np.random.Generator) -> np.ndarray:
    """One factor U(low, high) for all axes."""
    return np.diag([*[random.uniform(low, high)] * 3, 1.0])


def shift(most: float, random: np.random.Generator) -> np.ndarray:
    """Move by U(-most, most) metres on each axis."""
    return translation(random.uniform(-most, most, 3))


def centre(points: np.ndarray) -> np.ndarray:
    """Move the mean of the points to the origin; nothing to do where there are none."""
    return translation(-points.mean(0)) if len(points) else np.eye(4)


def translation(by: np.ndarray) -> np.ndarray:
    """Move by (3,) metres."""
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return matrix


def turn_normals(matrix: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Unit normals (N, 3) of surfaces that an affine matrix moved; zeros stay zero."""
    turned = normals @ np.linalg.inv(matrix[:3, :3])
    length = np.linalg.norm(turned, axis=1, keepdims=True)
    return turned / np.where(length > 0, length, 1.0)


def inverse_geometry(matrix: np.ndarray) -> Affine:
    """The geometry of a view, view -> cloud, from the (4, 4) matrix cloud -> view."""
    import torch

    return Affine(torch.from_numpy(np.linalg.inv(matrix)[:3].astype(np.float32)))
