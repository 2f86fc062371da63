"""What a data set of scans yields: one cloud, its pose, its cameras, its labels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pointcl.sensors.camera import Camera
from pointcl.sensors.pose import check_pose, compose

IGNORE = 255


@dataclass
class Boxes:
    """Upright 3D boxes in the frame of the scan's points.

    Attributes:
        centre: (K, 3) float64 metres, the middle of the box.
        extent: (K, 3) float64 metres: length along the heading, width, height.
        yaw: (K,) float64 radians about z, 0 = along x, counter-clockwise from above.
        label: names of the classes, K of them.
        instance: (K,) int64 id over time, -1 = unknown.
    """

    centre: np.ndarray
    extent: np.ndarray
    yaw: np.ndarray
    label: list[str]
    instance: np.ndarray

    def __len__(self) -> int:
        return len(self.centre)

    def contain(self, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """(N,) int64 row of the box that each point (N, 3) lies in, -1 = none.

        Where boxes overlap, the smaller one wins. ``margin`` metres are added on every side.
        """
        owner = np.full(len(points), -1, np.int64)
        for row in np.argsort(-self.extent.prod(1), kind="stable"):
            away = points - self.centre[row]
            c, s = np.cos(self.yaw[row]), np.sin(self.yaw[row])
            along, across = c * away[:, 0] + s * away[:, 1], c * away[:, 1] - s * away[:, 0]
            local = np.stack([along, across, away[:, 2]], 1)
            owner[(np.abs(local) <= self.extent[row] / 2 + margin).all(1)] = row
        return owner


@dataclass
class Scan:
    """One cloud as its sensor gave it, or one room.

    Per-point arrays are in the order of the file; row n stays row n, also where a point has no
    finite return. Frames: the points lie in the sensor's frame (z up, except where the reader
    says otherwise); ``to_ego`` leads on to the vehicle, ``ego_to_world`` to the world at
    ``timestamp``.

    Attributes:
        points: (N, 3) float32 metres.
        source: id of the scan in its data set, stable across epochs and runs.
        name: the path or key, for messages and stores.
        intensity: (N,) float32 in [0, 1]; how each reader gets there is in its docstring.
        colour: (N, 3) uint8 RGB.
        normal: (N, 3) float32 of unit length.
        ring: (N,) int16 beam of the sensor.
        time: (N,) float32 seconds from ``timestamp`` to the firing of each point.
        label: (N,) int64 class id, 255 = ignore.
        instance: (N,) int64, -1 = none.
        regions: name -> (N,) int64 segment ids that the data set ships, -1 = none.
        sequence: drive or room that the scan belongs to, "" = alone.
        timestamp: seconds, None = unknown.
        to_ego: (4, 4) float64 pose of the sensor on the vehicle.
        ego_to_world: (4, 4) float64 pose of the vehicle at ``timestamp``, None = unknown.
        cameras: pictures taken near that time.
        boxes: objects, None = not annotated.
        compensated: whether the points are already moved to where they were at ``timestamp``.
    """

    points: np.ndarray
    source: int
    name: str
    intensity: np.ndarray | None = None
    colour: np.ndarray | None = None
    normal: np.ndarray | None = None
    ring: np.ndarray | None = None
    time: np.ndarray | None = None
    label: np.ndarray | None = None
    instance: np.ndarray | None = None
    regions: dict[str, np.ndarray] = field(default_factory=dict)
    sequence: str = ""
    timestamp: float | None = None
    to_ego: np.ndarray = field(default_factory=lambda: np.eye(4))
    ego_to_world: np.ndarray | None = None
    cameras: tuple[Camera, ...] = ()
    boxes: Boxes | None = None
    compensated: bool = True

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 3:
            raise ValueError(f"{self.name}: points must be (N, 3), got {self.points.shape}")
        for name, value in self.rows().items():
            if len(value) != len(self):
                raise ValueError(f"{self.name}: {len(value)} rows of {name}, {len(self)} points")
        self.to_ego = check_pose(self.to_ego, f"{self.name}: to_ego")
        if self.ego_to_world is not None:
            self.ego_to_world = check_pose(self.ego_to_world, f"{self.name}: ego_to_world")

    def __len__(self) -> int:
        return len(self.points)

    def rows(self) -> dict[str, np.ndarray]:
        """Every per-point array but the points, by name; segments as ``regions.NAME``."""
        names = ("intensity", "colour", "normal", "ring", "time", "label", "instance")
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return found | {f"regions.{name}": ids for name, ids in self.regions.items()}

    @property
    def to_world(self) -> np.ndarray | None:
        """(4, 4) points -> world at ``timestamp``, or None where the pose is unknown."""
        return None if self.ego_to_world is None else compose(self.to_ego, self.ego_to_world)
