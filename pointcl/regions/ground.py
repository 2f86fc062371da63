"""The ground below a cloud: patchwork++, or planes found by RANSAC."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from densecl.errors import UsageError

METHODS = ("patchwork++", "ransac", "none")
SECTOR = 20.0
"""Metres: the tiles that get a plane of their own."""

_TRIES = 200
_FEW = 12


def ground(
    points: np.ndarray,
    method: str = "ransac",
    *,
    threshold: float = 0.15,
    cell: float = 1.0,
    max_slope: float = 15.0,
    sensor_height: float | None = None,
    intensity: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Which points lie on the ground, outdoors or on a floor.

    "ransac" fits a plane to the lowest point of each column of space, so that near rings of a
    sweep count no more than far ones, and then one to each tile of ``SECTOR`` metres with its
    neighbours; a tile's plane must be supported, and go on where the whole cloud's does. What has
    much below it, such as a table or a roof, loses against what has not. "patchwork++" (Lee et
    al., IROS 2022) is made for sweeps of a LiDAR that stands upright.

    Args:
        points: (N, 3) metres, z up; rows that are not finite are no ground.
        method: "ransac", "patchwork++" or "none".
        threshold: metres that a point of the ground may be off its plane; not of "patchwork++".
        cell: edge of the columns in metres; about 0.2 indoors.
        max_slope: degrees that a plane may be off level.
        sensor_height: metres from the ground below to z = 0, for "patchwork++" only; None = as
            "ransac" finds it.
        intensity: (N,) in [0, 1], lets "patchwork++" drop reflections below the ground.
        seed: of the draws of "ransac".

    Returns:
        (N,) bool.

    Raises:
        UsageError: unknown method, or pypatchworkpp is not installed.
    """
    if method not in METHODS:
        raise UsageError(f"ground = {method!r}", needed="one of " + ", ".join(METHODS))
    found = np.zeros(len(points), bool)
    rows = np.flatnonzero(np.isfinite(points).all(1))
    if method == "none" or len(rows) < 3:
        return found
    at = points[rows].astype(np.float64)
    if method == "patchwork++" and sensor_height is not None:
        height = sensor_height
    else:
        planes = fit_planes(at, threshold, cell, max_slope, seed)
        if method == "ransac":
            found[rows] = np.abs(planes.height(at)) <= threshold
            return found
        height = -planes.whole[2]
    shine = None if intensity is None else intensity[rows]
    found[rows[_patchwork(at, shine, max(height, 0.1))]] = True
    return found


@dataclass
class Planes:
    """Ground planes z = a x + b y + c, one of the whole cloud and one a tile.

    Attributes:
        whole: (3,) a, b, c of the whole cloud.
        tiles: (T, 2) int64 place of each tile, sorted.
        planes: (T, 3) a, b, c of each.
    """

    whole: np.ndarray
    tiles: np.ndarray
    planes: np.ndarray

    def height(self, at: np.ndarray) -> np.ndarray:
        """(N,) metres above the plane of its tile, at right angles to it."""
        plane = self.planes[_row_of(self.tiles, _tile(at))]
        return _heights(plane, at)


def fit_planes(
    at: np.ndarray,
    threshold: float = 0.15,
    cell: float = 1.0,
    max_slope: float = 15.0,
    seed: int = 0,
) -> Planes:
    """The ground planes of finite points (N, 3), N >= 1; see ``ground``."""
    low = at[lowest(at, cell)]
    low = low[np.lexsort(low.T)]
    draw = np.random.default_rng(seed)
    steepest = np.tan(np.radians(max_slope))
    whole = ransac_plane(low, threshold, steepest, draw)
    if whole is None:
        whole = np.array([0.0, 0.0, np.median(low[:, 2])])
    tiles = np.unique(_tile(at), axis=0)
    where = _tile(low)
    planes = np.tile(whole, (len(tiles), 1))
    for row, tile in enumerate(tiles):
        around = low[(np.abs(where - tile) <= 1).all(1)]
        # what lies far off the whole cloud's plane is no ground, unless the ground rises there
        reach = threshold + 0.1 * SECTOR
        around = around[np.abs(_heights(whole, around)) <= reach]
        own = ransac_plane(around, threshold, steepest, draw)
        if own is not None and _continues(own, whole, tile, reach):
            planes[row] = own
    return Planes(whole, tiles, planes)


def lowest(at: np.ndarray, cell: float) -> np.ndarray:
    """(M,) row of the lowest point of each column of space with an edge of ``cell`` metres."""
    column = np.floor(at[:, :2] / cell).astype(np.int64)
    order = np.lexsort((at[:, 2], column[:, 1], column[:, 0]))
    fresh = (np.diff(column[order], axis=0) != 0).any(1)
    return order[np.append(True, fresh)]


def ransac_plane(
    low: np.ndarray, threshold: float, steepest: float, draw: np.random.Generator
) -> np.ndarray | None:
    """Plane (a, b, c) that most points lie on and few lie below.

    Each point on a plane counts 1, and each one further below it than the threshold -1.

    Args:
        low: (M, 3) points.
        threshold: metres off the plane.
        steepest: greatest rise of a plane in metres a metre.
        draw: of the triples of points.

    Returns:
        The best plane fitted to its points by least squares; None where too few points support
        any.
    """
    if len(low) < _FEW:
        return None
    corner = low[draw.integers(0, len(low), (_TRIES, 3))]
    one, other = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    normal = np.cross(one, other)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = -normal[:, :2] / normal[:, 2:]
    fits = np.isfinite(slope).all(1) & (np.linalg.norm(slope, axis=1) <= steepest)
    # a level plane through any point is tried too
    slope = np.concatenate([slope[fits], np.zeros((_TRIES, 2))])
    base = np.concatenate([corner[fits, 0], corner[:, 0]])
    planes = np.column_stack([slope, base[:, 2] - (slope * base[:, :2]).sum(1)])
    plane = planes[int(np.argmax(_scores(planes, low, threshold)))]
    for _ in range(3):
        on = low[np.abs(_heights(plane, low)) <= threshold]
        if len(on) < max(_FEW, 0.1 * len(low)):
            return None
        better = _least_squares(on)
        if np.linalg.norm(better[:2]) > steepest:
            break
        plane = better
    return plane


def _scores(planes: np.ndarray, low: np.ndarray, threshold: float) -> np.ndarray:
    """(K,) points on each plane less those below it."""
    height = low[:, 2] - planes[:, :2] @ low[:, :2].T - planes[:, 2:]
    height /= np.sqrt(1 + (planes[:, :2] ** 2).sum(1, keepdims=True))
    return (height <= threshold).sum(1) - 2 * (height < -threshold).sum(1)


def _least_squares(on: np.ndarray) -> np.ndarray:
    middle = on.mean(0)
    design = np.column_stack([on[:, :2] - middle[:2], np.ones(len(on))])
    a, b, c = np.linalg.lstsq(design, on[:, 2] - middle[2], rcond=None)[0]
    return np.array([a, b, c + middle[2] - a * middle[0] - b * middle[1]])


def _heights(plane: np.ndarray, at: np.ndarray) -> np.ndarray:
    a, b, c = plane.T
    return (at[:, 2] - a * at[:, 0] - b * at[:, 1] - c) / np.sqrt(1 + a * a + b * b)


def _continues(own: np.ndarray, whole: np.ndarray, tile: np.ndarray, reach: float) -> bool:
    """Whether a tile's plane stays near the whole cloud's over the tile."""
    corners = (tile + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])) * SECTOR
    rise = corners @ (own - whole)[:2] + (own - whole)[2]
    return bool((np.abs(rise) <= reach).all())


def _tile(at: np.ndarray) -> np.ndarray:
    return np.floor(at[:, :2] / SECTOR).astype(np.int64)


def _row_of(tiles: np.ndarray, tile: np.ndarray) -> np.ndarray:
    """(N,) row of each tile in the sorted table; all are in it."""
    low = tiles.min(0)
    width = int(np.ptp(tiles[:, 1])) + 1
    key = (tiles - low) @ np.array([width, 1])
    return np.searchsorted(key, (tile - low) @ np.array([width, 1]))


def _patchwork(at: np.ndarray, intensity: np.ndarray | None, height: float) -> np.ndarray:
    """(G,) rows that patchwork++ takes for ground.

    Its thresholds adapt from sweep to sweep: a new one for each keeps sweeps independent.
    """
    try:
        import pypatchworkpp
    except ImportError as error:
        raise UsageError(
            f'ground="patchwork++" needs pypatchworkpp, which cannot be imported ({error})',
            fix="pip install 'densecl[3d]', or choose ground=\"ransac\"",
        ) from error
    settings = pypatchworkpp.Parameters()
    settings.verbose = False
    settings.sensor_height = float(height)
    settings.enable_RNR = intensity is not None
    shine = np.zeros(len(at)) if intensity is None else intensity
    with _quiet():
        method = pypatchworkpp.patchworkpp(settings)
        method.estimateGround(np.column_stack([at, shine]).astype(np.float32))
    return np.sort(np.asarray(method.getGroundIndices(), np.int64))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what a compiled library writes to the standard output, past ``sys.stdout``."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
