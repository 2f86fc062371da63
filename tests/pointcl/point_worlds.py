"""Small clouds for the tests of training on points: rooms seen from posed sensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pointcl.data.scan import Scan
from pointcl.registry import DATASETS

UNET = {"type": "MinkUNet", "depth": 14, "width": 4, "in_channels": 1}


def pose(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    c, s = np.cos(yaw), np.sin(yaw)
    matrix[:2, :2] = [[c, -s], [s, c]]
    matrix[:2, 3] = x, y
    return matrix


def room(seed: int, count: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) points on a floor, two walls and some boxes of a room, and their labels."""
    random = np.random.default_rng((seed, 1))
    label = random.integers(0, 4, count)
    points = random.uniform(-3, 3, (count, 3))
    points[:, 2] = random.uniform(0, 2, count)
    points[label == 0, 2] = 0.0
    points[label == 1, 0] = -3.0
    points[label == 2, 1] = 3.0
    boxes = random.uniform(-2, 2, (4, 2))
    inside = label == 3
    corner = boxes[random.integers(0, 4, inside.sum())]
    points[inside, :2] = corner + random.uniform(-0.3, 0.3, (inside.sum(), 2))
    points[inside, 2] *= 0.4
    return points, label


@DATASETS.register_module(force=True)
class Rooms:
    """Scans of rooms, each from a pose of its own; ``views`` scans of a room one after the other.

    Args:
        length: scans.
        views: scans of one room.
        count: points of a room, of which a scan sees some.
        bare: coordinates only, without poses, intensity or labels.
        compensated: what the scans say of themselves.
        colour: of each point, at random.
    """

    def __init__(
        self,
        length: int = 8,
        views: int = 1,
        count: int = 800,
        bare: bool = False,
        compensated: bool = True,
        colour: bool = False,
    ) -> None:
        self.length, self.views, self.count = length, views, count
        self.bare, self.compensated, self.colour = bare, compensated, colour
        self.sequences = [f"room{k // views}" for k in range(length)]

    def __len__(self) -> int:
        return self.length

    def name(self, index: int) -> str:
        return f"room{index // self.views}/{index % self.views}"

    def fingerprint(self) -> str:
        return f"rooms-{self.length}-{self.views}-{self.count}-{self.bare}"

    def __getitem__(self, index: int) -> Scan:
        points, label = room(index // self.views, self.count)
        random = np.random.default_rng((index, 2))
        seen = np.sort(random.permutation(self.count)[: int(0.8 * self.count)])
        own = pose(*random.uniform(-1, 1, 2), yaw=float(random.uniform(-0.5, 0.5)))
        back = np.linalg.inv(own)
        local = (points[seen] @ back[:3, :3].T + back[:3, 3]).astype(np.float32)
        if self.bare:
            return Scan(local, index, self.name(index))
        return Scan(
            local,
            index,
            self.name(index),
            intensity=random.uniform(0, 1, len(seen)).astype(np.float32),
            label=label[seen],
            instance=np.where(label[seen] == 3, label[seen], -1),
            sequence=self.sequences[index],
            ego_to_world=own,
            colour=random.integers(0, 256, (len(seen), 3), np.uint8) if self.colour else None,
            compensated=self.compensated,
        )


@DATASETS.register_module(force=True)
class Furnished(Rooms):
    """Rooms whose boxes are foreground segments 2 to 5, both walls background, the floor none."""

    def __getitem__(self, index: int) -> Scan:
        scan = super().__getitem__(index)
        assert scan.label is not None
        objects = scan.label == 3
        corner = (scan.points[:, 0] > 0) + 2 * (scan.points[:, 1] > 0)
        ids = np.where(objects, 2 + corner, scan.label - 1)
        foreground = np.where(objects, ids, -1)
        return replace(scan, regions={"segment": ids, "foreground": foreground})


def config(**changes):
    """Sections of a small run; ``changes`` are whole sections, merged one level deep."""
    sections = {
        "method": {"type": "PointContrast", "backbone": dict(UNET), "dim": 8},
        "views": {"recipe": "pointcontrast"},
        "voxels": {"size": 0.25},
        "data": {"type": "Rooms"},
        "loader": {"batch_size": 2, "num_workers": 0},
        "optim": {"type": "SGD", "lr": 0.1, "momentum": 0.8, "scaling": "none"},
        "schedule": {"max_steps": 6},
        "train": {"threads": 1, "device": "cpu"},
        "checkpoint": {"every": 3, "keep": 3},
        "log": {"every": 1, "tensorboard": False},
        "health": {"every": 2, "min_rank": 0.0, "min_std": 0.0},
    }
    for name, section in changes.items():
        if isinstance(section, dict):
            sections[name] = {**sections.get(name, {}), **section}
        else:
            sections[name] = section
    return sections
