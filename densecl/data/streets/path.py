"""The way the ego vehicle takes through a town."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densecl.data.streets.town import ROADS, Town

FRAMES = 4
GAP = 2.2
"""Still frames of a drive, and the seconds between them."""


@dataclass(frozen=True)
class Path:
    """Ego motion on the ground: straight, then an arc, then straight.

    Attributes:
        start: (2,) metres; heading radians; speed metres a second.
        straight: metres before the arc; radius metres, > 0 turns left; angle >= 0 of the arc.
    """

    start: np.ndarray
    heading: float
    speed: float
    straight: float
    radius: float
    angle: float

    def at(self, time: float) -> tuple[np.ndarray, float]:
        """(2,) position and the heading at ``time`` seconds."""
        s = self.speed * time
        ahead = np.array([np.cos(self.heading), np.sin(self.heading)])
        left = np.array([-ahead[1], ahead[0]])
        if s <= self.straight or self.angle == 0:
            return self.start + s * ahead, self.heading
        arc = abs(self.radius) * self.angle
        turn = min(s - self.straight, arc) / self.radius
        place = self.start + self.straight * ahead
        place = place + self.radius * (np.sin(turn) * ahead + (1 - np.cos(turn)) * left)
        heading = self.heading + turn
        rest = max(s - self.straight - arc, 0.0)
        return place + rest * np.array([np.cos(heading), np.sin(heading)]), heading


def draw_path(g: np.random.Generator, town: Town) -> Path:
    """Along one road in its lane; about a third of the paths turn into a crossing road."""
    grid = town.grid
    axis = int(g.integers(2))
    line = int(g.integers(len(grid.lines[0])))
    sense = 1 if g.random() < 0.5 else -1
    half = float(grid.widths[axis][line])
    # Driving on the side of the town's traffic: right of the centre where side is +1.
    lateral = -grid.side * sense * g.uniform(0.25, 0.5) * half * (1 if axis == 1 else -1)
    across = float(grid.lines[axis][line]) + lateral
    other = grid.lines[1 - axis]
    # Drives end well before the ring road, whose far side closes every street.
    low, high = float(other[0]), float(other[-1])
    low, high = (low, high - 18.0) if sense > 0 else (low + 18.0, high)
    speed = g.uniform(4.0, 9.0)
    turning = g.random() < 0.35
    length = speed * GAP * FRAMES
    if turning:
        # Turn from this road into a crossing one, towards the middle of the town.
        cross = int(g.integers(1, len(other) - 1))
        inward = float(np.sign(ROADS // 2 - line)) or float(g.choice([-1, 1]))
        left = inward * sense * (1 if axis == 1 else -1) > 0
        wide = left == (grid.side > 0)
        radius = g.uniform(6.5, 8.0) if wide else g.uniform(4.0, 4.8)
        shift = (0.37 if wide else -0.37) * float(grid.widths[1 - axis][cross])
        meet = float(other[cross]) + sense * (shift - radius)
        straight = g.uniform(0.1, 0.6) * length
        start = meet - sense * straight
        start = float(np.clip(start, low, high))
        straight = abs(meet - start)
        angle = np.pi / 2
        signed = radius if left else -radius
    else:
        start = g.uniform(low, high - length) if sense > 0 else g.uniform(low + length, high)
        straight, angle, signed = 1e9, 0.0, 1.0
    heading = (0.0 if sense > 0 else np.pi) + (0.0 if axis == 1 else np.pi / 2)
    point = np.array([start, across]) if axis == 1 else np.array([across, start])
    return Path(point, heading, speed, straight, signed, angle)
