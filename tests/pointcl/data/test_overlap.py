"""Overlaps against the definition, point by point."""

import numpy as np
import pytest

from pointcl.data.overlap import downsample, overlaps


def test_each_voxel_gives_the_mean_of_its_points():
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.2, (300, 3)).astype(np.float32)
    points[5] = np.nan
    got = downsample(points, 0.1)
    cells = {}
    for row in np.delete(points, 5, 0).astype(np.float64):
        cells.setdefault(tuple(np.floor(row / 0.1).astype(int)), []).append(row)
    want = [np.mean(cells[key], 0) for key in sorted(cells)]
    np.testing.assert_allclose(got, want, atol=1e-12)
    assert downsample(points[5:6], 0.1).shape == (0, 3)


@pytest.mark.parametrize("least", [0.05, 0.3, 0.8])
def test_overlap_is_the_larger_share_of_points_with_a_neighbour(least):
    rng = np.random.default_rng(1)
    starts = [np.array([0.15 * k, 0, 0]) for k in range(7)]
    clouds = [rng.uniform(at, at + 1, (rng.integers(20, 80), 3)) for at in starts]
    clouds.append(np.empty((0, 3)))
    radius = 0.17
    want = {}
    for i in range(8):
        for j in range(i + 1, 8):
            gap = np.linalg.norm(clouds[i][:, None] - clouds[j][None], axis=2) < radius
            shares = [side.mean() if side.size else 0 for side in (gap.any(1), gap.any(0))]
            if gap.size and max(shares) >= least:
                want[i, j] = max(shares)
    i, j, share = overlaps(clouds, radius, least)
    assert dict(zip(zip(i.tolist(), j.tolist(), strict=True), share.tolist(), strict=True)) == want
    assert list(zip(i, j, strict=True)) == sorted(want)
    near = overlaps(clouds, radius, least, max_gap=2)
    assert set(zip(near[0].tolist(), near[1].tolist(), strict=True)) == {
        pair for pair in want if pair[1] - pair[0] <= 2
    }


def test_a_small_cloud_inside_a_large_one_overlaps_whatever_the_order():
    large = np.random.default_rng(3).uniform(0, 5, (400, 3))
    for clouds in ([large, large[:10]], [large[:10], large]):
        assert overlaps(clouds, 0.01, 0.9)[2].tolist() == [1.0]


def test_neighbours_in_each_of_the_26_cells_around_are_found():
    steps = [np.subtract(step, 1) for step in np.ndindex(3, 3, 3) if step != (1, 1, 1)]
    for step in steps:
        # just inside the cell and just outside: nearer than the cell's edge, which is the radius
        clouds = [np.array([0.5 + 0.45 * step]), np.array([0.5 + 0.55 * step])]
        assert len(overlaps(clouds, 1.0, 0.5)[0]) == 1


def test_few_or_no_clouds_have_no_pairs():
    for clouds in ([], [np.zeros((4, 3))], [np.empty((0, 3))] * 3):
        i, j, share = overlaps(clouds, 0.1, 0.3)
        assert len(i) == len(j) == len(share) == 0


def test_equal_clouds_overlap_fully_on_both_sides_of_zero():
    cloud = np.random.default_rng(2).normal(0, 3, (200, 3))
    i, j, share = overlaps([cloud, cloud.copy()], 1e-3, 1.0)
    assert (i.tolist(), j.tolist(), share.tolist()) == ([0], [1], [1.0])
