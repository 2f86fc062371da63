"""Intensities: in range, falling with distance and slant, and no key to the class."""

from __future__ import annotations

import numpy as np
import pytest
from lidar_scenes import OPTICS

from pointcl.data.streets import materials
from pointcl.data.streets.dataset import LidarStreets


def test_power_falls_with_distance_and_slant():
    one = np.ones(3)
    near = materials.power(OPTICS, one, one, np.array([1e-6, 50.0, 100.0]))
    np.testing.assert_allclose(near, [1.0, 0.5, 0.2])
    slanted = materials.power(OPTICS, one, np.array([1.0, 0.25, 0.0]), np.full(3, 1e-6))
    np.testing.assert_allclose(slanted, [1.0, 0.5, 0.0])


def test_returns_follow_their_chance():
    rng = np.random.default_rng(0)
    strength = np.full(40_000, OPTICS.floor)
    share = materials.returns(OPTICS, strength, rng).mean()
    assert share == pytest.approx(0.99 * (1 - np.exp(-1)), abs=0.01)
    assert not materials.returns(OPTICS, np.zeros(1000), rng).any()
    assert materials.returns(OPTICS, np.ones(10_000), rng).mean() == pytest.approx(0.99, abs=0.005)


def test_intensities_stay_in_their_byte():
    rng = np.random.default_rng(0)
    value = materials.intensity(OPTICS, np.linspace(0, 4, 1000), rng)
    assert value.dtype == np.uint8
    assert value.max() == 255
    assert np.median(value[:5]) < 30


def test_noise_grows_with_range_and_has_no_bias():
    rng = np.random.default_rng(0)
    for distance in (1.0, 80.0):
        gap = materials.measured(OPTICS, np.full(20_000, distance), rng) - distance
        assert np.std(gap) == pytest.approx(0.01 * (1 + distance / 100), rel=0.03)
        assert abs(gap.mean()) < 4e-4


def test_intensity_alone_says_little_about_the_class():
    """The best guess from an intensity's byte, fitted on the very same points."""
    data = LidarStreets("val", 12, steps=300, cameras=(), cache=False)
    scans = [data[k] for k in range(12)]
    label = np.concatenate([s.label for s in scans])
    value = np.concatenate([np.rint(s.intensity * 255) for s in scans]).astype(np.int64)
    known = label < 11
    table = np.zeros((256, 11), np.int64)
    np.add.at(table, (value[known], label[known]), 1)
    best = table.max(1).sum() / known.sum()
    commonest = table.sum(0).max() / known.sum()
    assert best < commonest + 0.12
    each = [np.percentile(value[label == c], [10, 90]) for c in range(1, 11)]
    for low, _ in each:
        for _, high in each:
            assert low < high, "any two classes overlap"
