"""From hits to colour: surface coordinates, textures, patterns, light, shadow and air."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from densecl.data.streets.camera import Camera
from densecl.data.streets.drive import Drive
from densecl.data.streets.patterns import paint_patterns, roadway
from densecl.data.streets.primitives import CYLINDER, ELLIPSOID, HULL, Primitives
from densecl.data.streets.raycast import GROUND
from densecl.data.streets.texture import bank, read


@dataclass(frozen=True)
class Surface:
    """Hits of n rays on primitives.

    Attributes:
        id: (n,) row of the scene.
        local: (3, n) metres in the primitive's frame; normal (3, n) in the same frame.
        u, v: (n,) metres on the surface. depth (n,).
    """

    id: np.ndarray
    local: np.ndarray
    normal: np.ndarray
    u: np.ndarray
    v: np.ndarray
    depth: np.ndarray


def surface(prims: Primitives, ids: np.ndarray, points: np.ndarray, depth: np.ndarray) -> Surface:
    """Surface coordinates of hit points (3, n), float32 relative to the world origin."""
    back = prims.rotation[ids]
    gap = points - prims.centre[ids].T.astype(np.float32)
    local = np.einsum("nji,jn->in", back, gap)
    half = prims.half[ids].T
    kind = prims.kind[ids]
    unit = local / half
    size = np.abs(unit)
    axis = np.argmax(size, 0)
    column = np.arange(len(ids))
    normal = np.zeros_like(local)
    normal[axis, column] = np.sign(local[axis, column])
    round_ = np.flatnonzero(kind == ELLIPSOID)
    if len(round_):
        n = unit[:, round_] / half[:, round_]
        normal[:, round_] = n / np.sqrt((n * n).sum(0))
    tube = np.flatnonzero((kind == CYLINDER) & (size[2] < 0.999))
    if len(tube):
        n = unit[:, tube] / half[:, tube]
        n[2] = 0
        normal[:, tube] = n / np.sqrt((n * n).sum(0))
    hull = np.flatnonzero(kind == HULL)
    if len(hull):
        planes = prims.planes[ids[hull]]
        excess = np.einsum("nkj,jn->nk", planes[..., :3], local[:, hull]) - planes[..., 3]
        face = planes[np.arange(len(hull)), excess.argmax(1), :3]
        normal[:, hull] = face.T
        axis[hull] = np.abs(face).argmax(1)
    u = np.where(axis == 0, local[1], local[0])
    v = np.where(axis == 2, local[1], local[2])
    if len(tube):
        u[tube] = np.arctan2(local[1, tube], local[0, tube]) * half[0, tube]
        v[tube] = local[2, tube]
    return Surface(ids, local, normal, u, v, depth)


def shadow_map(
    drive: Drive, prims: Primitives, camera: Camera
) -> tuple[np.ndarray, np.ndarray, float]:
    """Ground shadow as a picture seen from above.

    Every primitive near the camera throws its outline along the light onto the ground.

    Returns:
        (S, S) float32 light share in [0, 1], the (2,) world position of its first corner and
        the metres a cell.
    """
    side, cell = 320, 0.18
    forward = camera.rotation[2, :2] / (np.linalg.norm(camera.rotation[2, :2]) + 1e-9)
    corner = camera.position[:2] + forward * (0.5 * side * cell - 3.0) - 0.5 * side * cell
    image = np.full((side, side), 255, np.uint8)
    slope = drive.light[:2] / drive.light[2]
    tall = prims.centre[:, 2] - 0.1
    cast_at = prims.centre[:, :2] - slope * tall[:, None]
    middle = corner + 0.5 * side * cell
    reach = prims.radius * (1 + np.hypot(*slope)) + 0.71 * side * cell
    rows = np.flatnonzero(
        (np.linalg.norm(cast_at - middle, axis=1) < reach)
        & (tall + prims.radius > 0.3)
        & (prims.half.max(1) > 0.08)
        & (prims.hollow < 0.5)
        & (prims.half[:, 2] != 0.5)
    )
    if len(rows):
        ball = prims.kind[rows] == ELLIPSOID
        shape = np.where(ball[:, None, None], _SPHERE, _CUBE)
        points = np.einsum(
            "nij,npj->npi", prims.rotation[rows], shape * prims.half[rows][:, None, :]
        )
        points = points + prims.centre[rows][:, None, :]
        height = np.maximum(points[..., 2] - 0.1, 0)
        flat = points[..., :2] - slope * height[..., None]
        grid = ((flat - corner) / cell * 16).astype(np.int32)
        for outline in grid:
            cv2.fillConvexPoly(image, cv2.convexHull(outline), 0, shift=4)
    soft = cv2.GaussianBlur(image, (0, 0), 1.0 + 3.0 * drive.weather.softness)
    return soft.astype(np.float32) / 255, corner, cell


_CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)] * 2, np.float32)
_SPHERE = np.array(
    [
        [np.cos(a) * c, np.sin(a) * c, s]
        for c, s in ((1, 0), (0.6, 0.8), (0.6, -0.8))
        for a in np.arange(5) * 2 * np.pi / 5
    ]
    + [[0, 0, 1]],
    np.float32,
)


def sky_colour(drive: Drive, direction: np.ndarray) -> np.ndarray:
    """(3, n) linear colour of the sky along world directions (3, n)."""
    flat = np.hypot(direction[0], direction[1])
    rise = np.clip(direction[2] / (flat + 1e-6), 0, 3)
    share = 1 - np.exp(-2.2 * rise)
    horizon, zenith, cloud = drive.sky.astype(np.float32)
    colour = horizon[:, None] * (1 - share) + zenith[:, None] * share
    # Clouds lie in a plane far above: they grow finer towards the horizon.
    plane = 0.35 / (rise + 0.12)
    u = direction[0] / (flat + 1e-6) * plane
    v = direction[1] / (flat + 1e-6) * plane
    textures = bank(drive.town.group, int(drive.key[1]))
    row = np.zeros(len(u), np.int32)
    spread = 0.006 * plane
    puff = read(textures, row, u, v, spread) + 0.5 * read(
        textures, row + 1, 3 * u, 3 * v, 3 * spread
    )
    cover = np.clip((puff + drive.weather.cover) * 2.2, 0, 1) * np.clip(rise * 8, 0, 1)
    return colour * (1 - 0.75 * cover) + cloud[:, None] * 0.75 * cover


def shade(
    drive: Drive,
    prims: Primitives,
    camera: Camera,
    t: np.ndarray,
    ids: np.ndarray,
    direction: np.ndarray,
) -> np.ndarray:
    """Linear colours (3, n) of n rays.

    Args:
        drive, prims, camera: the scene at the camera's time.
        t, ids: from ``cast``; direction (3, n) as cast.
    """
    group, seed = drive.town.group, int(drive.key[1])
    air = drive.weather
    out = sky_colour(drive, direction)
    solid = np.flatnonzero(np.isfinite(t))
    if not len(solid):
        return out
    td, d = t[solid], direction[:, solid]
    points = camera.position.astype(np.float32)[:, None] + td * d
    is_ground = ids[solid] == GROUND
    on = np.flatnonzero(~is_ground)
    pixel = td / np.float32(camera.intrinsics[0, 0])
    n = len(solid)
    base = np.empty((3, n), np.float32)
    normal = np.zeros((3, n), np.float32)
    textures = bank(group, seed)
    if len(on):
        row = ids[solid][on]
        hit = surface(prims, row, points[:, on], td[on])
        normal[:, on] = np.einsum("nij,jn->in", prims.rotation[row], hit.normal)
        scale = prims.scale[row]
        grazing = np.abs((normal[:, on] * d[:, on]).sum(0)) / np.sqrt((d[:, on] ** 2).sum(0))
        footprint = pixel[on] / np.sqrt(np.maximum(grazing, 0.05)) / scale
        grain = read(textures, prims.texture[row], hit.u / scale, hit.v / scale, footprint)
        share = 0.5 + 0.5 * grain
        pair = prims.colour[row]
        colour = pair[:, 0].T * share + pair[:, 1].T * (1 - share)
        base[:, on] = paint_patterns(prims, hit, colour, footprint * scale)
    ground = np.flatnonzero(is_ground)
    if len(ground):
        normal[2, ground] = 1
        x, y = points[0, ground], points[1, ground]
        slant = np.sqrt((d[:, ground] ** 2).sum(0)) / np.maximum(-d[2, ground], 1e-3)
        footprint = pixel[ground] * np.sqrt(slant)
        base[:, ground] = roadway(drive.town, textures, x, y, footprint)
    light = drive.light.astype(np.float32)
    facing = np.maximum((normal * light[:, None]).sum(0), 0)
    lit, corner, cell = shadow_map(drive, prims, camera)
    low = np.flatnonzero((points[2] < 0.3) & (normal[2] > 0.9))
    column = ((points[0, low] - corner[0]) / cell).astype(np.int32)
    line = ((points[1, low] - corner[1]) / cell).astype(np.int32)
    inside = (column >= 0) & (column < lit.shape[1]) & (line >= 0) & (line < lit.shape[0])
    low, column, line = low[inside], column[inside], line[inside]
    sun = air.sun * facing
    sun[low] *= lit[line, column]
    # Sky light is weaker from below and close to the ground: a cheap ambient occlusion.
    ambient = air.ambient * (0.62 + 0.38 * normal[2]) * np.clip(0.72 + 0.3 * points[2], 0.72, 1.0)
    ambient[low] *= 0.75 + 0.25 * lit[line, column]
    warm = np.array([1 + air.warmth, 1.0, 1 - air.warmth], np.float32)
    colour = base * (ambient + sun * warm[:, None]) * 0.9
    haze = np.exp(-td / air.visibility)
    out[:, solid] = colour * haze + drive.sky[0].astype(np.float32)[:, None] * (1 - haze)
    return out
