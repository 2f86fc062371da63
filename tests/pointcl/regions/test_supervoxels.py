from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from pointcl.regions.supervoxels import supervoxels, touching


@pytest.fixture
def floor(random):
    """A floor, red on one side of x = 1 and blue on the other."""
    points = random.uniform(0, 2, (6000, 3)) * [1, 1, 0.02]
    colour = np.where(points[:, :1] < 1, [200, 40, 40], [40, 40, 200]).astype(np.uint8)
    return points, colour


def test_supervoxels_keep_to_a_border_of_colour(floor):
    points, colour = floor
    # seeds of 0.3 m have cells across the border at 1 m
    ids = supervoxels(points, colour, seed=0.3, colour_weight=5.0)
    red = colour[:, 0] > 100
    away = np.abs(points[:, 0] - 1) > 0.05
    for k in range(ids.max() + 1):
        assert len(np.unique(red[(ids == k) & away])) <= 1
    plain = supervoxels(points, seed=0.3)
    assert any(len(np.unique(red[(plain == k) & away])) == 2 for k in range(plain.max() + 1))


def test_supervoxels_keep_to_an_edge(random):
    floor = random.uniform(0, 1, (4000, 3)) * [1, 1, 0]
    wall = random.uniform(0, 1, (4000, 3)) * [0, 1, 1]
    points = np.concatenate([floor, wall]) + np.array([0.11, 0, 0.13])
    ids = supervoxels(points, voxel=0.04, seed=0.3, normal_weight=4.0)
    side = np.repeat([0, 1], 4000)
    mixed = [min(np.bincount(side[ids == k], minlength=2)) for k in range(ids.max() + 1)]
    assert sum(mixed) < 0.06 * len(points)


def test_they_are_about_as_large_as_the_seeds_are_apart(floor):
    ids = supervoxels(floor[0], seed=0.25)
    assert 40 <= ids.max() + 1 <= 90
    for k in range(ids.max() + 1):
        assert np.ptp(floor[0][ids == k], axis=0).max() < 3 * 0.25


def test_each_is_connected_and_every_point_is_in_one(random):
    points = random.uniform(0, 1, (700, 3)) * [2, 2, 0.4]
    ids = supervoxels(points, voxel=0.1, seed=0.4)
    assert ids.min() == 0
    lattice = np.floor(points / 0.1)
    for k in range(ids.max() + 1):
        own = np.unique(lattice[ids == k], axis=0)
        near = cdist(own, own, "chebyshev") <= 1
        reached = near[0]
        for _ in own:
            reached = near[reached].any(0)
        assert reached.all()


def test_points_of_a_voxel_share_a_supervoxel(floor):
    points, _ = floor
    ids = supervoxels(points)
    voxel = np.unique(np.floor(points / 0.05), axis=0, return_inverse=True)[1].reshape(-1)
    for k in range(0, voxel.max() + 1, 37):
        assert len(np.unique(ids[voxel == k])) == 1


def test_voxels_touch_over_faces_edges_and_corners(random):
    lattice = np.unique(random.integers(-3, 4, (60, 3)), axis=0)
    a, b = touching(lattice)
    found = sorted(zip(a.tolist(), b.tolist(), strict=True))
    near = cdist(lattice, lattice, "chebyshev") == 1
    assert found == sorted(zip(*(side.tolist() for side in np.nonzero(near)), strict=True))


def test_the_order_of_the_points_only_renames_them(floor, random):
    points, colour = floor
    order = random.permutation(len(points))
    whole = supervoxels(points, colour)
    mixed = np.empty_like(whole)
    mixed[order] = supervoxels(points[order], colour[order])
    pairs = np.unique(np.stack([whole, mixed]), axis=1)
    assert pairs.shape[1] == whole.max() + 1 == mixed.max() + 1


def test_nothing_little_and_not_a_number(random):
    assert supervoxels(np.zeros((0, 3))).shape == (0,)
    assert supervoxels(np.zeros((1, 3))).tolist() == [0]
    assert supervoxels(np.zeros((30, 3))).tolist() == [0] * 30
    points = random.uniform(0, 1, (50, 3))
    points[3] = np.inf
    assert np.flatnonzero(supervoxels(points) < 0).tolist() == [3]
    with pytest.raises(ValueError, match="2 voxel <= seed"):
        supervoxels(points, voxel=0.2, seed=0.3)
    with pytest.raises(ValueError, match="colour"):
        supervoxels(points, np.zeros((3, 3), np.uint8))
