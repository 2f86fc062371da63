"""Small scenes, sensors and vehicles that the tests of ``pointcl.data.streets`` share."""

from __future__ import annotations

import numpy as np

from densecl.data.streets import primitives as P
from densecl.data.streets.path import Path
from pointcl.data.streets.motion import Motion
from pointcl.data.streets.sensor import Optics, Sensor

OPTICS = Optics(np.full(3, 1 / 3), 1.0, 0.5, 50.0, 0.01, 0.005)
WEDGE = np.array(
    [
        [1, 0, 0, 1],
        [-1, 0, 0, 1],
        [0, 1, 0, 0.8],
        [0, -1, 0, 0.8],
        [0, 0, -1, 0.5],
        [0.6, 0, 0.8, 0.4],
    ],
    np.float32,
)
BOUND = (1.0, 0.8, 1.25)
"""A hull of six faces, and the half extents of the box around it."""


def make_sensor(beams=24, steps=120, height=1.9, tilt=0.0) -> Sensor:
    to_ego = np.eye(4)
    to_ego[:3, :3] = P.pitch_matrix(tilt) @ P.roll_matrix(-tilt)
    to_ego[:3, 3] = -0.3, 0.1, height
    return Sensor(np.radians(np.linspace(15, -28, beams)), steps, to_ego, OPTICS)


def make_motion(speed=0.0, radius=0.0, heading=0.4, bump=0.0) -> Motion:
    """Straight on, or all the time on an arc of ``radius``."""
    arc = (0.0, radius, 3.0) if radius else (1e9, 1.0, 0.0)
    return Motion(Path(np.array([3.0, -2.0]), heading, speed, *arc), (bump, 0.3))


def make_scene(*rows) -> P.Primitives:
    """From (kind, centre, half[, velocity[, rotation]])."""
    build = P.Builder()
    paint = P.Paint(np.full((2, 3), 0.5), 0, 1.0)
    for kind, centre, half, *rest in rows:
        turn = rest[1] if len(rest) > 1 else None
        planes = WEDGE if kind == P.HULL else None
        build.add(kind, centre, half, 1, len(build.rows), paint, rotation=turn, planes=planes)
    scene = build.build()
    for k, (_, _, _, *rest) in enumerate(rows):
        scene.velocity[k] = rest[0] if rest else 0.0
    return scene


def crowd(generator, count=14, reach=14.0) -> P.Primitives:
    """Primitives of all kinds around the vehicle, half of them moving."""
    rows = []
    for k in range(count):
        angle = generator.uniform(-np.pi, np.pi)
        away = generator.uniform(4.5, reach)
        centre = (3 + away * np.cos(angle), -2 + away * np.sin(angle), generator.uniform(0.3, 2.5))
        turn = P.yaw_matrix(generator.uniform(0, 6)) @ P.pitch_matrix(generator.uniform(-0.5, 0.5))
        speed = generator.normal(0, 4, 3) * (1, 1, 0) * (k % 2)
        half = BOUND if k % 4 == P.HULL else generator.uniform(0.3, 1.6, 3)
        rows.append((k % 4, centre, half, speed, turn.astype(np.float32)))
    return make_scene(*rows)
