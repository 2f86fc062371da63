"""Where each point of a scan truly is in a picture that was taken at another time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densecl.data.streets.camera import Camera
from densecl.data.streets.drive import Drive
from densecl.data.streets.raycast import Rays, cast
from densecl.data.streets.render import visible
from pointcl.data.streets.sweep import Hits

STATES = ("visible", "occluded", "outside", "behind")
VISIBLE, OCCLUDED, OUTSIDE, BEHIND = range(4)

_SAME, _PART = 0.01, 2e-3
"""A surface this many metres, or this share of the depth, in front of a point hides it."""


@dataclass(frozen=True)
class TruePixels:
    """Where N points are in one picture.

    Attributes:
        pixels: (N, 2) float64 x, y; NaN behind the camera.
        depth: (N,) float64 metres along the optical axis.
        state: (N,) int8, an index into ``STATES``.
        world: (N, 3) float64 metres, where each surface point is when the camera fires.
    """

    pixels: np.ndarray
    depth: np.ndarray
    state: np.ndarray
    world: np.ndarray

    @property
    def visible(self) -> np.ndarray:
        """(N,) bool."""
        return self.state == VISIBLE


def carried(hits: Hits, where: tuple[np.ndarray, np.ndarray], drive: Drive, time: float):
    """(n, 3) float64 world positions at ``time`` of the surface points that were hit.

    Each point is fixed to its primitive, so that a point on a leg moves with the stride.

    Args:
        hits: of the scan; where: (beam, step) indices of n hits.
    """
    points, prim = hits.points(where), hits.prim[where]
    part = np.flatnonzero(prim >= 0)
    ids = prim[part]
    now, later = hits.scene, drive.scene(time)
    delay = hits.firing.delay[where[1][part], None]
    gap = points[part] - now.centre[ids] - now.velocity[ids].astype(np.float64) * delay
    turn = later.rotation[ids].astype(np.float64) @ now.rotation[ids].transpose(0, 2, 1)
    points[part] = later.centre[ids] + np.einsum("nij,nj->ni", turn, gap)
    return points


def true_pixels(
    hits: Hits, where: tuple[np.ndarray, np.ndarray], drive: Drive, camera: Camera
) -> TruePixels:
    """The true pixel of each hit, and whether it is seen there.

    A point in front of the camera and inside the picture is occluded where a ray cast from the
    camera towards it meets something clearly nearer.
    """
    world = carried(hits, where, drive, camera.time)
    pixels, depth = camera.project(world)
    state = np.full(len(world), BEHIND, np.int8)
    ahead = np.isfinite(pixels[:, 0])
    state[ahead] = OUTSIDE
    height, width = camera.size
    x, y = np.where(ahead[:, None], pixels, -1.0).T
    inside = np.flatnonzero((x >= 0) & (x < width) & (y >= 0) & (y < height))
    scene = drive.scene(camera.time)
    part = scene.take(visible(scene, camera))
    at = pixels[inside]
    rays = Rays(camera.position, np.ascontiguousarray(camera.directions(at).T, np.float32))
    first, _ = cast(part, rays, camera.window(part, at))
    hidden = first < depth[inside] * (1 - _PART) - _SAME
    state[inside] = np.where(hidden, OCCLUDED, VISIBLE)
    return TruePixels(pixels, depth, state, world)
