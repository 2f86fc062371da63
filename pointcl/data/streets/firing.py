"""One turn of a spinning sensor: a ray for each beam and step, each fired at its own time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densecl.data.streets.raycast import Rays
from pointcl.data.streets.motion import Motion
from pointcl.data.streets.sensor import Sensor
from pointcl.data.streets.splits import TURN
from pointcl.sensors.pose import inverse


@dataclass(frozen=True)
class Firing:
    """The rays of one turn, as a grid (beams, steps).

    The sensor turns clockwise seen from above, from the rear over the left side to the front,
    which it passes at the scan's timestamp. All beams of a step fire together.

    Attributes:
        elevations: (beams,) radians, descending; azimuths (steps,) radians, descending.
        delay: (steps,) float64 seconds from the timestamp to each firing.
        poses: (steps, 4, 4) float64 sensor -> world at each firing.
        turn: seconds of the whole turn; 0 = everything at once.
    """

    elevations: np.ndarray
    azimuths: np.ndarray
    delay: np.ndarray
    poses: np.ndarray
    turn: float

    @property
    def directions(self) -> np.ndarray:
        """(beams, steps, 3) float64 unit vectors in the sensor's frame."""
        return directions(self.elevations, self.azimuths)

    def rays(self) -> Rays:
        """The rays of shape (beams, steps), in the world; their ``t`` is the range in metres."""
        shape = (3, len(self.elevations), len(self.azimuths))
        way = np.einsum("kij,bkj->ibk", self.poses[:, :3, :3], self.directions)
        origin = np.broadcast_to(self.poses[:, :3, 3].T[:, None], shape)
        delay = np.broadcast_to(self.delay.astype(np.float32), shape[1:])
        return Rays(origin, np.ascontiguousarray(way, np.float32), delay)

    def step_towards(self, points: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """(n,) int64 step at which the beam passes each of (n, 3) points that move.

        Args:
            points: world positions at the timestamp; velocity (n, 3) metres a second.
        """
        steps = len(self.azimuths)
        step = np.full(len(points), steps // 2)
        # What moves is met elsewhere than at the timestamp; the correction shrinks fast.
        for _ in range(3):
            local = self.relative(points + velocity * self.delay[step, None], step)
            azimuth = np.arctan2(local[:, 1], local[:, 0])
            at = (np.pi - azimuth) / (2 * np.pi) * steps - 0.5
            step = np.clip(np.rint(at), 0, steps - 1).astype(np.int64)
        return step

    def relative(self, points: np.ndarray, step: np.ndarray) -> np.ndarray:
        """World points (n, 3) in the sensor's frame at one step (n,) each."""
        gap = points - self.poses[step, :3, 3]
        return np.einsum("nji,nj->ni", self.poses[step, :3, :3], gap)


def fire(sensor: Sensor, motion: Motion, time: float, turn: float = TURN) -> Firing:
    """The turn whose middle is at ``time`` seconds; ``turn`` = 0 freezes the world."""
    delay = delays(sensor.steps, turn)
    poses = motion.poses(time + delay) @ sensor.to_ego
    return Firing(sensor.elevations, azimuths(sensor.steps), delay, poses, turn)


def delays(steps: int, turn: float = TURN) -> np.ndarray:
    """(steps,) float64 seconds from the middle of a turn to each of its firings."""
    return ((np.arange(steps) + 0.5) / steps - 0.5) * turn


def drift(motion: Motion, to_ego: np.ndarray, time: float, delay: np.ndarray) -> np.ndarray:
    """(steps, 4, 4) float64: from the sensor's frame at each firing to that at the timestamp."""
    return inverse(motion.pose(time) @ to_ego) @ motion.poses(time + delay) @ to_ego


def azimuths(steps: int) -> np.ndarray:
    """(steps,) radians to the left of the sensor's x axis, from the rear clockwise."""
    return np.pi - 2 * np.pi * (np.arange(steps) + 0.5) / steps


def directions(elevations: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """(beams, steps, 3) float64 unit vectors of the sensor's frame."""
    flat, rise = np.cos(elevations)[:, None], np.sin(elevations)[:, None]
    way = [flat * np.cos(azimuth), flat * np.sin(azimuth), rise + 0 * azimuth]
    return np.stack(way, -1)
