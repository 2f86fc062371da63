"""Supervoxels: small patches of about equal size that keep to borders of colour and shape.

After Papon et al., "Voxel cloud connectivity segmentation", CVPR 2013: seeds on a coarse grid grow
over touching voxels, each voxel going to the seed that it is most like. Its histograms of shape
are replaced by normals, as in the implementation of the Point Cloud Library, and all seeds grow at
once, a ring of voxels a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from densecl.regions.segments import relabel
from pointcl.regions.normals import smallest_axis

ROUNDS = 4
"""How often the seeds move to the middle of what they have grown to, and grow anew."""


def supervoxels(
    points: np.ndarray,
    colour: np.ndarray | None = None,
    *,
    voxel: float = 0.05,
    seed: float = 0.25,
    space_weight: float = 0.4,
    colour_weight: float = 0.2,
    normal_weight: float = 1.0,
) -> np.ndarray:
    """Supervoxels of a cloud.

    The distance of a voxel to a seed is the root of ``space_weight * (d / seed)**2 +
    colour_weight * c**2 + normal_weight * a**2``, with d the distance in metres, c that of the
    colours (RGB from 0 to 1) and a = 1 - |n . m| of the normals.

    Args:
        points: (N, 3) metres; rows that are not finite are in no supervoxel.
        colour: (N, 3) uint8 RGB; None = it plays no part.
        voxel: edge of a voxel in metres; the points of one share its id.
        seed: distance of the seeds in metres, at least twice the voxel.
        space_weight, colour_weight, normal_weight: see above.

    Returns:
        (N,) int64, 0 to R - 1 in the order of the points, -1 = none; each is connected over
        voxels that touch, corners counted.

    Raises:
        ValueError: lengths disagree, or a seed smaller than two voxels.
    """
    if not 0 < 2 * voxel <= seed:
        raise ValueError(f"supervoxels(voxel={voxel}, seed={seed}): needs 0 < 2 voxel <= seed")
    if colour is not None and colour.shape != points.shape:
        raise ValueError(f"colour {colour.shape} for points {points.shape}")
    ids = np.full(len(points), -1, np.int64)
    rows = np.flatnonzero(np.isfinite(points).all(1))
    if not len(rows):
        return ids
    at = points[rows].astype(np.float64)
    rgb = None if colour is None else colour[rows] / 255.0
    voxels, of = _voxelise(at, rgb, voxel)
    weights = np.sqrt([space_weight, colour_weight, normal_weight])
    grown = _Growth(voxels, voxel, seed, weights).run()
    ids[rows] = relabel(grown[of])
    return ids


@dataclass
class _Voxels:
    """Lattice (M, 3) of occupied voxels, their mean place, colour and normal, each (M, 3)."""

    lattice: np.ndarray
    at: np.ndarray
    rgb: np.ndarray
    normal: np.ndarray


def _voxelise(at: np.ndarray, rgb: np.ndarray | None, size: float) -> tuple[_Voxels, np.ndarray]:
    lattice, of = np.unique(np.floor(at / size).astype(np.int64), axis=0, return_inverse=True)
    of = of.reshape(-1)
    count = np.bincount(of)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(of, column) / count for column in values.T], 1)

    place = mean(at)
    shade = np.zeros_like(place) if rgb is None else mean(rgb)
    return _Voxels(lattice, place, shade, _normals(at, place, size)), of


def _normals(at: np.ndarray, place: np.ndarray, size: float, neighbours: int = 24) -> np.ndarray:
    """(M, 3) normals of voxels from the points near their middle."""
    near = min(neighbours, len(at))
    if near < 3:
        return np.tile([0.0, 0.0, 1.0], (len(place), 1))
    _, other = cKDTree(at).query(place, k=near)
    around = at[other] - at[other].mean(1, keepdims=True)
    return smallest_axis(np.matmul(around.transpose(0, 2, 1), around))


class _Growth:
    """Seeds, and the voxels that they grow over."""

    def __init__(self, voxels: _Voxels, voxel: float, seed: float, weights: np.ndarray) -> None:
        self.voxels, self.seed, self.weights = voxels, seed, weights
        # the path may bend: as far as the diagonal of a seed's cell
        self.steps = int(np.ceil(1.8 * seed / voxel))
        self.edges = touching(voxels.lattice)

    def run(self) -> np.ndarray:
        """(M,) seed of each voxel."""
        starts = self._starts()
        owner = self._grow(starts, *self._features(starts))
        for _ in range(ROUNDS):
            mean = self._means(owner)
            owner = self._grow(self._nearest(owner, mean[0]), *mean)
        return owner

    def _starts(self) -> np.ndarray:
        """(S,) voxels nearest to the middle of each occupied cell of the seeds' grid.

        Of what does not touch within the whole cloud each part gets its own, so that every voxel
        is reached.
        """
        cell = np.floor(self.voxels.at / self.seed)
        away = ((self.voxels.at - (cell + 0.5) * self.seed) ** 2).sum(1)
        part = _parts(*self.edges, len(cell))
        _, of = np.unique(np.column_stack([cell, part]), axis=0, return_inverse=True)
        return _first(of.reshape(-1), away)

    def _nearest(self, owner: np.ndarray, middle: np.ndarray) -> np.ndarray:
        """(S,) voxel of each seed that is nearest to its middle."""
        mine = np.flatnonzero(owner >= 0)
        away = ((self.voxels.at[mine] - middle[owner[mine]]) ** 2).sum(1)
        return mine[_first(owner[mine], away)]

    def _features(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.voxels.at[rows], self.voxels.rgb[rows], self.voxels.normal[rows]

    def _means(self, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mine = np.flatnonzero(owner >= 0)
        of = owner[mine]
        count = np.bincount(of)

        def mean(values: np.ndarray) -> np.ndarray:
            return np.stack([np.bincount(of, column) / count for column in values[mine].T], 1)

        n = self.voxels.normal
        # a normal and its opposite are one direction: their mean is that of n n^T
        spread = mean((n[:, :, None] * n[:, None, :]).reshape(len(n), 9)).reshape(-1, 3, 3)
        direction = np.linalg.eigh(spread)[1][:, :, 2]
        return mean(self.voxels.at), mean(self.voxels.rgb), direction

    def _distance(
        self, rows: np.ndarray, owner: np.ndarray, seeds: tuple[np.ndarray, ...]
    ) -> np.ndarray:
        at, rgb, normal = (value[owner] for value in seeds)
        space = ((self.voxels.at[rows] - at) ** 2).sum(1) / self.seed**2
        shade = ((self.voxels.rgb[rows] - rgb) ** 2).sum(1)
        tilt = 1.0 - np.abs((self.voxels.normal[rows] * normal).sum(1))
        return (
            self.weights[0] ** 2 * space
            + self.weights[1] ** 2 * shade
            + (self.weights[2] * tilt) ** 2
        )

    def _grow(self, starts: np.ndarray, *seeds: np.ndarray) -> np.ndarray:
        """(M,) seed of each voxel: rings of voxels, each to the best that touches it."""
        count = len(self.voxels.at)
        owner = np.full(count, -1, np.int64)
        best = np.full(count, np.inf)
        owner[starts] = np.arange(len(starts))
        best[starts] = -1.0
        fresh = np.zeros(count, bool)
        fresh[starts] = True
        a, b = self.edges
        for _ in range(self.steps):
            ahead = fresh[a] & (owner[a] != owner[b])
            to, by = b[ahead], owner[a[ahead]]
            away = self._distance(to, by, seeds)
            better = away < best[to]
            to, by, away = _best(to[better], by[better], away[better])
            if not len(to):
                break
            owner[to], best[to] = by, away
            fresh[:] = False
            fresh[to] = True
        return self._fill(self._without_strays(owner, starts), seeds)

    def _without_strays(self, owner: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Voxels that another seed has cut off from their own are nobody's again."""
        a, b = self.edges
        same = (owner[a] == owner[b]) & (owner[a] >= 0)
        part = _parts(a[same], b[same], len(owner))
        return np.where(part == part[starts][owner], owner, -1)

    def _fill(self, owner: np.ndarray, seeds: tuple[np.ndarray, ...]) -> np.ndarray:
        """Nobody's voxels go to the best seed that touches them, from the outside in."""
        a, b = self.edges
        open_ = np.flatnonzero(owner[b] < 0)
        while len(open_):
            ahead = open_[(owner[a[open_]] >= 0) & (owner[b[open_]] < 0)]
            if not len(ahead):
                break
            to, by = b[ahead], owner[a[ahead]]
            to, by, _ = _best(to, by, self._distance(to, by, seeds))
            owner[to] = by
            open_ = open_[owner[b[open_]] < 0]
        return owner


def _best(
    to: np.ndarray, by: np.ndarray, away: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of several bids for a voxel the nearest; of equal ones that of the lowest seed."""
    order = np.lexsort((by, away, to))
    to, by, away = to[order], by[order], away[order]
    once = np.append(True, to[1:] != to[:-1])[: len(to)]
    return to[once], by[once], away[once]


def _parts(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    """(M,) connected part of each voxel."""
    links = coo_matrix((np.ones(len(a), np.float32), (a, b)), shape=(count, count))
    return connected_components(links, directed=False)[1]


def touching(lattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(E,), (E,) ends of all pairs of voxels (M, 3) that share a corner or more, both ways."""
    low = lattice - lattice.min(0) + 1
    spread = low.max(0) + 2
    key = (low[:, 0] * spread[1] + low[:, 1]) * spread[2] + low[:, 2]
    order = np.argsort(key)
    key_sorted = key[order]
    found = []
    for step in np.indices((3, 3, 3)).reshape(3, -1).T - 1:
        if tuple(step) <= (0, 0, 0):
            continue
        there = key + (step[0] * spread[1] + step[1]) * spread[2] + step[2]
        place = np.minimum(np.searchsorted(key_sorted, there), len(key) - 1)
        hit = np.flatnonzero(key_sorted[place] == there)
        found.append((hit, order[place[hit]]))
    one = np.concatenate([a for a, _ in found])
    other = np.concatenate([b for _, b in found])
    return np.concatenate([one, other]), np.concatenate([other, one])


def _first(group: np.ndarray, away: np.ndarray) -> np.ndarray:
    """(S,) row of the least distance of each group 0 to S - 1; of equal ones the first."""
    order = np.lexsort((np.arange(len(group)), away, group))
    return order[np.append(True, group[order][1:] != group[order][:-1])]
