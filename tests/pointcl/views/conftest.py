from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pointcl.data.scan import Scan
from pointcl.sensors.pose import pose_from_quaternion


@pytest.fixture
def make_scan() -> Callable[..., Scan]:
    """A cloud with everything a scan can carry; rows 3 and 7 have no return."""

    def build(seed: int = 0, n: int = 400, source: int = 5, pose: bool = False, **extra) -> Scan:
        random = np.random.default_rng(seed)
        points = random.uniform((-60, -40, -2), (60, 40, 6), (n, 3)).astype(np.float32)
        points[3], points[7] = 0.0, np.nan
        normal = random.normal(size=(n, 3))
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        turn = random.normal(size=4)
        values = {
            "intensity": random.random(n).astype(np.float32),
            "colour": random.integers(0, 256, (n, 3)).astype(np.uint8),
            "normal": normal.astype(np.float32),
            "ring": random.integers(0, 16, n).astype(np.int16),
            "label": random.integers(0, 5, n),
            "instance": random.integers(-1, 9, n),
            "regions": {"segment": random.integers(-1, 20, n)},
        }
        if pose:
            # far away, as the coordinates of a city are
            where = random.uniform(4000, 5000, 3)
            values["ego_to_world"] = pose_from_quaternion(turn / np.linalg.norm(turn), where)
            values["to_ego"] = pose_from_quaternion((1, 0, 0, 0), (1.0, 0.2, 1.7))
        return Scan(points, source=source, name=f"drive/{source:06d}.bin", **{**values, **extra})

    return build
