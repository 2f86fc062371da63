"""One turn of the sensor through a drive: what it hits, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densecl.data.streets.classes import IGNORE
from densecl.data.streets.draw import rng
from densecl.data.streets.drive import Drive
from densecl.data.streets.primitives import SLAB, Primitives
from densecl.data.streets.raycast import cast
from densecl.data.streets.render import in_yard, labels
from pointcl.data.streets import materials
from pointcl.data.streets.firing import Firing, fire
from pointcl.data.streets.motion import Motion
from pointcl.data.streets.objects import Objects, objects
from pointcl.data.streets.rig import Mount, draw_mounts
from pointcl.data.streets.sensor import FARTHEST, NEAREST, Sensor
from pointcl.data.streets.window import window

GRAIN = 0.002
"""Metres: the steps in which ranges are reported."""


@dataclass(frozen=True)
class Sweep:
    """What one turn reports, as a range image.

    Attributes:
        time: seconds since the drive's start, in the middle of the turn.
        motion: of the vehicle.
        elevations: (beams,) float64 radians, descending.
        to_ego: (4, 4) float64 pose sensor -> ego.
        mounts: the cameras by name.
        distance: (beams, steps) uint16 in steps of ``GRAIN`` metres, 0 = no return.
        intensity: (beams, steps) uint8. label: (beams, steps) uint8. instance: (beams, steps)
            int32, -1 = none. Without a return 0, 255 and -1.
        objects: the cars, people and cyclists with a return.
    """

    time: float
    motion: Motion
    elevations: np.ndarray
    to_ego: np.ndarray
    mounts: dict[str, Mount]
    distance: np.ndarray
    intensity: np.ndarray
    label: np.ndarray
    instance: np.ndarray
    objects: Objects


@dataclass(frozen=True)
class Hits:
    """What the rays of one turn truly hit.

    Attributes:
        firing: the rays.
        scene: all primitives at the timestamp; the limbs of each actor as they are when the
            beam passes it.
        distance: (beams, steps) float32 metres, inf = nothing.
        prim: (beams, steps) int32 rows of ``scene``, or raycast.GROUND, raycast.SKY_ID.
    """

    firing: Firing
    scene: Primitives
    distance: np.ndarray
    prim: np.ndarray

    def points(self, where: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """(n, 3) float64 world positions, when hit, of the hits at (beam, step) indices."""
        beam, step = where
        way = self.firing.directions[beam, step]
        pose = self.firing.poses[step]
        local = way * self.distance[beam, step, None].astype(np.float64)
        return np.einsum("nij,nj->ni", pose[:, :3, :3], local) + pose[:, :3, 3]


def posed(drive: Drive, firing: Firing, time: float) -> Primitives:
    """The scene at ``time``, with the limbs of each actor as they are when the beam passes it."""
    troupe = drive.troupe
    if troupe.parts is None:
        return drive.static
    velocity = troupe.speed[:, None] * troupe.heading
    step = firing.step_towards(troupe.position + time * velocity, velocity)
    moving = troupe.at(time, time + firing.delay[step])
    return drive.static if moving is None else Primitives.concat([drive.static, moving])


def strike(drive: Drive, firing: Firing, time: float) -> Hits:
    """Cast the rays of one turn."""
    scene = posed(drive, firing, time)
    distance, prim = cast(scene, firing.rays(), window(firing, scene, FARTHEST))
    return Hits(firing, scene, distance, prim)


def sweep(drive: Drive, sensor: Sensor, time: float) -> tuple[Sweep, Hits]:
    """One turn with its middle at ``time`` seconds: what is reported, and the truth behind it."""
    motion = Motion.of(drive)
    firing = fire(sensor, motion, time)
    hits = strike(drive, firing, time)
    beam, step = np.nonzero((hits.distance > NEAREST) & (hits.distance < FARTHEST))
    where = (beam, step)
    points, prim = hits.points(where), hits.prim[where]
    distance = hits.distance[where]
    way = np.ascontiguousarray(firing.rays().direction[:, beam, step])
    optics = sensor.optics
    g = rng(*drive.key, "sweep", round(time * 1000))
    seen, cosine = materials.reflectance(
        drive, hits.scene, optics, prim, points.T.astype(np.float32), way, distance
    )
    strength = materials.power(optics, seen, cosine, distance)
    kept = np.flatnonzero(materials.returns(optics, strength, g))
    where, prim, points = (beam[kept], step[kept]), prim[kept], points[kept]

    distances = np.zeros(sensor.shape, np.uint16)
    intensities = np.zeros(sensor.shape, np.uint8)
    classes = np.full(sensor.shape, IGNORE, np.uint8)
    instances = np.full(sensor.shape, -1, np.int32)
    reported = materials.measured(optics, distance[kept], g)
    distances[where] = np.rint(reported / GRAIN)
    intensities[where] = materials.intensity(optics, strength[kept], g)
    classes[where] = classes_of(hits.scene, prim, points)
    instances[where] = np.concatenate([hits.scene.instance, np.full(2, -1, np.int32)])[prim]
    to_world = motion.pose(time) @ sensor.to_ego
    return (
        Sweep(
            time=time,
            motion=motion,
            elevations=sensor.elevations,
            to_ego=sensor.to_ego,
            mounts=draw_mounts(drive),
            distance=distances,
            intensity=intensities,
            label=classes,
            instance=instances,
            objects=objects(drive, time, to_world, instances),
        ),
        hits,
    )


def classes_of(scene: Primitives, prim: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(n,) uint8 class ids of hits on ``prim`` (n,) at world points (n, 3); yards are ignored."""
    found = labels(scene, prim)
    slab = np.flatnonzero((prim >= 0) & (scene.pattern[prim] == SLAB))
    found[slab[in_yard(scene, prim[slab], points[slab])]] = IGNORE
    return found
