"""Exact optical flow: every hit point is carried on with its part and projected again."""

from __future__ import annotations

import numpy as np

from densecl.data.streets.camera import Camera
from densecl.data.streets.primitives import Primitives
from densecl.data.streets.raycast import SKY_ID, Rays, cast
from densecl.data.streets.render import Picture, visible


def moved_points(picture: Picture, later: Primitives) -> np.ndarray:
    """World positions (H, W, 3) float64, at the later time, of what each pixel shows.

    Sky pixels hold the direction of their ray instead.
    """
    height, width = picture.depth.shape
    column, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    direction = picture.camera.directions(np.stack([column, row], -1))
    sky = picture.prim == SKY_ID
    depth = np.where(sky, 1.0, picture.depth.astype(np.float64))
    points = np.where(sky, 0.0, 1.0)[..., None] * picture.camera.position
    points = points + depth[..., None] * direction
    part = picture.prim >= 0
    ids = picture.prim[part]
    now = picture.scene
    turn = later.rotation[ids].astype(np.float64) @ now.rotation[ids].transpose(0, 2, 1)
    points[part] = later.centre[ids] + np.einsum("nij,nj->ni", turn, points[part] - now.centre[ids])
    return points


def flow(picture: Picture, later: Primitives, camera: Camera) -> np.ndarray:
    """Displacement of every pixel centre to the next frame.

    Args:
        picture: the earlier frame.
        later, camera: scene (same rows) and camera at the next frame's time.

    Returns:
        (H, W, 2) float32 pixels (x, y); NaN where the point leaves the image or is hidden in
        the next frame. Occlusion is decided by casting a ray at the moved point itself.
    """
    height, width = picture.depth.shape
    points = moved_points(picture, later)
    sky = picture.prim == SKY_ID
    relative = np.where(sky[..., None], points, points - camera.position)
    target = camera.to_pixels(relative @ camera.rotation.T)
    inside = (target[..., 0] >= 0) & (target[..., 0] <= width)
    inside &= (target[..., 1] >= 0) & (target[..., 1] <= height)
    row, column = np.nonzero(inside)
    at = target[row, column]
    rows = visible(later, camera)
    part = later.take(rows)
    rays = Rays(camera.position, np.ascontiguousarray(camera.directions(at).T, np.float32))
    depth, ids = cast(part, rays, camera.window(part, at))
    reached = (relative @ camera.rotation[2])[row, column]
    seen = np.concatenate([rows, [SKY_ID, -1]])[ids]
    same = seen == picture.prim[row, column]
    # Float32 depths agree to a few 1e-4; parts of one object may touch, so depth decides too.
    close = depth > reached * (1 - 2e-3) - 0.01
    hidden = np.where(sky[row, column], ids != SKY_ID, ~(same | close))
    column_, row_ = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    result = target - np.stack([column_, row_], -1)
    result[~inside] = np.nan
    result[row[hidden], column[hidden]] = np.nan
    return result.astype(np.float32)
