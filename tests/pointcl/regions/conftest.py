import numpy as np
import pytest


@pytest.fixture
def random():
    return np.random.default_rng()


def box(random, centre, side, count):
    """Points in an upright box."""
    return np.asarray(centre) + (random.uniform(size=(count, 3)) - 0.5) * np.asarray(side)


@pytest.fixture
def street(random):
    """Points of a sloping road, two cars, a wall and a post, and which is which (0 to 4)."""
    road = np.column_stack([random.uniform(-15, 15, (4000, 2)), random.normal(0, 0.03, 4000)])
    parts = [
        road,
        box(random, (5, 3, 0.95), (4, 1.8, 1.2), 500),
        box(random, (5, 6, 0.95), (4, 1.8, 1.2), 500),
        box(random, (0, -12, 2.4), (20, 0.1, 4), 3000),
        box(random, (-6, 4, 1.8), (0.2, 0.2, 2.8), 120),
    ]
    points = np.concatenate(parts)
    points[:, 2] += 0.05 * points[:, 0] - 1.7
    label = np.repeat(np.arange(5), [len(part) for part in parts])
    return points.astype(np.float32), label
