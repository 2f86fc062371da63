from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from densecl.pairs import PointSet
from pointcl.data.scan import Scan
from pointcl.sensors.pose import inverse, move, pose_from_quaternion


class Drive:
    """Scans of one wall of points from a moving sensor, in sequences of four."""

    def __init__(self, length: int = 8, points: int = 1800, posed: bool = True) -> None:
        self.sequences = [f"drive{n // 4}" for n in range(length)]
        self.points, self.posed, self.read = points, posed, []

    def __len__(self) -> int:
        return len(self.sequences)

    def name(self, index: int) -> str:
        return f"{self.sequences[index]}/{index:03d}"

    def fingerprint(self) -> str:
        return f"drive of {len(self)} x {self.points}"

    def pose(self, index: int) -> np.ndarray:
        turn = 0.1 * index
        where = (900.0 + 4.0 * (index % 4), 100.0, 0.0)
        return pose_from_quaternion((np.cos(turn / 2), 0, 0, np.sin(turn / 2)), where)

    def __getitem__(self, index: int) -> Scan:
        self.read.append(index)
        random = np.random.default_rng(index // 4)
        world = random.uniform((890, 90, 0), (922, 110, 3), (self.points, 3))
        near = np.linalg.norm(world - self.pose(index)[:3, 3], axis=1) < 9
        points = move(inverse(self.pose(index)), world[near])
        order = np.random.default_rng(index).permutation(len(points))
        points = np.concatenate([np.zeros((2, 3)), points[order]]).astype(np.float32)
        return Scan(
            points,
            source=100 + index,
            name=self.name(index),
            sequence=self.sequences[index],
            label=np.append([255, 255], np.flatnonzero(near)[order]),
            ego_to_world=self.pose(index) if self.posed else None,
        )


@pytest.fixture
def drive() -> Callable[..., Drive]:
    return Drive


@pytest.fixture
def cloud_rows() -> Callable[..., PointSet]:
    """Rows of three clouds, unordered, some invalid, some not finite; cloud 1 has none."""

    def build(seed: int = 0, n: int = 60, extent: float = 3.0) -> PointSet:
        g = torch.Generator().manual_seed(seed)
        sample = torch.randint(0, 2, (n,), generator=g) * 2
        coord = torch.rand(n, 3, generator=g) * extent
        coord[5] = torch.nan
        return PointSet(
            fields={},
            sample=sample,
            num_samples=3,
            coord=coord,
            frame=("scan", "m"),
            source=sample + 10,
            index=torch.randperm(n, generator=g),
            valid=torch.rand(n, generator=g) < 0.9,
        )

    return build
