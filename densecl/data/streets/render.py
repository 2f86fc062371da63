"""Pictures and their exact companions: label, instance, depth and flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densecl.data.streets.camera import Camera
from densecl.data.streets.classes import IGNORE, ROAD, SKY
from densecl.data.streets.draw import rng
from densecl.data.streets.drive import REACH, Drive
from densecl.data.streets.patterns import YARD_EDGE
from densecl.data.streets.primitives import SLAB, Primitives
from densecl.data.streets.raycast import GROUND, SKY_ID, cast
from densecl.data.streets.shading import shade


@dataclass(frozen=True)
class Picture:
    """A rendered frame; every map holds what lies under the pixel centres.

    Attributes:
        image: (H, W, 3) uint8 RGB. label: (H, W) uint8. instance: (H, W) int32, -1 = none.
        depth: (H, W) float32 metres along the optical axis, inf for sky.
        prim: (H, W) int32 rows of ``scene``, or raycast.GROUND, raycast.SKY_ID.
    """

    image: np.ndarray
    label: np.ndarray
    instance: np.ndarray
    depth: np.ndarray
    prim: np.ndarray
    scene: Primitives
    camera: Camera


def visible(scene: Primitives, camera: Camera) -> np.ndarray:
    """Rows in front of the camera and within reach."""
    gap = scene.centre - camera.position
    radius = scene.radius
    ahead = gap @ camera.rotation[2]
    near = (gap * gap).sum(1) < (REACH + radius) ** 2
    return np.flatnonzero((ahead > -radius) & near)


def labels(scene: Primitives, ids: np.ndarray) -> np.ndarray:
    """Class ids of ray hits, sky and ground included; yards are not told apart yet."""
    # Negative ids index from the end: SKY_ID = -2 and GROUND = -1.
    return np.concatenate([scene.label, np.array([SKY, ROAD], np.uint8)])[ids]


def in_yard(slabs: Primitives, ids: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points (n, 3) on slabs ``ids`` (n,) are open ground, which belongs to no class.

    It lies behind the pavement that runs along the edges of a slab.
    """
    gap = slabs.half[ids, :2] - np.abs(points[:, :2] - slabs.centre[ids, :2])
    top = points[:, 2] > slabs.centre[ids, 2] + slabs.half[ids, 2] - 1e-3
    return top & (gap.min(1) > slabs.param[ids, 0] + YARD_EDGE)


def _yard_pixels(
    part: Primitives, camera: Camera, prim: np.ndarray, depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the pixels that show a yard."""
    row, column = np.nonzero((prim >= 0) & (part.pattern[prim] == SLAB))
    ids = prim[row, column]
    pixels = np.stack([column + 0.5, row + 0.5], -1)
    points = camera.position + depth[row, column, None] * camera.directions(pixels)
    yard = in_yard(part, ids, points)
    return row[yard], column[yard]


def render(
    drive: Drive,
    time: float,
    size: tuple[int, int],
    *,
    colour: bool = True,
    camera: Camera | None = None,
) -> Picture:
    """The picture at ``time`` seconds; without ``colour`` the image is black.

    ``camera`` is another one than the drive's own, at the same time and of the same size.
    """
    scene = drive.scene(time)
    camera = drive.camera(time, size) if camera is None else camera
    rows = visible(scene, camera)
    part = scene.take(rows)
    rays = camera.lattice()
    t, ids = cast(part, rays, camera.window(part))
    far = t > REACH
    t[far], ids[far] = np.inf, SKY_ID
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    if colour:
        flat = rays.direction.reshape(3, -1)
        linear = shade(drive, part, camera, t.ravel(), ids.ravel(), flat)
        image = _expose(drive, time, linear.reshape(3, *t.shape))
    inner = (1, slice(0, height), slice(0, width))
    prim, depth = ids[inner], t[inner].copy()
    label = labels(part, prim)
    label[_yard_pixels(part, camera, prim, depth)] = IGNORE
    whole = np.concatenate([rows, [SKY_ID, GROUND]])[prim].astype(np.int32)
    instance = np.concatenate([part.instance, np.array([-1, -1], np.int32)])[prim]
    return Picture(image, label, instance, depth, whole, scene, camera)


def _expose(drive: Drive, time: float, linear: np.ndarray) -> np.ndarray:
    """Average the lattice (3, 2, H+1, W+1) to pixels; gain, noise and the sRGB curve."""
    corner, centre = linear[:, 0], linear[:, 1, :-1, :-1]
    corners = corner[:, :-1, :-1] + corner[:, 1:, :-1] + corner[:, :-1, 1:] + corner[:, 1:, 1:]
    pixel = 0.5 * centre + 0.125 * corners
    g = rng(*drive.key, "exposure", round(time * 1000))
    level = np.float32(0.30 / (pixel.mean() + 0.02))
    pixel = pixel * level ** np.float32(0.8) * g.uniform(0.8, 1.25)
    pixel = np.maximum(pixel, 0) ** np.float32(1 / 2.2)
    pixel = pixel + g.normal(0, g.uniform(0.003, 0.010), pixel.shape).astype(np.float32)
    return np.ascontiguousarray(
        np.clip(pixel.transpose(1, 2, 0) * 255 + 0.5, 0, 255).astype(np.uint8)
    )
