from __future__ import annotations

import numpy as np
import pytest

from pointcl.viz.cameras import Viewpoint, from_above, perspective


def test_a_parallel_view_maps_metres_to_pixels_about_the_middle():
    view = Viewpoint((1, 2, 10), (1, 2, 0), up=(0, 1, 0), angle=0, span=4)
    pixels, depth, scale = view.project(np.array([[1, 2, 0], [1.5, 2.25, 3]]), (8, 12))
    # 8 pixels for 4 m; x to the right, y up
    np.testing.assert_allclose(pixels, [[6, 4], [7, 3.5]])
    np.testing.assert_allclose(depth, [10, 7])
    np.testing.assert_allclose(scale, 2)


def test_a_pinhole_agrees_with_its_formula_written_out():
    eye, target = np.array([3.0, -4.0, 5.0]), np.array([1.0, 2.0, 0.5])
    view = Viewpoint(tuple(eye), tuple(target), angle=50)
    points = target + np.random.default_rng(0).normal(size=(20, 3))
    pixels, depth, _ = view.project(points, (60, 90))
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    focal = 30 / np.tan(np.radians(25))
    for point, pixel, z in zip(points, pixels, depth, strict=True):
        away = point - eye
        assert z == pytest.approx(away @ forward)
        wanted = [
            45 + focal * (away @ right) / z,
            30 - focal * (away @ np.cross(right, forward)) / z,
        ]
        np.testing.assert_allclose(pixel, wanted)


def test_points_behind_the_eye_have_no_pixel():
    view = Viewpoint((0, 0, 0), (1, 0, 0))
    pixels, depth, scale = view.project(np.array([[-1.0, 0, 0], [0, 0, 0], [2, 0, 0]]), (10, 10))
    assert np.isnan(pixels[:2]).all()
    assert np.isnan(scale[:2]).all()
    np.testing.assert_allclose(pixels[2], [5, 5])
    assert depth[0] == -1


def test_up_is_up_and_left_is_left():
    view = Viewpoint((0, 0, 0), (1, 0, 0))  # looks along x: y is left, z up
    pixels, _, _ = view.project(np.array([[5.0, 1, 0], [5, 0, 1]]), (10, 10))
    assert pixels[0, 0] < 5
    assert pixels[1, 1] < 5


@pytest.mark.parametrize("size", [(80, 120), (120, 80)])
@pytest.mark.parametrize("frame", [from_above, perspective])
def test_most_points_lie_in_the_picture_and_fill_it(frame, size):
    points = np.random.default_rng(1).normal(size=(4000, 3)) * [30, 12, 2] + [5, -8, 1]
    pixels, _, _ = frame(points, size).project(points, size)
    inside = ((pixels > 0) & (pixels < [size[1], size[0]])).all(1)
    assert 0.85 < inside.mean() < 1
    reach = np.percentile(pixels[inside], 98, axis=0) - np.percentile(pixels[inside], 2, axis=0)
    assert (reach / [size[1], size[0]]).max() > 0.7


def test_the_frame_depends_on_the_points_not_on_their_order_and_ignores_nan():
    random = np.random.default_rng(2)
    points = random.normal(size=(500, 3)) * 10
    mixed = np.concatenate([random.permutation(points), np.full((3, 3), np.nan)])
    for frame in (from_above, perspective):
        first, second = frame(points, (80, 120)), frame(mixed, (80, 120))
        np.testing.assert_allclose(first.eye, second.eye)
        np.testing.assert_allclose(first.target, second.target)


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.zeros((1, 3)), np.full((2, 3), np.nan)])
def test_no_point_and_one_point_have_a_view(points):
    for frame in (from_above, perspective):
        pixels, _, _ = frame(points, (80, 120)).project(np.zeros((1, 3)), (80, 120))
        assert np.isfinite(pixels).all()


def test_impossible_views_are_refused():
    with pytest.raises(ValueError, match="direction"):
        Viewpoint((0, 0, 5), (0, 0, 0))
    with pytest.raises(ValueError, match="span"):
        Viewpoint((0, 0, 5), (0, 0, 0), up=(0, 1, 0), angle=0)
    with pytest.raises(ValueError, match="180"):
        Viewpoint((0, 0, 5), (1, 0, 0), angle=180)
