"""Points as discs with a depth buffer, in numpy: the nearer one wins."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pointcl.viz.cameras import finite

RINGS = ((1, 1.0), (3, 0.6))
"""Distance in fine pixels, and weight, of the neighbours that edges of depth are looked for in."""


@dataclass
class Raster:
    """A picture of points on nothing.

    Attributes:
        colour: (H, W, 3) float32 in [0, 255], of the covered part of each pixel, times ``cover``.
        cover: (H, W, 1) float32 in [0, 1], the share of each pixel that some point covers.
        row: (H * fine, W * fine) int32, the row of the point that each sample shows, -1 = none.
    """

    colour: np.ndarray
    cover: np.ndarray
    row: np.ndarray

    def over(self, background: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8: this on a background (H, W, 3)."""
        mixed = self.colour + (1 - self.cover) * background
        return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def splat(
    pixels: np.ndarray,
    depth: np.ndarray,
    colours: np.ndarray,
    size: tuple[int, int],
    *,
    radius: float | np.ndarray = 1.5,
    edges: float = 1.0,
    fine: int = 2,
) -> Raster:
    """Draw points as discs of one depth each.

    The picture is sampled ``fine`` times a pixel and direction; a disc covers the samples whose
    centres it holds, and at least the one that its own centre lies in. The order of the rows
    makes no difference: of two points at one depth, the one of the smaller colour wins.

    Args:
        pixels: (N, 2) as (x, y); the centre of (row r, column c) is (c + 0.5, r + 0.5). Rows that
            are not finite are not drawn.
        depth: (N,) metres; points at 0 or behind are not drawn.
        colours: (N, 3) uint8.
        size: (H, W) of the picture.
        radius: pixels, one or (N,).
        edges: how strongly a point is darkened beside nearer ones, 0 = not (Boucheny 2009,
            "eye-dome lighting").
        fine: samples a pixel and direction.
    """
    height, width = size[0] * fine, size[1] * fine
    x, y = pixels[:, 0] * fine, pixels[:, 1] * fine
    wide = np.broadcast_to(np.asarray(radius, np.float64) * fine, x.shape)
    with np.errstate(invalid="ignore"):
        seen = (depth > 0) & np.isfinite(depth) & (x > -wide) & (x < width + wide)
        seen &= (y > -wide) & (y < height + wide)
    rows = np.flatnonzero(seen)
    r, g, b = colours[rows].astype(np.int64).T
    # far to near: where several points meet in one assignment, numpy keeps the last
    rows = rows[np.lexsort((-((r << 16) | (g << 8) | b), -depth[rows]))]
    shown = _nearest(x[rows], y[rows], wide[rows], (height, width))
    hit = np.flatnonzero(shown >= 0)
    seen_row = rows[shown[hit]]
    row = np.full(height * width, -1, np.int32)
    row[hit] = seen_row

    light = np.ones(len(hit), np.float32)
    if edges > 0:
        far = np.full(height * width, np.inf, np.float32)
        far[hit] = np.log2(depth[seen_row])
        light = eye_dome(far.reshape(height, width), hit, edges)
    ink = np.zeros((height * width, 4), np.float32)
    ink[hit, :3] = colours[seen_row] * light[:, None]
    ink[hit, 3] = 1
    mean = cv2.resize(ink.reshape(height, width, 4), size[::-1], interpolation=cv2.INTER_AREA)
    return Raster(mean[..., :3], mean[..., 3:], row.reshape(height, width))


def _nearest(x: np.ndarray, y: np.ndarray, radius: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H * W,) int32: position, in an order from far to near, of the last disc over each sample."""
    height, width = size
    order = np.full(height * width, -1, np.int32)
    column, line = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, below = x - column - 0.5, y - line - 0.5
    reach = int(np.ceil(radius.max(initial=0.0)))
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            # no point within half a diagonal of its sample's centre reaches farther than this
            who = np.flatnonzero(radius > np.hypot(dx, dy) - 0.7072)
            if dx or dy:
                who = who[np.hypot(dx - right[who], dy - below[who]) <= radius[who]]
            i, j = line[who] + dy, column[who] + dx
            on = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            who, place = who[on], i[on] * width + j[on]
            wins = who > order[place]
            order[place[wins]] = who[wins]
    return order


def eye_dome(log_depth: np.ndarray, at: np.ndarray, strength: float) -> np.ndarray:
    """How light samples stay beside nearer ones, (n,) float32 in (0, 1].

    Args:
        log_depth: (H, W) float32, log2 of the depth; infinite where nothing is.
        at: (n,) int64 samples to light, row * W + column, where the depth is finite.
        strength: 0 = nothing is darkened.
    """
    width = log_depth.shape[1]
    border = max(step for step, _ in RINGS)
    frame = np.pad(log_depth, border, constant_values=np.inf).reshape(-1)
    wide = width + 2 * border
    place = (at // width + border) * wide + at % width + border
    here = frame[place]
    deeper = np.zeros_like(here)
    for step, weight in RINGS:
        for away in (-step, step, -step * wide, step * wide):
            # a step of an eighth of an octave is an edge already; more makes it no darker
            deeper += weight * np.clip(here - frame[place + away], 0, 0.125)
    return np.exp(-4.0 * strength * deeper)


def spacing(points: np.ndarray, sample: int = 1500) -> float:
    """Median metres from a point to the nearest at another place, 0 if there is none.

    Args:
        points: (N, 3); rows that are not finite are left out.
        sample: points that are asked; which ones depends on where they lie, not on their order.
    """
    from scipy.spatial import cKDTree

    rows = finite(points)
    mixed = (rows * (7919.0, 104729.0, 1299709.0)).sum(1) * 0.6180339887498949 % 1
    _, first = np.unique(mixed, return_index=True)
    rows = rows[first]
    if len(rows) < 2:
        return 0.0
    tree = cKDTree(rows, balanced_tree=False, compact_nodes=False)
    distance, _ = tree.query(rows[:sample], k=2)
    return float(np.median(distance[:, 1]))
