"""Where the vehicle is at any time: its path, and its nod on the springs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densecl.data.streets.drive import Drive
from densecl.data.streets.path import Path
from densecl.data.streets.primitives import pitch_matrix, yaw_matrix

NOD = 7.0
"""Radians a second of the nod, as in ``Drive.camera``."""


@dataclass(frozen=True)
class Motion:
    """The vehicle's motion; its frame stands on the road, x forward, y left, z up.

    Attributes:
        path: on the ground.
        bump: amplitude and phase of the nod, radians.
    """

    path: Path
    bump: tuple[float, float]

    @classmethod
    def of(cls, drive: Drive) -> Motion:
        """The motion of a drive's vehicle."""
        return cls(drive.path, drive.bump)

    def poses(self, times: np.ndarray) -> np.ndarray:
        """(n, 4, 4) float64 poses ego -> world at (n,) seconds: ``Path.at`` for many times."""
        path, times = self.path, np.asarray(times, np.float64)
        s = path.speed * times
        arc = abs(path.radius) * path.angle
        turn = np.clip(s - path.straight, 0.0, arc) / path.radius
        rest = np.maximum(s - path.straight - arc, 0.0)
        ahead = np.array([np.cos(path.heading), np.sin(path.heading)])
        left = np.array([-ahead[1], ahead[0]])
        heading = path.heading + turn
        way = np.stack([np.cos(heading), np.sin(heading)], 1)
        bent = path.radius * (np.sin(turn)[:, None] * ahead + (1 - np.cos(turn))[:, None] * left)
        place = path.start + np.minimum(s, path.straight)[:, None] * ahead + bent
        out = np.tile(np.eye(4), (len(times), 1, 1))
        nod = self.bump[0] * np.sin(NOD * times + self.bump[1])
        out[:, :3, :3] = yaw_matrix(heading) @ pitch_matrix(nod)
        out[:, :2, 3] = place + rest[:, None] * way
        return out

    def pose(self, time: float) -> np.ndarray:
        """(4, 4) float64 pose ego -> world at ``time`` seconds."""
        return self.poses(np.array([time]))[0]

    def to_numbers(self) -> np.ndarray:
        """(9,) float64 to store."""
        p = self.path
        return np.array(
            [*p.start, p.heading, p.speed, p.straight, p.radius, p.angle, *self.bump], np.float64
        )

    @classmethod
    def from_numbers(cls, numbers: np.ndarray) -> Motion:
        """The inverse of ``to_numbers``."""
        x, y, heading, speed, straight, radius, angle, *bump = numbers.tolist()
        path = Path(np.array([x, y]), heading, speed, straight, radius, angle)
        return cls(path, (bump[0], bump[1]))
