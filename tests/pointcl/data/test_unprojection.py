"""Depth to points and back."""

import numpy as np

from pointcl.data.unprojection import colours_at, pinhole, unproject

K = pinhole(577.590698, 578.729797, 318.905426, 242.683609)


def test_pointcontrast_numbers():
    depth = np.zeros((480, 640))
    depth[50, 100] = 2.0
    points = unproject(depth, K)
    # the card's numbers count pixel centres in whole numbers; K has the half pixel added
    np.testing.assert_allclose(points[50 * 640 + 100], [-0.757995, -0.665885, 2.0], atol=1e-6)
    assert np.isfinite(points).all(1).sum() == 1


def test_points_project_into_the_middle_of_their_pixel():
    rng = np.random.default_rng(0)
    for step in (1, 2, 3):
        depth = rng.uniform(0.5, 8, (47, 61))
        points = unproject(depth, K, step).astype(np.float64)
        pixel = points @ K.T
        pixel = pixel[:, :2] / pixel[:, 2:]
        rows, columns = np.meshgrid(np.arange(0, 47, step), np.arange(0, 61, step), indexing="ij")
        want = np.stack([columns.ravel(), rows.ravel()], 1) + 0.5
        # float32 points: 1e-7 of 600 pixels
        np.testing.assert_allclose(pixel, want, atol=2e-4)


def test_no_depth_gives_no_point_and_keeps_the_row():
    depth = np.array([[1.0, 0.0], [np.nan, -1.0], [np.inf, 2.0]])
    valid = np.isfinite(unproject(depth, K)).all(1)
    assert valid.tolist() == [True, False, False, False, False, True]


def test_colours_come_from_the_pixel_a_point_falls_into():
    image = np.random.default_rng(1).integers(1, 256, (30, 40, 3)).astype(np.uint8)
    small = pinhole(50, 50, 19.5, 14.5)
    points = unproject(np.full((30, 40), 3.0), small)
    np.testing.assert_array_equal(colours_at(points, image, small), image.reshape(-1, 3))
    # a colour camera of twice the resolution: an even pixel's centre lies on four pixels' corner,
    # so each point is moved a little to the lower right, into the last of the four
    fine = small * [[2], [2], [1]]
    big = image.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(colours_at(points, big, fine), image.reshape(-1, 3))


def test_points_outside_behind_or_missing_are_black():
    image = np.full((30, 40, 3), 200, np.uint8)
    points = np.array([[0, 0, 1], [9, 0, 1], [0, -9, 1], [0, 0, -1], [np.nan] * 3, [0, 0, 0]])
    colour = colours_at(points, image, pinhole(50, 50, 19.5, 14.5))
    assert (colour[:, 0] > 0).tolist() == [True, False, False, False, False, False]
