"""Which rays of a turn can meet each primitive: bounds in azimuth and elevation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densecl.data.streets.primitives import ELLIPSOID, Primitives
from densecl.data.streets.raycast import Window
from pointcl.data.streets.firing import Firing

_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
_FROM, _TO = np.array(
    [(a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1], np.int64
).T
_SLACK = 1e-4
"""Radians and metres that stand for rounding."""


@dataclass(frozen=True)
class Extent:
    """Bounds of n convex bodies seen from the sensor, at one moment each.

    Attributes:
        left, right: (n,) radians from the centre's azimuth to the sides, >= 0; pi = all round.
        low, high: (n,) metres along z; near, far: (n,) bounds of the distance from the z axis.
    """

    left: np.ndarray
    right: np.ndarray
    low: np.ndarray
    high: np.ndarray
    near: np.ndarray
    far: np.ndarray


def extent(kind: np.ndarray, centre: np.ndarray, axes: np.ndarray) -> Extent:
    """Bounds of bodies with centres (n, 3) and half axes (n, 3, 3), as columns."""
    out = Extent(*(np.empty(len(centre)) for _ in range(6)))
    ball = kind == ELLIPSOID
    for rows, bounds in ((ball, _of_ellipsoids), (~ball, _of_boxes)):
        for name, values in zip(vars(out), bounds(centre[rows], axes[rows]), strict=True):
            getattr(out, name)[rows] = values
    return out


def _facing(centre: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance from the z axis, and the cosine and sine of the azimuth, of (n, 3) centres."""
    distance = np.hypot(centre[:, 0], centre[:, 1])
    safe = np.maximum(distance, 1e-9)
    return distance, centre[:, 0] / safe, centre[:, 1] / safe


def _of_ellipsoids(centre: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, ...]:
    """Exact in azimuth and height.

    Seen from above an ellipsoid is an ellipse of shape S = A A^T. In axes along and across the
    view, the line of slope m through the sensor touches it where (m distance)^2 = (-m, 1) S
    (-m, 1)^T.
    """
    distance, c, s = _facing(centre)
    along = c[:, None] * axes[:, 0] + s[:, None] * axes[:, 1]
    across = c[:, None] * axes[:, 1] - s[:, None] * axes[:, 0]
    ss, st, tt = (along**2).sum(1), (along * across).sum(1), (across**2).sum(1)
    room = distance**2 - ss
    clear = room > 1e-9
    safe = np.where(clear, room, 1.0)
    root = np.sqrt(st**2 + tt * safe)
    left = np.where(clear, np.arctan((root - st) / safe), np.pi)
    right = np.where(clear, np.arctan((root + st) / safe), np.pi)
    rise = np.sqrt((axes[:, 2] ** 2).sum(1))
    near = np.where(clear, distance - np.sqrt(ss), 0.0)
    return left, right, centre[:, 2] - rise, centre[:, 2] + rise, near, distance + np.sqrt(ss + tt)


def _of_boxes(centre: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, ...]:
    """Exact for boxes, and for other bodies those of their bounding box."""
    _, c, s = _facing(centre)
    corners = centre[:, :, None] + axes @ _CORNERS.T
    along = c[:, None] * corners[:, 0] + s[:, None] * corners[:, 1]
    across = c[:, None] * corners[:, 1] - s[:, None] * corners[:, 0]
    azimuth = np.arctan2(across, along)
    left, right = azimuth.max(1), -azimuth.min(1)
    # A convex outline that does not hold the sensor fills less than half a turn.
    around = left + right > np.pi - 1e-6
    left, right = np.where(around, np.pi, left), np.where(around, np.pi, right)
    # Seen from above the edges of the box hold its outline.
    ax, ay = along[:, _FROM], across[:, _FROM]
    dx, dy = along[:, _TO] - ax, across[:, _TO] - ay
    share = -(ax * dx + ay * dy) / np.maximum(dx * dx + dy * dy, 1e-12)
    share = np.clip(share, 0, 1)
    near = np.sqrt(((ax + share * dx) ** 2 + (ay + share * dy) ** 2).min(1))
    far = np.sqrt((along**2 + across**2).max(1))
    low, high = corners[:, 2].min(1), corners[:, 2].max(1)
    return left, right, low, high, np.where(around, 0.0, near), far


def window(firing: Firing, prims: Primitives, reach: float) -> Window:
    """The rays of a turn that may meet each primitive within ``reach`` metres.

    Each primitive is bounded where it stands when the beam passes its centre; what it and the
    sensor move by while the beam passes the rest of it widens the bounds.

    Args:
        firing: the turn.
        prims: the scene at the timestamp, with velocities.
        reach: bodies wholly beyond are left out.
    """
    middle = firing.poses[len(firing.poses) // 2, :3, 3]
    gap = prims.centre - middle
    slack = prims.radius + reach + _speed(firing) * firing.turn
    slack += np.linalg.norm(prims.velocity, axis=1) * firing.turn
    rows = np.flatnonzero((gap * gap).sum(1) < slack**2)
    velocity = prims.velocity[rows].astype(np.float64)
    step = firing.step_towards(prims.centre[rows], velocity)
    moved = prims.centre[rows] + velocity * firing.delay[step, None]
    centre = firing.relative(moved, step)
    back = firing.poses[step, :3, :3].transpose(0, 2, 1)
    axes = back @ (prims.rotation[rows] * prims.half[rows, None]).astype(np.float64)
    body = extent(prims.kind[rows], centre, axes)
    azimuth = np.arctan2(centre[:, 1], centre[:, 0])
    speed = _speed(firing) + np.linalg.norm(velocity, axis=1)
    spin = _spin(firing)

    share = np.maximum(body.left, body.right) / (2 * np.pi)
    brief = firing.turn * (1.5 * share + 2 / len(firing.azimuths))
    tight = _angles(firing, body, azimuth, speed, spin, np.minimum(brief, firing.turn))
    wide = _angles(firing, body, azimuth, speed, spin, np.full(len(rows), firing.turn))
    # What lies across the rear is met at both ends of the turn.
    rear = (wide[1] > np.pi) | (wide[0] < -np.pi)
    right, left, low, high, near = (np.where(rear, w, t) for w, t in zip(wide, tight, strict=True))
    whole = left - right >= 2 * np.pi
    right, left = np.where(whole, -np.pi, right), np.where(whole, np.pi, left)
    boxes = [_box(firing, right, left, low, high)]
    over, under = np.flatnonzero(left > np.pi), np.flatnonzero(right < -np.pi)
    ends = np.full(len(over), -np.pi), np.full(len(under), np.pi)
    boxes.append(_box(firing, ends[0], left[over] - 2 * np.pi, low[over], high[over]))
    boxes.append(_box(firing, right[under] + 2 * np.pi, ends[1], low[under], high[under]))
    entry = np.concatenate([np.arange(len(rows)), over, under])
    box, near = np.concatenate(boxes), near[entry]
    seen = (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1]) & (near < reach)
    entry, box, near = entry[seen], box[seen], near[seen]
    order = np.argsort(near, kind="stable")
    return Window(rows[entry[order]], near[order], boxes=box[order])


def _speed(firing: Firing) -> float:
    """Greatest speed of the sensor during the turn, metres a second."""
    if firing.turn == 0:
        return 0.0
    gone = np.linalg.norm(np.diff(firing.poses[:, :3, 3], axis=0), axis=1)
    return float(gone.max() / np.diff(firing.delay).min())


def _spin(firing: Firing) -> float:
    """Bound of the sensor's own rotation during the turn, radians a second."""
    if firing.turn == 0:
        return 0.0
    change = np.diff(firing.poses[:, :3, :3], axis=0)
    return float(np.sqrt((change**2).sum((1, 2)) / 2).max() / np.diff(firing.delay).min())


def _angles(
    firing: Firing,
    body: Extent,
    azimuth: np.ndarray,
    speed: np.ndarray,
    spin: float,
    spread: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Azimuths right < left, elevations low < high and least distance, all (n,).

    ``spread`` (n,) seconds before or after the beam passes the centres are allowed for.
    """
    shift, twist = speed * spread + _SLACK, spin * spread + _SLACK
    near, far = np.maximum(body.near - shift, 0.0), body.far + shift
    low, high = body.low - shift, body.high + shift
    sine = shift / np.maximum(body.near, 1e-9)
    aside = np.where(sine < 1, np.arcsin(np.minimum(sine, 1.0)), np.pi) + twist
    right, left = azimuth - body.right - aside, azimuth + body.left + aside
    top = np.arctan2(high, np.where(high > 0, near, far)) + twist
    bottom = np.arctan2(low, np.where(low < 0, near, far)) - twist
    above = np.maximum(np.maximum(low, -high), 0.0)
    return right, left, bottom, top, np.hypot(near, above)


def _box(
    firing: Firing, right: np.ndarray, left: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """(n, 4) int64 first step, first beam, last step + 1 and last beam + 1 within the angles."""
    steps = len(firing.azimuths)
    falling = -firing.elevations
    x0 = np.maximum(np.ceil((np.pi - left) / (2 * np.pi) * steps - 0.5), 0)
    x1 = np.minimum(np.floor((np.pi - right) / (2 * np.pi) * steps - 0.5) + 1, steps)
    y0, y1 = np.searchsorted(falling, -high), np.searchsorted(falling, -low, "right")
    return np.stack([x0, y0, x1, y1], 1).astype(np.int64)
