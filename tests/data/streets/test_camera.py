"""Projection, its inverse and the bounds that cull primitives."""

from __future__ import annotations

import numpy as np

from densecl.data.streets import primitives as P
from densecl.data.streets.camera import NEAR
from densecl.data.streets.drive import build_drive


def a_camera(size=(120, 160)):
    return build_drive("val", 0, 12, "val", 1).camera(1.0, size)


def test_pixels_to_rays_and_back():
    camera = a_camera()
    pixels = np.random.default_rng(0).uniform(0, 160, (50, 2))
    depth = np.random.default_rng(1).uniform(1, 90, (50, 1))
    points = camera.position + depth * camera.directions(pixels)
    back, z = camera.project(points)
    np.testing.assert_allclose(back, pixels, atol=1e-8)
    np.testing.assert_allclose(z[:, None], depth, atol=1e-9)


def test_extrinsics_and_intrinsics_give_the_same_projection():
    camera = a_camera()
    points = camera.position + camera.directions(np.array([[20.0, 30], [150, 100]])) * 7
    local = np.c_[points, np.ones(2)] @ camera.extrinsics.T
    image = local[:, :3] @ camera.intrinsics.T
    np.testing.assert_allclose(image[:, :2] / image[:, 2:], camera.project(points)[0], atol=1e-9)


def test_axes_are_right_handed_and_upright():
    camera = a_camera()
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.rotation) > 0.999
    assert camera.rotation[1, 2] < -0.9, "down must point to -z"


def test_points_behind_have_no_pixel():
    camera = a_camera()
    behind = camera.position - 3 * camera.rotation[2]
    assert np.isnan(camera.project(behind)[0]).all()


def test_lattice_rows_are_corners_and_centres():
    camera = a_camera((10, 14))
    direction = camera.lattice().direction
    assert direction.shape == (3, 2, 11, 15)
    corner, centre = direction[:, 0, 3, 4], direction[:, 1, 3, 4]
    np.testing.assert_allclose(camera.directions(np.array([4.0, 3.0])), corner, atol=1e-6)
    np.testing.assert_allclose(camera.directions(np.array([4.5, 3.5])), centre, atol=1e-6)


def surface_points(prims: P.Primitives, row: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(row)
    unit = rng.normal(size=(count, 3))
    if prims.kind[row] == P.ELLIPSOID:
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    else:
        unit /= np.abs(unit).max(1, keepdims=True)
    return prims.centre[row] + (unit * prims.half[row]) @ prims.rotation[row].T.astype(float)


def test_bounds_hold_every_surface_point_and_are_tight_for_ellipsoids():
    drive = build_drive("val", 0, 12, "val", 1)
    camera = drive.camera(1.0, (120, 160))
    prims = drive.scene(1.0)
    gap = np.linalg.norm(prims.centre - camera.position, axis=1) - prims.radius
    prims = prims.take(np.flatnonzero(gap < 12))
    box, near = camera.bounds(prims)
    checked = crossing = 0
    for row in range(len(prims)):
        points = surface_points(prims, row, 3000)
        pixel, depth = camera.project(points)
        front = depth > NEAR
        if not front.any():
            continue
        crossing += not front.all()
        slack = 1e-3 * np.maximum(1, np.abs(pixel[front])).max()
        assert (pixel[front].min(0) >= box[row, :2] - slack).all()
        assert (pixel[front].max(0) <= box[row, 2:] + slack).all()
        assert near[row] <= depth[front].min() + 1e-4
        if prims.kind[row] == P.ELLIPSOID and depth.min() > 0.5:
            size = box[row, 2:] - box[row, :2]
            seen = pixel.max(0) - pixel.min(0)
            # 3000 random points reach the outline to about 2 %.
            assert (size <= seen * 1.05 + 0.05).all()
            checked += 1
    assert checked >= 5
    assert crossing >= 1, "the scene must hold a primitive that crosses the near plane"
