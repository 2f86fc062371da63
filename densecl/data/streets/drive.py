"""A drive through a town: the ego path, the weather, and who else is on the street."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from densecl.data.streets import assets
from densecl.data.streets.actors import Troupe
from densecl.data.streets.camera import Camera
from densecl.data.streets.casting import Casting, keep_apart
from densecl.data.streets.draw import banded, rng
from densecl.data.streets.path import FRAMES, GAP, Path, draw_path
from densecl.data.streets.primitives import Primitives, pitch_matrix, roll_matrix, yaw_matrix
from densecl.data.streets.town import Town, build_town

REACH = 115.0
"""Metres around the ego beyond which nothing is drawn."""

_AXES = np.array([[0.0, 0, 1], [-1.0, 0, 0], [0, -1.0, 0]])
"""Columns: right, down and forward of a camera that looks along x."""


@dataclass(frozen=True)
class Drive:
    """One drive; everything is a function of (town, drive number, seed).

    Attributes:
        town: where; static: its primitives that this drive can see.
        light: (3,) unit vector towards the sun.
        sky: (3, 3) linear RGB of horizon, zenith and clouds.
        posture: yaw, pitch and roll of the camera on the car, radians; bump: amplitude and
            phase of its nod. key: of the drive's random draws.
        assets: ids of all that the drive is made of; no id occurs in two town groups.
    """

    town: Town
    static: Primitives
    troupe: Troupe
    path: Path
    rig: assets.Rig
    weather: assets.Weather
    light: np.ndarray
    sky: np.ndarray
    posture: tuple[float, float, float]
    bump: tuple[float, float]
    key: tuple[int | str, ...]
    assets: frozenset[str]

    def scene(self, time: float) -> Primitives:
        """All primitives at ``time`` seconds; row k is the same part at every time."""
        moving = self.troupe.at(time)
        return self.static if moving is None else Primitives.concat([self.static, moving])

    def camera(self, time: float, size: tuple[int, int]) -> Camera:
        """The camera at ``time`` seconds."""
        place, heading = self.path.at(time)
        yaw, pitch, roll = self.posture
        # A nod of the car on its springs moves the horizon between frames of a clip as well.
        pitch += self.bump[0] * np.sin(7.0 * time + self.bump[1])
        turn = yaw_matrix(heading + yaw) @ pitch_matrix(pitch) @ roll_matrix(roll)
        height, width = size
        focal = width / 2 / np.tan(np.radians(self.rig.field_of_view) / 2)
        intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
        position = np.array([place[0], place[1], self.rig.height])
        return Camera(size, intrinsics, (turn @ _AXES).T, position, time)


@lru_cache(maxsize=64)
def build_drive(group: str, seed: int, town_index: int, stage: str, number: int) -> Drive:
    """Drive ``number`` of ``stage`` ("pretrain", "train", ...) in a town."""
    town = build_town(group, seed, town_index)
    key = ("drive", seed, group, town_index, stage, number)
    g = rng(*key)
    path = draw_path(g, town)
    places = np.array([path.at(t)[0] for t in np.arange(0, GAP * FRAMES + 0.5, 0.5)])
    painter = assets.Painter(g, town.colours)
    crowd = {
        "parked": g.choice([0.2, 0.5, 0.85]),
        "moving": g.uniform(1.0, 4.0),
        "cycles": g.uniform(1.0, 4.0),
        "people": g.uniform(3.0, 10.0),
        "jaywalk": g.uniform(0.0, 2.0),
    }
    casting = Casting(g, town, seed, painter)
    casting.encounters(path)
    low, high = places.min(0) - 52.0, places.max(0) + 52.0
    for axis in range(2):
        for line, at in enumerate(town.grid.lines[axis]):
            # The road's own coordinate runs along the other axis.
            near = low[axis] + 30 < at < high[axis] - 30
            if near:
                other = town.grid.lines[1 - axis]
                a = max(low[1 - axis], float(other[0]) - 4)
                b = min(high[1 - axis], float(other[-1]) + 4)
                if b > a:
                    casting.road(axis, line, a, b, crowd)
    troupe = Troupe(keep_apart(casting.actors, path))
    middle = (places.min(0) + places.max(0)) / 2
    spread = np.linalg.norm(places - middle, axis=1).max()
    away = np.linalg.norm(town.static.centre[:, :2] - middle, axis=1) - town.static.radius
    air = int(g.integers(assets.SKIES))
    sky_air = assets.weather(group, seed, air)
    bearing = g.uniform(0, 2 * np.pi)
    flat = np.cos(sky_air.sun_height)
    light = np.array([flat * np.cos(bearing), flat * np.sin(bearing), np.sin(sky_air.sun_height)])
    rig = int(g.integers(assets.RIGS))
    own = {
        f"town/{town_index}",
        assets.asset_id(group, "palette", town.palette),
        assets.asset_id(group, "weather", air),
        assets.asset_id(group, "rig", rig),
    }
    return Drive(
        town=town,
        static=town.static.take(np.flatnonzero(away < REACH + spread)),
        troupe=troupe,
        path=path,
        rig=assets.rig(group, seed, rig),
        weather=sky_air,
        light=light,
        sky=np.stack([painter.pair().mean(0) for _ in range(3)]),
        posture=(g.normal(0, 0.16), banded(g, group, -0.13, 0.15), g.normal(0, 0.02)),
        bump=(g.uniform(0.0, 0.008), g.uniform(0, 6.28)),
        key=key,
        assets=frozenset(casting.used | own),
    )
