from __future__ import annotations

import numpy as np
import pytest

from pointcl.regions.foreground import foreground_ids, foreground_score


def blob(random, count=40, side=(1, 1, 1)):
    return random.uniform(-0.5, 0.5, (count, 3)) * side


def score_of(random, segment, rest=2000, **options):
    points = np.concatenate([segment, random.uniform(-50, 50, (rest, 3))])
    ids = np.where(np.arange(len(points)) < len(segment), 0, -1)
    return foreground_score(points, ids, **options)[0]


def test_a_compact_segment_is_foreground(random):
    assert score_of(random, blob(random)) > 0.5


@pytest.mark.parametrize(
    ("count", "expected"), [(19, False), (20, True), (200, True), (201, False)]
)
def test_the_number_of_points_is_bounded_on_both_sides(random, count, expected):
    assert (score_of(random, blob(random, count), 2000 - count) >= 0.5) == expected


@pytest.mark.parametrize(("length", "expected"), [(9.6, True), (10.4, False)])
def test_the_length_is_bounded_along_the_longest_axis(random, length, expected):
    bar = blob(random, 600, (length, 1, 2))
    bar[:2] = [[-length / 2, 0, 0], [length / 2, 0, 0]]
    # along a diagonal, where it is 0.7 of its length wide and deep
    bar[:, :2] = bar[:, :2] @ np.array([[1, 1], [-1, 1]]) / np.sqrt(2)
    assert (score_of(random, bar, 9000) >= 0.5) == expected
    assert score_of(random, bar, 9000, max_extent=3.0) < 0.5


def test_level_planes_are_background_walls_ramps_and_thick_slabs_are_not(random):
    slab = blob(random, 100, (2, 2, 0.02))
    assert score_of(random, slab) < 0.5
    assert score_of(random, slab[:, [0, 2, 1]]) > 0.5
    angle = np.radians(25)
    ramp = slab @ np.array(
        [[1, 0, 0], [0, np.cos(angle), np.sin(angle)], [0, -np.sin(angle), np.cos(angle)]]
    )
    assert score_of(random, ramp) > 0.5
    assert score_of(random, blob(random, 400, (2, 2, 1.5)), 5000) > 0.5


def test_scores_are_of_each_segment_whatever_the_order(random):
    points = random.normal(size=(600, 3)) * [3, 3, 0.5]
    ids = random.integers(-1, 9, 600)
    points[ids == 4, 2] = 0.0
    score = foreground_score(points, ids)
    assert score.shape == (9,)
    assert ((score >= 0) & (score <= 1)).all()
    order = random.permutation(600)
    assert np.allclose(foreground_score(points[order], ids[order]), score)
    for k in range(9):
        alone = foreground_score(points, np.where(ids == k, 0, -1))
        assert np.allclose(alone, score[k])


def test_ids_of_the_foreground_keep_their_number():
    ids = np.array([0, 1, -1, 2, 1])
    found = foreground_ids(ids, np.array([0.1, 0.5, 0.9]))
    assert found.tolist() == [-1, 1, -1, 2, 1]
    assert foreground_ids(ids, np.array([0.1, 0.5, 0.9]), 0.6).tolist() == [-1, -1, -1, 2, -1]
    assert foreground_ids(np.array([-1, -1]), np.zeros(0)).tolist() == [-1, -1]


def test_nothing_and_points_that_coincide():
    assert foreground_score(np.zeros((0, 3)), np.zeros(0, int)).shape == (0,)
    assert foreground_score(np.zeros((3, 3)), np.full(3, -1)).shape == (0,)
    score = foreground_score(np.zeros((30, 3)), np.zeros(30, int))
    assert np.isfinite(score).all()
