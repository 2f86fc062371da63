from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pointcl.sensors.pose import check_pose, move
from pointcl.views import rigid


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_a_rotation_is_scipys(random):
    for _ in range(20):
        axis, angle = random.normal(size=3), random.uniform(-4, 4)
        expected = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()
        assert np.allclose(rigid.rotation(axis, angle)[:3, :3], expected, atol=1e-12)


def test_a_positive_turn_about_z_goes_from_x_to_y():
    turned = move(rigid.rotation(np.array([0, 0, 2.0]), math.pi / 2), np.array([[1.0, 0, 5]]))
    assert np.allclose(turned, [[0, 1, 5]])


def test_turns_are_rigid_and_within_their_limits(random):
    for _ in range(50):
        for matrix in (
            rigid.turn_about_z(0.3, random),
            rigid.turn_any(0.3, random),
            rigid.turn_and_tilt(0.3, 0.1, random),
        ):
            check_pose(matrix, "turn")
        z = rigid.turn_about_z(0.3, random)
        assert z[2, 2] == 1
        assert abs(Rotation.from_matrix(z[:3, :3]).magnitude()) <= 0.3
        assert Rotation.from_matrix(rigid.turn_any(0.3, random)[:3, :3]).magnitude() <= 0.3


def test_turns_fill_their_range(random):
    angles = [
        Rotation.from_matrix(rigid.turn_about_z(math.pi, random)[:3, :3]).as_rotvec()[2]
        for _ in range(400)
    ]
    # uniform in +-pi: mean 0, standard deviation pi / sqrt 3; five standard errors
    assert abs(np.mean(angles)) < 5 * math.pi / math.sqrt(3 * 400)
    assert abs(np.std(angles) - math.pi / math.sqrt(3)) < 0.25
    axes = np.array(
        [Rotation.from_matrix(rigid.turn_any(1.0, random)[:3, :3]).as_rotvec() for _ in range(200)]
    )
    assert (np.abs(axes).max(0) > 0.3).all()


def test_a_tilt_moves_the_vertical_by_no_more_than_both_tilts(random):
    lean = []
    for _ in range(100):
        matrix = rigid.turn_and_tilt(math.pi, math.pi / 64, random)
        lean.append(math.acos(min(1.0, matrix[2, 2])))
    # a quarter turn between the two lets them add up
    assert max(lean) <= 2 * math.pi / 64 + 1e-9
    assert max(lean) > math.pi / 64


def test_the_order_of_tilts_and_turn_changes(random, monkeypatch):
    seen = set()
    compose = rigid.compose

    def spy(*turns):
        # which axis each turn leaves alone
        seen.add(tuple(int(np.argmax(np.abs(np.diag(turn)[:3]))) for turn in turns))
        return compose(*turns)

    monkeypatch.setattr(rigid, "compose", spy)
    for _ in range(60):
        rigid.turn_and_tilt(1.0, 0.5, random)
    assert len(seen) == 6


def test_flips_follow_their_probabilities(random):
    assert np.array_equal(rigid.flip((1, 0), random), np.diag([-1.0, 1, 1, 1]))
    assert np.array_equal(rigid.flip((0, 1), random), np.diag([1.0, -1, 1, 1]))
    signs = np.array([np.diag(rigid.flip((0.5, 0.5), random))[:2] for _ in range(400)])
    assert (np.abs(signs.mean(0)) < 0.25).all()
    assert abs(np.corrcoef(signs.T)[0, 1]) < 0.25


def test_scale_shift_and_centre(random):
    points = random.normal(3, 2, (50, 3))
    assert np.allclose(move(rigid.centre(points), points).mean(0), 0)
    assert np.array_equal(rigid.centre(points[:0]), np.eye(4))
    factor = np.diag(rigid.scale(0.5, 2.0, random))
    assert factor[0] == factor[1] == factor[2]
    assert 0.5 <= factor[0] <= 2
    by = rigid.shift(0.4, random)[:3, 3]
    assert (np.abs(by) <= 0.4).all()
    assert len(set(by)) == 3


def test_the_geometry_leads_back(random):
    import torch

    matrix = rigid.compose(
        rigid.turn_any(3, random), rigid.flip((1, 0), random), rigid.shift(5, random)
    )
    points = random.normal(0, 20, (100, 3))
    seen = torch.from_numpy(move(matrix, points))
    geometry = rigid.inverse_geometry(matrix)
    assert np.abs(geometry.to_canonical(seen).numpy() - points).max() < 1e-4
    assert (geometry.from_canonical(torch.from_numpy(points)) - seen).abs().max() < 1e-4


def test_normals_stay_normal_to_a_surface_that_is_squeezed(random):
    matrix = np.diag([1.0, 3.0, 0.5, 1.0]) @ rigid.turn_any(2, random)
    tangents = random.normal(size=(2, 3))
    normal = np.cross(*tangents)[None] / np.linalg.norm(np.cross(*tangents))
    turned = rigid.turn_normals(matrix, normal)
    assert np.allclose(tangents @ matrix[:3, :3].T @ turned[0], 0, atol=1e-12)
    assert np.isclose(np.linalg.norm(turned), 1)
    assert np.array_equal(rigid.turn_normals(matrix, np.zeros((1, 3))), np.zeros((1, 3)))
