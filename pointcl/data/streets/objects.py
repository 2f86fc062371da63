"""The cars, people and cyclists of a scan, as boxes in the sensor's frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densecl.data.streets.drive import Drive


@dataclass(frozen=True)
class Objects:
    """Boxes at a scan's timestamp, by instance id.

    A box stands upright in the sensor's frame, which is tilted by up to three degrees: its centre
    is exact, a corner of a car may be some centimetres off.

    Attributes:
        box: (K, 7) float64: centre (3), length, width, height in metres, yaw in radians.
        label: (K,) uint8. instance: (K,) int32.
    """

    box: np.ndarray
    label: np.ndarray
    instance: np.ndarray


def objects(drive: Drive, time: float, to_world: np.ndarray, seen: np.ndarray) -> Objects:
    """The actors among the instance ids ``seen``; ``to_world`` is the pose of the sensor."""
    known = set(np.unique(seen).tolist())
    actors = [a for a in drive.troupe.actors if a.instance in known]
    box = np.empty((len(actors), 7))
    turn = to_world[:3, :3].T
    for row, actor in zip(box, actors, strict=True):
        middle = actor.at(time) + np.array([0, 0, actor.extent[2] / 2])
        row[:3] = turn @ (middle - to_world[:3, 3])
        row[3:6] = actor.extent
        ahead = turn @ np.array([np.cos(actor.yaw), np.sin(actor.yaw), 0.0])
        row[6] = np.arctan2(ahead[1], ahead[0])
    return Objects(
        box,
        np.array([a.label for a in actors], np.uint8),
        np.array([a.instance for a in actors], np.int32),
    )
