"""What comes back from a surface: the laser's view of its paint, and the chance of a return."""

from __future__ import annotations

import numpy as np

from densecl.data.streets.drive import Drive
from densecl.data.streets.primitives import Primitives
from densecl.data.streets.shading import painted
from pointcl.data.streets.sensor import Optics

_WIDTH = 3e-3
"""Radians across a beam: a far spot averages over what is painted there."""
_LOST = 0.01
"""Share of returns that are lost whatever the surface."""
_SPECKLE, _STEPS = 0.025, 255
"""Standard deviation of an intensity in [0, 1], and its steps."""


def reflectance(
    drive: Drive,
    prims: Primitives,
    optics: Optics,
    ids: np.ndarray,
    points: np.ndarray,
    way: np.ndarray,
    distance: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """What the laser sees of the paint at n hits, and the cosine of its incidence.

    Paint is drawn by one function for all classes, and so is what the laser sees of it.

    Args:
        drive, prims, optics: the scene and the sensor.
        ids: (n,) rows of ``prims``, or GROUND.
        points: (3, n) float32 world; way (3, n) float32 unit directions of the rays.
        distance: (n,) float32 metres.

    Returns:
        Both (n,) float32: in [0, 1], and in [0, 1].
    """
    on, ground = np.flatnonzero(ids >= 0), np.flatnonzero(ids < 0)
    pattern = prims.pattern.take(ids.take(on))
    order = np.argsort(pattern, kind="stable")
    on, pattern = on.take(order), pattern.take(order)
    solid = np.concatenate([on, ground])
    base, normal = painted(
        drive,
        prims,
        ids.take(on),
        pattern,
        points.take(solid, axis=1),
        way.take(solid, axis=1),
        np.float32(_WIDTH) * distance.take(solid),
    )
    seen, cosine = np.empty(len(ids), np.float32), np.empty(len(ids), np.float32)
    seen[solid] = optics.tint.astype(np.float32) @ base
    slant = normal * way.take(solid, axis=1)
    cosine[solid] = np.minimum(np.abs(slant[0] + slant[1] + slant[2]), 1)
    return np.clip(seen, 0, 1), cosine


def power(optics: Optics, seen: np.ndarray, cosine: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """(n,) share of the power that a white wall close by would return."""
    return seen * cosine**optics.slant / (1 + (distance / optics.fade) ** 2)


def returns(optics: Optics, strength: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(n,) bool, which of n echoes of ``strength`` the sensor notices."""
    chance = (1 - _LOST) * (1 - np.exp(-strength / optics.floor))
    return generator.random(len(strength)) < chance


def intensity(optics: Optics, strength: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(n,) uint8 in steps of 1/255 of what the sensor reports; the root keeps the dark apart."""
    value = optics.gain * np.sqrt(strength) + generator.normal(0, _SPECKLE, len(strength))
    return np.rint(np.clip(value, 0, 1) * _STEPS).astype(np.uint8)


def measured(optics: Optics, distance: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(n,) float64 metres: the range with its noise, which grows a little with it."""
    spread = optics.noise * (1 + distance / 100)
    return distance + spread * generator.normal(size=len(distance))
