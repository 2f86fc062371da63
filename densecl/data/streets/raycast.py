"""The ray caster that every sensor shares: rays against convex primitives, nearest hit wins.

A sensor brings its rays, their window (which rays can meet a primitive at all) and, for
moving scenes, a time per ray. Directions need no unit length: the returned parameter ``t``
is in units of the direction, so a camera whose directions have forward component 1 reads
depth, a LiDAR with unit directions reads range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from densecl.data.streets.primitives import BOX, CYLINDER, ELLIPSOID, HULL, Primitives

SMALL = 1000
"""Primitives that fewer rays can meet are tested together."""

GROUND, SKY_ID = -1, -2
"""Primitive ids of the ground plane z = 0 and of no hit."""


@dataclass(frozen=True)
class Rays:
    """Rays on a grid or in a list.

    Attributes:
        origin: (3,) shared, or (3, *S) per ray; metres, world frame.
        direction: (3, *S) float32, world frame.
        delay: (*S) float32 or None: seconds after the scene's time at which a ray is fired.
    """

    origin: np.ndarray
    direction: np.ndarray
    delay: np.ndarray | None = None


@dataclass(frozen=True)
class Window:
    """Which rays can meet each primitive.

    Attributes:
        order: (n,) rows of the primitives worth casting, nearest first.
        near: (n,) lower bound of ``t``.
        boxes: (n, 4) int x0, y0, x1, y1 into the last two axes of the rays' shape S, or None.
        lists: per entry of ``order`` ids into the one axis of S, where ``boxes`` is None.
    """

    order: np.ndarray
    near: np.ndarray
    boxes: np.ndarray | None = None
    lists: list[np.ndarray] | None = None

    def index(self, k: int) -> tuple[Any, ...]:
        """An index into an array of shape S for entry ``k`` of ``order``."""
        if self.boxes is not None:
            x0, y0, x1, y1 = self.boxes[k]
            return (..., slice(y0, y1), slice(x0, x1))
        return (slice(None) if self.lists is None else self.lists[k],)

    def sizes(self, shape: tuple[int, ...]) -> np.ndarray:
        """(n,) number of rays of each entry."""
        if self.boxes is not None:
            x0, y0, x1, y1 = self.boxes.T
            return int(np.prod(shape[:-2])) * np.maximum(x1 - x0, 0) * np.maximum(y1 - y0, 0)
        if self.lists is not None:
            return np.array([len(rays) for rays in self.lists], np.int64)
        return np.full(len(self.order), int(np.prod(shape)))

    def expand(self, entries: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """All (entry, flat ray id) pairs of some entries, one after another."""
        count = self.sizes(shape)[entries]
        entry = np.repeat(entries, count)
        if self.lists is not None:
            rays = [self.lists[k] for k in entries.tolist()]
            return entry, np.concatenate(rays) if rays else np.zeros(0, np.int64)
        place = np.arange(len(entry)) - np.repeat(np.cumsum(count) - count, count)
        if self.boxes is None:
            return entry, place
        x0, y0, x1, y1 = self.boxes[entry].T
        width, area = x1 - x0, (x1 - x0) * (y1 - y0)
        layer, place = np.divmod(place, area)
        row, column = np.divmod(place, width)
        return entry, (layer * shape[-2] + y0 + row) * shape[-1] + x0 + column


def _column(half: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Half extents (3,) shaped to broadcast against (3, ...) rays; (3, n) stays."""
    return half.reshape((3,) + (1,) * (direction.ndim - 1)) if half.ndim == 1 else half


def hit_box(origin: np.ndarray, direction: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Entry parameter into the box |x| <= half. (3, ...) local rays -> (...), inf = missed.

    ``half`` is (3,), or (3, n) with a box for each of n rays; so for the next two functions.
    A ray that starts inside sees nothing, for this and the other primitives.
    """
    inverse = 1.0 / direction
    half = _column(half, direction)
    low, high = (-half - origin) * inverse, (half - origin) * inverse
    enter, leave = np.minimum(low, high), np.maximum(low, high)
    first = np.maximum(np.maximum(enter[0], enter[1]), enter[2])
    last = np.minimum(np.minimum(leave[0], leave[1]), leave[2])
    return np.where((first <= last) & (first > 0), first, np.inf)


def hit_ellipsoid(
    origin: np.ndarray,
    direction: np.ndarray,
    half: np.ndarray,
    hollow: float | np.ndarray = 0.0,
) -> np.ndarray:
    """Entry parameter into the ellipsoid with half axes ``half``; see ``hit_box``."""
    half = _column(half, direction)
    scale = 1.0 / half
    o, d = origin * scale, direction * scale
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    centre = -(o[0] * d[0] + o[1] * d[1] + o[2] * d[2]) / a
    # The distance of closest approach keeps its digits in float32 where b^2 - ac does not.
    px, py, pz = o[0] + centre * d[0], o[1] + centre * d[1], o[2] + centre * d[2]
    inside = 1.0 - (px * px + py * py + pz * pz)
    t = centre - np.sqrt(np.maximum(inside, 0) / a)
    hit = (inside > 0) & (t > 0)
    if np.any(hollow):
        # Leaves: holes that open towards the outline, fixed to the crown's own coordinates.
        near = np.nonzero(hit & (inside < 2 * hollow))
        x, y, z = (
            np.broadcast_to(origin[k], t.shape)[near] + t[near] * direction[k][near]
            for k in range(3)
        )
        leaf = np.sin(9 * x + 4 * z - 3 * y) + np.sin(8 * y - 5 * x + 7 * z)
        hit[near] = leaf * np.broadcast_to(hollow, t.shape)[near] < inside[near]
    return np.where(hit, t, np.inf)


def hit_cylinder(
    origin: np.ndarray,
    direction: np.ndarray,
    half: np.ndarray,
    hollow: float | np.ndarray = 0.0,
) -> np.ndarray:
    """Entry parameter into the elliptic cylinder along z; see ``hit_box``.

    ``hollow`` > 0 removes the part within this fraction of the radius (a wheel's rim stays).
    """
    ox, oy = origin[0] / half[0], origin[1] / half[1]
    dx, dy = direction[0] / half[0], direction[1] / half[1]
    # A ray along the axis has no closest approach: any point of it is as close.
    a = np.maximum(dx * dx + dy * dy, 1e-12)
    centre = -(ox * dx + oy * dy) / a
    px, py = ox + centre * dx, oy + centre * dy
    inside = 1.0 - (px * px + py * py)
    reach = np.sqrt(np.maximum(inside, 0) / a)
    inverse = 1.0 / direction[2]
    low, high = (-half[2] - origin[2]) * inverse, (half[2] - origin[2]) * inverse
    first = np.maximum(centre - reach, np.minimum(low, high))
    last = np.minimum(centre + reach, np.maximum(low, high))
    hit = (inside > 0) & (first <= last) & (first > 0)
    if np.any(hollow):
        x, y = ox + first * dx, oy + first * dy
        hit &= x * x + y * y > hollow * hollow
    return np.where(hit, first, np.inf)


def hit_hull(origin: np.ndarray, direction: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Entry parameter into the convex body n.x <= offset of ``planes`` (K, 4); see ``hit_box``."""
    shape = direction.shape[1:]
    normal, offset = planes[:, :3], planes[:, 3:]
    along = normal @ direction.reshape(3, -1)
    room = offset - normal @ origin.reshape(3, -1)
    t = room / along
    first = np.where(along < 0, t, -np.inf).max(0)
    last = np.where(along > 0, t, np.inf).min(0)
    outside = ((along == 0) & (room < 0)).any(0)
    hit = (first <= last) & (first > 0) & ~outside
    return np.where(hit, first, np.inf).reshape(shape)


def cast(prims: Primitives, rays: Rays, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Nearest hit of every ray among the primitives and the ground plane.

    Args:
        prims: the scene at the time of rays without delay.
        rays: rays of shape S. With ``delay`` every object is moved on along its velocity.
        window: from the sensor; rays outside a primitive's index are not tested against it.

    Returns:
        t (*S) float32, inf where nothing was hit; id (*S) int32, a row of ``prims``,
        ``GROUND`` or ``SKY_ID``.
    """
    direction = rays.direction
    shared = rays.origin.ndim == 1 and rays.delay is None
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        height = rays.origin[2]
        t = np.where(direction[2] < 0, -height / direction[2], np.inf).astype(np.float32)
        ids = np.where(np.isfinite(t), GROUND, SKY_ID).astype(np.int32)
        back = np.ascontiguousarray(prims.rotation.transpose(0, 2, 1))
        if shared:
            local = np.einsum("nij,nj->ni", back, rays.origin - prims.centre).astype(np.float32)
        small = (window.sizes(t.shape) <= SMALL) & (prims.kind[window.order] != HULL)
        for entry in np.flatnonzero(~small).tolist():
            k, where = window.order[entry], window.index(entry)
            nearest = t[where]
            if nearest.size == 0 or window.near[entry] >= nearest.max():
                continue
            d = direction[(slice(None), *where)]
            shape = d.shape
            d = (back[k] @ d.reshape(3, -1)).reshape(shape)
            one = (3,) + (1,) * (len(shape) - 1)
            if shared:
                o = local[k].reshape(one)
            else:
                start = rays.origin.reshape(one) if rays.origin.ndim == 1 else rays.origin
                o = start if rays.origin.ndim == 1 else start[(slice(None), *where)]
                o = o - prims.centre[k].reshape(one)
                if rays.delay is not None:
                    o = o - prims.velocity[k].reshape(one) * rays.delay[where]
                o = (back[k] @ o.reshape(3, -1).astype(np.float32)).reshape(o.shape)
            kind = prims.kind[k]
            if kind == HULL:
                hit = hit_hull(o, d, prims.planes[k])
            elif kind == BOX:
                hit = hit_box(o, d, prims.half[k])
            else:
                hit = _ROUND[kind](o, d, prims.half[k], float(prims.hollow[k]))
            closer = hit < nearest
            t[where] = np.where(closer, hit, nearest)
            ids[where] = np.where(closer, k, ids[where])
        _cast_small(prims, rays, window, np.flatnonzero(small), back, t, ids)
    return t, ids


_ROUND = {ELLIPSOID: hit_ellipsoid, CYLINDER: hit_cylinder}


def _cast_small(
    prims: Primitives,
    rays: Rays,
    window: Window,
    entries: np.ndarray,
    back: np.ndarray,
    t: np.ndarray,
    ids: np.ndarray,
) -> None:
    """Test many small primitives at once, as one list of (ray, primitive) pairs.

    A street shows hundreds of limbs, leaves and posts of a few pixels; one by one their cost is
    the calls, not the arithmetic. ``t`` and ``ids`` are updated in place.
    """
    entry, ray = window.expand(entries, t.shape)
    flat_t, flat_ids = t.reshape(-1), ids.reshape(-1)
    keep = window.near[entry] < flat_t[ray]
    row, ray = window.order[entry[keep]], ray[keep]
    turn = back[row]
    d = np.einsum("nij,jn->in", turn, rays.direction.reshape(3, -1)[:, ray])
    start = rays.origin[:, None] if rays.origin.ndim == 1 else rays.origin.reshape(3, -1)[:, ray]
    o = start - prims.centre[row].T
    if rays.delay is not None:
        o = o - prims.velocity[row].T * rays.delay.reshape(-1)[ray]
    o = np.einsum("nij,jn->in", turn, o.astype(np.float32))
    half, kind = prims.half[row].T, prims.kind[row]
    hit = np.full(len(row), np.inf, np.float32)
    box = np.flatnonzero(kind == BOX)
    hit[box] = hit_box(o[:, box], d[:, box], half[:, box])
    for code, function in _ROUND.items():
        some = np.flatnonzero(kind == code)
        hit[some] = function(o[:, some], d[:, some], half[:, some], prims.hollow[row[some]])
    struck = np.flatnonzero(hit < flat_t[ray])
    struck = struck[np.lexsort((hit[struck], ray[struck]))]
    where = ray[struck]
    first = struck[np.concatenate([[True], where[1:] != where[:-1]])] if len(struck) else struck
    flat_t[ray[first]], flat_ids[ray[first]] = hit[first], row[first]
