from __future__ import annotations

import numpy as np
import pytest

from pointcl.viz.raster import eye_dome, spacing, splat

RED, BLUE = (255, 0, 0), (0, 0, 255)
WHITE = np.full((6, 8, 3), 255.0)


def one(pixels, depth, colours, **options):
    colours = np.array(colours, np.uint8).reshape(-1, 3)
    options = {"radius": 0.5, "edges": 0.0} | options
    pixels = np.array(pixels, float).reshape(-1, 2)
    return splat(pixels, np.array(depth, float), colours, (6, 8), **options)


def test_one_point_fills_the_pixel_it_lies_in():
    raster = one([[3.5, 2.5]], [1], [RED], radius=0.75)
    picture = raster.over(WHITE)
    assert tuple(picture[2, 3]) == RED
    others = np.ones((6, 8), bool)
    others[2, 3] = False
    assert (picture[others] == 255).all()
    assert (raster.row[4:6, 6:8] == 0).all()


def test_a_disc_covers_the_samples_whose_centres_it_holds():
    x, y, radius, fine = 4.3, 2.9, 1.7, 4
    raster = one([[x, y]], [1], [RED], radius=radius, fine=fine)
    wanted = np.full((24, 32), -1)
    for i in range(24):
        for j in range(32):
            if np.hypot((j + 0.5) / fine - x, (i + 0.5) / fine - y) <= radius:
                wanted[i, j] = 0
    np.testing.assert_array_equal(raster.row, wanted)
    assert raster.cover.sum() == pytest.approx((wanted == 0).sum() / fine**2, rel=1e-6)


def test_edges_of_a_disc_are_smooth():
    picture = one([[4, 3]], [1], [(0, 0, 0)], radius=2.2, fine=4).over(WHITE)
    assert len(np.unique(picture[..., 0])) > 3
    assert picture[3, 4, 0] == 0


def test_the_nearer_point_wins_whatever_the_order():
    for order in ([0, 1], [1, 0]):
        depth, colours = np.array([5.0, 2.0])[order], np.array([RED, BLUE])[order]
        picture = one([[3.5, 2.5]] * 2, depth, colours).over(WHITE)
        assert tuple(picture[2, 3]) == BLUE


def test_a_small_near_point_stands_before_a_large_far_one():
    picture = one([[4, 3], [4.5, 3.5]], [9, 1], [RED, BLUE], radius=np.array([3.0, 0.75])).over(
        WHITE
    )
    assert tuple(picture[3, 4]) == BLUE
    assert tuple(picture[1, 3]) == RED


def test_what_is_behind_not_finite_or_outside_is_not_drawn():
    pixels = [[3.5, 2.5], [3.5, 2.5], [np.nan, 1], [30, 2], [3, -20], [3, 3]]
    raster = one(pixels, [-1, 0, 1, 1, 1, np.nan], [RED] * 6)
    assert (raster.row == -1).all()
    assert (raster.over(WHITE) == 255).all()


def test_a_disc_beyond_the_edge_reaches_into_the_picture():
    assert (one([[-0.5, 3.5]], [1], [RED], radius=1.2).over(WHITE)[3, 0] != 255).any()


def test_every_sample_shows_the_nearest_disc_over_it():
    random = np.random.default_rng(0)
    n, fine = 60, 3
    pixels, depth = random.uniform(-1, 9, (n, 2)), random.uniform(1, 9, n)
    radius = random.uniform(0.0, 2.0, n)
    raster = one(pixels, depth, random.integers(0, 255, (n, 3)), radius=radius, fine=fine)
    for i in range(6 * fine):
        for j in range(8 * fine):
            away = np.hypot((j + 0.5) / fine - pixels[:, 0], (i + 0.5) / fine - pixels[:, 1])
            holds = (away <= radius) | (np.floor(pixels * fine) == (j, i)).all(1)
            rows = np.flatnonzero(holds)
            wanted = rows[depth[rows].argmin()] if len(rows) else -1
            assert raster.row[i, j] == wanted


def test_the_order_of_rows_makes_no_difference_even_at_equal_depth():
    random = np.random.default_rng(1)
    pixels = random.integers(0, 6, (200, 2)) + 0.5
    depth, colours = random.integers(1, 4, 200), random.integers(0, 255, (200, 3))
    first = one(pixels, depth, colours, edges=1.0).over(WHITE)
    for _ in range(3):
        order = random.permutation(200)
        again = one(pixels[order], depth[order], colours[order], edges=1.0).over(WHITE)
        np.testing.assert_array_equal(first, again)


def test_no_points_leave_the_background():
    assert (one([], [], []).over(WHITE) == 255).all()


def test_a_flat_wall_is_not_darkened_and_the_far_side_of_a_step_is():
    wall, every = np.full((9, 9), 3.0, np.float32), np.arange(81)
    np.testing.assert_array_equal(eye_dome(wall, every, 1.0), 1.0)
    wall[:, 5:] = 4.0
    light = eye_dome(wall, every, 1.0).reshape(9, 9)
    assert light[4, 5] < 0.7
    np.testing.assert_array_equal(light[:, :5], 1.0)
    np.testing.assert_array_equal(eye_dome(wall, every, 0.0), 1.0)


def test_nothing_beside_a_point_does_not_darken_it():
    far = np.full((5, 5), np.inf, np.float32)
    far[2, 2] = 1.0
    assert eye_dome(far, np.array([12]), 1.0) == 1.0


def test_points_beside_nearer_ones_are_drawn_darker():
    pixels, colours = [[2, 3], [5, 3]], [(200, 200, 200)] * 2
    plain = one(pixels, [9, 2], colours, radius=2.0).over(WHITE)
    edged = one(pixels, [9, 2], colours, radius=2.0, edges=1.0).over(WHITE)
    assert edged[3, 2, 0] < plain[3, 2, 0]
    np.testing.assert_array_equal(edged[:, 5:], plain[:, 5:])


def test_spacing_of_a_grid_is_its_step_in_any_order():
    grid = np.stack(np.meshgrid(*[np.arange(15) * 0.25] * 3), -1).reshape(-1, 3)
    assert spacing(grid) == pytest.approx(0.25)
    points = np.random.default_rng(3).normal(size=(4000, 3))
    mixed = np.random.default_rng(4).permutation(points)
    assert spacing(points) == spacing(mixed)
    assert spacing(grid[:1]) == 0
