from __future__ import annotations

import numpy as np
import pytest

from pointcl.regions.normals import estimate_normals, upward


def test_points_of_a_plane_have_its_normal(random):
    normal = np.array([0.3, -0.5, 0.8]) / np.linalg.norm([0.3, -0.5, 0.8])
    points = random.normal(size=(300, 3))
    points -= np.outer(points @ normal - 4, normal)
    assert np.allclose(estimate_normals(points), normal, atol=1e-5)


def test_points_of_a_sphere_have_its_radius(random):
    points = random.normal(size=(4000, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    along = np.abs((estimate_normals(points) * points).sum(1))
    assert np.median(along) > 0.99


def test_normals_are_those_of_the_scatter_of_the_nearest_points(random):
    points = random.uniform(size=(80, 3))
    found = estimate_normals(points, 10)
    for row, point in enumerate(points):
        near = points[np.argsort(np.linalg.norm(points - point, axis=1))[:10]]
        axis = np.linalg.svd(near - near.mean(0))[2][2]
        assert abs(axis @ found[row]) == pytest.approx(1, abs=1e-5)
        assert found[row, 2] >= 0


def test_of_a_direction_and_its_opposite_one_is_given():
    rows = np.array([[1, 2, -3], [1, -2, 0], [-1, 0, 0], [0, 0, 1.0]])
    expected = np.array([[-1, -2, 3], [-1, 2, 0], [1, 0, 0], [0, 0, 1.0]])
    assert (upward(rows) == expected).all()
    assert (upward(-rows) == expected).all()


def test_too_few_points_have_none():
    assert np.isnan(estimate_normals(np.zeros((2, 3)))).all()
    assert estimate_normals(np.zeros((0, 3))).shape == (0, 3)
    points = np.random.default_rng(1).normal(size=(5, 3))
    points[2, 0] = np.nan
    assert np.flatnonzero(np.isnan(estimate_normals(points)).any(1)).tolist() == [2]
    with pytest.raises(ValueError, match="3 points"):
        estimate_normals(points, 2)
