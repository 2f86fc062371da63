"""From hits to colour: surface coordinates, textures, patterns, light, shadow and air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densecl.data.streets.camera import Camera
from densecl.data.streets.drive import Drive
from densecl.data.streets.patterns import paint_patterns, roadway
from densecl.data.streets.primitives import (
    CYLINDER,
    ELLIPSOID,
    HULL,
    Primitives,
    gather,
    turned,
)
from densecl.data.streets.raycast import GROUND, SKY_ID
from densecl.data.streets.shadow import shadow_cells, shadow_map
from densecl.data.streets.texture import bank, read


@dataclass(frozen=True)
class Surface:
    """Hits of n rays on primitives.

    Attributes:
        id: (n,) row of the scene.
        turn: (3, 3, n) rotation and half (3, n) half extents of that primitive.
        local: (3, n) metres in the primitive's frame; normal (3, n) in the same frame.
        u, v: (n,) metres on the surface.
    """

    id: np.ndarray
    turn: np.ndarray
    half: np.ndarray
    local: np.ndarray
    normal: np.ndarray
    u: np.ndarray
    v: np.ndarray


def _put(target: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
    """``target[:, columns] = values``, row by row, which is several times faster."""
    for row, value in zip(target, values, strict=True):
        row[columns] = value


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Scalar products of two (3, n), or of (3,) with (3, n)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _largest(size: np.ndarray) -> np.ndarray:
    """(n,) index of the largest of (3, n), the first of equals."""
    axis = (size[1] > size[0]).astype(np.int8)
    axis[size[2] > np.maximum(size[0], size[1])] = 2
    return axis


def surface(prims: Primitives, ids: np.ndarray, points: np.ndarray) -> Surface:
    """Surface coordinates of hit points (3, n), float32 relative to the world origin."""
    ids = ids.astype(np.intp)
    turn, half = gather(prims.rotation, ids), gather(prims.half, ids)
    gap = points - gather(prims.centre.astype(np.float32), ids)
    local = turned(turn.transpose(1, 0, 2), gap)
    kind = prims.kind.take(ids)
    unit = local / half
    size = np.abs(unit)
    axis = _largest(size)
    normal = np.sign(local)
    for k in range(3):
        normal[k] *= axis == k
    round_ = np.flatnonzero(kind == ELLIPSOID)
    if len(round_):
        n = unit.take(round_, axis=1) / half.take(round_, axis=1)
        _put(normal, round_, n / np.sqrt(_dot(n, n)))
    tube = np.flatnonzero((kind == CYLINDER) & (size[2] < 0.999))
    if len(tube):
        n = unit.take(tube, axis=1) / half.take(tube, axis=1)
        n[2] = 0
        _put(normal, tube, n / np.sqrt(_dot(n, n)))
    hull = np.flatnonzero(kind == HULL)
    if len(hull):
        face = _face(gather(prims.planes, ids.take(hull)), local.take(hull, axis=1))
        _put(normal, hull, face)
        axis[hull] = _largest(np.abs(face))
    u = np.where(axis == 0, local[1], local[0])
    v = np.where(axis == 2, local[1], local[2])
    if len(tube):
        x, y, z = local.take(tube, axis=1)
        u[tube] = np.arctan2(y, x) * half[0].take(tube)
        v[tube] = z
    return Surface(ids, turn, half, local, normal, u, v)


def _face(planes: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Normals (3, n) of the faces of hulls (K, 4, n) that points (3, n) lie on."""
    first = planes[0]
    best, face = _dot(first, local) - first[3], first[:3].copy()
    for plane in planes[1:]:
        excess = _dot(plane, local) - plane[3]
        further = excess > best
        np.copyto(best, excess, where=further)
        np.copyto(face, plane[:3], where=further)
    return face


def sky_colour(drive: Drive, direction: np.ndarray) -> np.ndarray:
    """(3, n) linear colour of the sky along world directions (3, n)."""
    # In float64, whose product and sum are exact enough to round like ``np.hypot``.
    flat = np.sqrt(direction[0].astype(np.float64) ** 2 + direction[1].astype(np.float64) ** 2)
    flat = flat.astype(np.float32)
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


def painted(
    drive: Drive,
    prims: Primitives,
    ids: np.ndarray,
    pattern: np.ndarray,
    points: np.ndarray,
    direction: np.ndarray,
    pixel: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Unlit linear colours (3, m) and world normals (3, m) of hits.

    Args:
        drive, prims: the scene.
        ids: (n,) rows of the first n hits, sorted by their pattern (n,); the rest of the m
            hits are on the ground.
        points, direction: (3, m) where, and along which rays.
        pixel: (m,) metres across a ray's footprint on a surface that faces it.
    """
    base, normal = np.empty_like(points), np.zeros_like(points)
    textures = bank(drive.town.group, int(drive.key[1]))
    n = len(ids)
    if n:
        hit = surface(prims, ids, points[:, :n])
        normal[:, :n] = turned(hit.turn, hit.normal)
        way = direction[:, :n]
        grazing = np.abs(_dot(normal[:, :n], way)) / np.sqrt(_dot(way, way))
        scale = prims.scale.take(hit.id)
        footprint = pixel[:n] / np.sqrt(np.maximum(grazing, 0.05)) / scale
        texture = prims.texture.take(hit.id)
        share = 0.5 + 0.5 * read(textures, texture, hit.u / scale, hit.v / scale, footprint)
        first, second = gather(prims.colour, hit.id)
        base[:, :n] = first * share + second * (1 - share)
        paint_patterns(prims, hit, pattern, base[:, :n], footprint * scale)
    if points.shape[1] > n:
        normal[2, n:] = 1
        way = direction[:, n:]
        slant = np.sqrt(_dot(way, way)) / np.maximum(-way[2], 1e-3)
        footprint = pixel[n:] * np.sqrt(slant)
        base[:, n:] = roadway(drive.town, textures, points[0, n:], points[1, n:], footprint)
    return base, normal


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
    air = drive.weather
    out = np.empty(direction.shape, np.float32)
    sky = np.flatnonzero(ids == SKY_ID)
    if len(sky):
        _put(out, sky, sky_colour(drive, direction.take(sky, axis=1)))
    on, ground = np.flatnonzero(ids >= 0), np.flatnonzero(ids == GROUND)
    # Rays on one pattern lie together, so that each is painted as a slice; the ground is last.
    pattern = prims.pattern.take(ids.take(on))
    order = np.argsort(pattern, kind="stable")
    on, pattern = on.take(order), pattern.take(order)
    solid = np.concatenate([on, ground])
    if not len(solid):
        return out
    td, d = t.take(solid), direction.take(solid, axis=1)
    points = camera.position.astype(np.float32)[:, None] + td * d
    pixel = td / np.float32(camera.intrinsics[0, 0])
    base, normal = painted(drive, prims, ids.take(on), pattern, points, d, pixel)
    sun = air.sun * np.maximum(_dot(normal, drive.light.astype(np.float32)), 0)
    # Sky light is weaker from below and close to the ground: a cheap ambient occlusion.
    ambient = air.ambient * (0.62 + 0.38 * normal[2]) * np.clip(0.72 + 0.3 * points[2], 0.72, 1.0)
    low = np.flatnonzero((points[2] < 0.3) & (normal[2] > 0.9))
    inside, line, column = shadow_cells(camera, points[0].take(low), points[1].take(low))
    low = low.take(inside)
    lit = shadow_map(drive, prims, camera, (line, column))[0][line, column]
    sun[low] *= lit
    ambient[low] *= 0.75 + 0.25 * lit
    warm = np.array([1 + air.warmth, 1.0, 1 - air.warmth], np.float32)
    colour = base * (ambient + sun * warm[:, None]) * 0.9
    haze = np.exp(-td / air.visibility)
    _put(out, solid, colour * haze + drive.sky[0].astype(np.float32)[:, None] * (1 - haze))
    return out
