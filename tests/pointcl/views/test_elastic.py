from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from densecl.errors import UsageError
from pointcl.views import colour, elastic


def by_interpolator(points, granularity, magnitude, random):
    """The same draws, blurred by loops and read by another library routine."""
    low = points.min(0)
    shape = (np.ptp(points, axis=0) // granularity).astype(int) + 3
    noise = random.standard_normal((3, *shape), dtype=np.float32).astype(np.float64)
    for _ in range(2):
        for axis in (1, 2, 3):
            padded = np.pad(noise, [(1, 1) if k == axis else (0, 0) for k in range(4)])
            n = noise.shape[axis]
            noise = sum(np.take(padded, range(k, k + n), axis) for k in range(3)) / 3
    nodes = [low[k] - granularity + granularity * np.arange(shape[k]) for k in range(3)]
    return magnitude * np.stack([RegularGridInterpolator(nodes, v)(points) for v in noise], 1)


def test_elastic_distortion_agrees_with_an_interpolator():
    points = np.random.default_rng(0).uniform(-3, 5, (200, 3)) * [1, 0.5, 0.2]
    ours = elastic.elastic(points, 0.4, 1.6, np.random.default_rng(7))
    expected = by_interpolator(points, 0.4, 1.6, np.random.default_rng(7))
    # the noise is blurred in float32
    assert np.abs(ours - expected).max() < 1e-5
    assert np.abs(ours).max() > 0.1


def test_near_points_move_alike():
    points = np.random.default_rng(0).uniform(0, 4, (300, 3))
    moved = elastic.elastic(
        np.concatenate([points, points + 0.01]), 1.0, 1.0, np.random.default_rng(1)
    )
    assert np.abs(moved[:300] - moved[300:]).max() < 0.02
    assert np.ptp(moved) > 0.2


def test_a_lattice_too_fine_is_refused_with_its_size():
    points = np.array([[0.0, 0, 0], [200, 200, 20]])
    with pytest.raises(UsageError, match="1006 x 1006 x 103"):
        elastic.elastic(points, 0.1994, 0.4, np.random.default_rng(0))


def test_one_point_and_none():
    random = np.random.default_rng(0)
    assert elastic.elastic(np.ones((1, 3)), 0.2, 0.4, random).shape == (1, 3)
    assert elastic.elastic(np.ones((0, 3)), 0.2, 0.4, random).shape == (0, 3)


def test_jitter_is_normal_up_to_its_limit():
    noise = elastic.jitter(5000, 0.01, 0.02, np.random.default_rng(0))
    assert np.abs(noise).max() == 0.02
    # 15000 draws; clipping at two sigma takes 7 % off the deviation
    assert abs(noise.std() - 0.0094) < 3e-4
    assert abs(noise.mean()) < 5e-4


def test_colours_stay_in_range_and_move_together():
    random = np.random.default_rng(0)
    colours = random.uniform(0.3, 0.6, (100, 3))
    moved = colour.colour_shift(colours, 0.1, random) - colours
    assert np.allclose(moved, moved[0])
    assert 0 < np.abs(moved).max() <= 0.1
    assert len(set(moved[0].round(9))) == 3
    stretched = colour.colour_contrast(colours, random)
    assert (stretched.max(0) > colours.max(0)).all()
    assert (np.argsort(stretched[:, 0]) == np.argsort(colours[:, 0])).all()
    flat = np.full((5, 3), 0.4)
    assert np.allclose(colour.colour_contrast(flat, random), flat)
    for values in (
        colour.colour_shift(colours, 1.0, random),
        colour.colour_noise(colours, 1.0, random),
        colour.intensity_gain(colours[:, 0], 1.0, random),
        colour.intensity_noise(colours[:, 0], 1.0, random),
    ):
        assert values.min() >= 0
        assert values.max() <= 1
    grey = colour.grey(np.array([[1.0, 0, 0], [0.5, 0.5, 0.5]]))
    assert np.allclose(grey, [[0.299] * 3, [0.5] * 3])


def test_a_gain_is_one_factor():
    values = np.linspace(0.1, 0.5, 9)
    factor = colour.intensity_gain(values, 0.5, np.random.default_rng(3)) / values
    assert np.allclose(factor, factor[0])
    assert 0.5 <= factor[0] <= 1.5
