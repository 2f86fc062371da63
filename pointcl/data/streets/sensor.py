"""The spinning sensor: its beams, its mount on the vehicle, and how well it sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densecl.data.streets.draw import banded, rng
from densecl.data.streets.drive import Drive
from densecl.data.streets.primitives import pitch_matrix, roll_matrix, yaw_matrix

NEAREST, FARTHEST = 0.9, 90.0
"""Metres between which a return is reported."""

_SHARE = (0.0, 0.2, 0.75, 1.0)
_DEGREES = (10.0, 2.5, -9.0, -30.0)
"""Beams from the top, as shares of all, and their elevations: closest around the horizon."""


@dataclass(frozen=True)
class Optics:
    """How a return becomes a range and an intensity.

    Attributes:
        tint: (3,) weights of the linear RGB that sum to one: what the laser sees of a paint.
        gain: factor on the intensity.
        slant: exponent of the cosine of incidence.
        fade: metres at which the power has halved.
        noise: standard deviation of the range at the sensor, metres.
        floor: power at which about two rays in three come back.
    """

    tint: np.ndarray
    gain: float
    slant: float
    fade: float
    noise: float
    floor: float


@dataclass(frozen=True)
class Sensor:
    """One sensor on one vehicle.

    Attributes:
        elevations: (beams,) float64 radians, from the top beam down.
        steps: firings of every beam in a turn.
        to_ego: (4, 4) float64 pose sensor -> ego.
        optics: of the sensor.
    """

    elevations: np.ndarray
    steps: int
    to_ego: np.ndarray
    optics: Optics

    @property
    def shape(self) -> tuple[int, int]:
        """(beams, steps): the shape of a range image."""
        return len(self.elevations), self.steps


def fan(beams: int, generator: np.random.Generator) -> np.ndarray:
    """(beams,) elevations in radians, from the top down, no two units quite alike."""
    share = np.linspace(0.0, 1.0, beams)
    if beams > 2:
        share[1:-1] += generator.uniform(-0.35, 0.35, beams - 2) / (beams - 1)
    return np.radians(np.interp(share, _SHARE, _DEGREES))


def draw_sensor(drive: Drive, beams: int, steps: int) -> Sensor:
    """The sensor of a drive: beams, height, tilt and optics are drawn anew for each.

    Heights, tilts and optics come from the bands of the town's group: no two groups share one.
    """
    group = drive.town.group
    g = rng(*drive.key, "lidar")
    elevations = fan(beams, g)
    turn = yaw_matrix(g.normal(0, 0.03))
    turn = turn @ pitch_matrix(banded(g, group, -0.035, 0.035))
    turn = turn @ roll_matrix(banded(g, group, -0.03, 0.03))
    to_ego = np.eye(4)
    to_ego[:3, :3] = turn
    to_ego[:3, 3] = g.uniform(-0.4, 0.2), g.normal(0, 0.05), banded(g, group, 1.55, 2.45)
    optics = Optics(
        tint=g.dirichlet((1.5, 1.5, 1.5)),
        gain=banded(g, group, 0.75, 1.35),
        slant=banded(g, group, 0.3, 0.9),
        fade=banded(g, group, 35.0, 80.0),
        noise=banded(g, group, 0.008, 0.028),
        floor=banded(g, group, 0.003, 0.009),
    )
    return Sensor(elevations, steps, to_ego, optics)
