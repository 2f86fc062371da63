from __future__ import annotations

import numpy as np
import pytest

from pointcl.views import crops, dropout

LOW, HIGH = np.array([-50.0, -20, -2]), np.array([50.0, 20, 6])


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def points():
    return np.random.default_rng(1).uniform(LOW, HIGH, (3000, 3))


def test_missing_returns_are_left_out():
    rows = crops.usable_rows(
        np.array([[1, 0, 0], [0, 0, 0], [np.nan, 1, 1], [0, 0, -1], [1, np.inf, 1]], np.float32)
    )
    assert rows.tolist() == [0, 3]


def test_the_range_is_the_distance_from_the_sensor():
    points = np.array([[3.0, 4, 0], [0, 0, 4.99], [3, 4, 1], [6, 8, 0]])
    assert crops.within_range(points, 5, 10).tolist() == [True, False, True, False]


def test_a_cropped_box_has_the_sides_it_was_asked_for(points, random):
    for _ in range(20):
        keep = crops.cuboid_crop(points, (0.3, 0.5), 0.9, 1, random)
        inside = points[keep]
        middle = (inside.min(0) + inside.max(0)) / 2
        sides = np.ptp(inside, axis=0)
        # the box may reach beyond the cloud
        assert (sides <= 0.5 * (HIGH - LOW)).all()
        around = (np.abs(points - middle) <= sides / 2 + 1e-9).all(1)
        assert np.array_equal(around, keep)


def test_a_crop_repeats_until_it_holds_enough(points, random):
    for _ in range(10):
        assert crops.cuboid_crop(points, (0.3, 1.0), 0.0, 700, random).sum() >= 700
    assert crops.cuboid_crop(points, (0.1, 0.2), 0.0, 2900, random).all()


def test_two_sides_of_a_crop_are_alike(points, random, monkeypatch):
    seen = []
    monkeypatch.setattr(
        crops,
        "in_box",
        lambda points, middle, side: seen.append(side) or np.ones(len(points), bool),
    )
    for _ in range(50):
        crops.cuboid_crop(points, (0.2, 1.0), 0.95, 1, random)
    share = np.sort(np.array(seen) / np.ptp(points, axis=0), axis=1)
    ratios = np.stack([share[:, 0] / share[:, 1], share[:, 1] / share[:, 2]])
    assert (ratios.max(0) >= 0.95).all()
    assert (ratios.min(0) < 0.95).any()


def test_the_nearest_are_around_one_of_the_points(points, random):
    keep = crops.nearest_crop(points, 200, random)
    assert keep.sum() == 200
    inside, outside = points[keep], points[~keep]
    fits = [
        np.linalg.norm(inside - p, axis=1).max() <= np.linalg.norm(outside - p, axis=1).min()
        for p in inside
    ]
    assert any(fits)
    assert crops.nearest_crop(points[:5], 5, random).all()


def test_a_dropped_cuboid_is_a_box_of_one_share(points, random):
    extent = np.ptp(points, axis=0)
    sizes = []
    for _ in range(300):
        keep = dropout.cuboid_drop(points, (0.0, 0.2), random)
        lost = points[~keep]
        assert len(lost) >= 1
        assert (np.ptp(lost, axis=0) <= 0.2 * extent).all()
        middle, half = (lost.min(0) + lost.max(0)) / 2, np.ptp(lost, axis=0) / 2
        assert np.array_equal(~keep, (np.abs(points - middle) <= half + 1e-9).all(1))
        sizes.append(len(lost) / len(points))
    assert max(sizes) <= 0.2**3 * 2
    assert max(sizes) > 0.2**3 / 2
    assert dropout.cuboid_drop(points, (1.0, 1.0), random).mean() < 0.9


def test_a_share_of_the_beams_is_lost_as_a_whole(random):
    beam = random.integers(0, 20, 2000)
    keep = dropout.beam_dropout(beam, (0.25, 0.25), random)
    lost = set(beam[~keep])
    assert len(lost) == 5
    assert lost.isdisjoint(beam[keep])
    assert dropout.beam_dropout(beam, (0.0, 0.0), random).all()
    assert not dropout.beam_dropout(beam, (1.0, 1.0), random).any()


def test_elevation_stands_in_for_the_ring(random):
    ring = random.integers(0, 16, 500)
    elevation = np.radians(-24 + 1.6 * (ring + 0.5) * 16 / 16)
    azimuth, reach = random.uniform(-3, 3, 500), random.uniform(2, 60, 500)
    points = reach[:, None] * np.stack(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ],
        1,
    )
    bins = dropout.elevation_bins(points, 16)
    assert bins.min() == 0
    assert bins.max() == 15
    for k in range(16):
        assert len(np.unique(bins[ring == k])) <= 2
    order = np.argsort(elevation, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()


def test_single_points_are_lost_by_chance(random):
    shares = [1 - dropout.point_dropout(2000, (0.2, 0.6), random).mean() for _ in range(40)]
    assert 0.15 < min(shares) < 0.3
    assert 0.5 < max(shares) < 0.65
    assert dropout.point_dropout(100, (0.0, 0.0), random).all()


def test_at_most_keeps_a_random_subset(random):
    assert dropout.at_most(100, 30, random).sum() == 30
    assert dropout.at_most(30, 30, random).all()
    drawn = sum(dropout.at_most(10, 3, random).astype(int) for _ in range(1000))
    # binomial(1000, .3): five standard deviations are 72
    assert (np.abs(drawn - 300) < 73).all()


def test_no_points_are_nothing_to_cut(random):
    none = np.zeros((0, 3))
    for keep in (
        crops.cuboid_crop(none, (0.5, 1), 0.5, 1, random),
        crops.nearest_crop(none, 3, random),
        crops.within_range(none, 0, 1),
        dropout.cuboid_drop(none, (0, 1), random),
        dropout.point_dropout(0, (0, 1), random),
        dropout.beam_dropout(dropout.elevation_bins(none, 4), (0, 1), random),
        dropout.at_most(0, 3, random),
    ):
        assert keep.shape == (0,)
        assert keep.dtype == bool
