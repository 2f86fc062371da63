"""Clusters of points that lie close together: DBSCAN, also with a reach that grows with range.

Ester et al., "A density-based algorithm for discovering clusters", KDD 1996. The result is that of
the definition, found without listing neighbours: their number is what makes a dense cloud slow and
large. A point is a core if its ``min_points``-th nearest one is within reach. Cores of one cell of
a grid whose diagonal is the reach are linked without looking; so are those that are near one
another among few; and only where two groups come close to each other that are not linked yet, all
their distances are formed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from densecl.regions.segments import relabel

LEVEL = 1.25
"""A reach that grows with range does so in steps of this factor."""

_FEW = 6
_BLOCK = 1 << 20


def dbscan(
    points: np.ndarray,
    eps: float = 0.25,
    min_points: int = 10,
    *,
    eps_per_metre: float = 0.0,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """Clusters of a cloud.

    A core has at least ``min_points`` points within its reach, itself counted. Cores within reach
    of each other are of one cluster. Any other point within reach of a core is of that of the
    nearest such core (of cores equally near, of the first in order of x, y, z); the rest is noise.

    A LiDAR's points are the sparser the further away they are. With ``eps_per_metre`` the reach of
    a point at range r is ``max(eps, eps_per_metre * r)``, rounded down to ``eps * LEVEL**k``, and
    two points are within reach if they are within that of both.

    Args:
        points: (N, 3) metres; rows that are not finite are noise.
        eps: reach in metres.
        min_points: that make a core.
        eps_per_metre: growth of the reach with range; 0 = none.
        origin: where the sensor stands.

    Returns:
        (N,) int64, 0 to R - 1 in the order of the points, -1 = noise.

    Raises:
        ValueError: a reach of 0 or less, or no points make a core.
    """
    if eps <= 0 or min_points < 1 or eps_per_metre < 0:
        raise ValueError(f"dbscan(eps={eps}, min_points={min_points}, {eps_per_metre=})")
    ids = np.full(len(points), -1, np.int64)
    rows = np.flatnonzero(np.isfinite(points).all(1))
    if not len(rows):
        return ids
    at = points[rows].astype(np.float64)
    level = _levels(at - np.asarray(origin), eps, eps_per_metre)
    reach = eps * LEVEL**level
    tree = cKDTree(at)
    core = _cores(tree, reach, level, min_points)
    cluster = np.full(len(at), -1, np.int64)
    cluster[core] = _link(at[core], level[core], eps)
    border = np.flatnonzero(~core)
    cluster[border] = _nearest_core(at[border], reach[border], at[core], reach[core], cluster[core])
    ids[rows] = relabel(cluster)
    return ids


def _levels(away: np.ndarray, eps: float, growth: float) -> np.ndarray:
    """(N,) int64 k of each point's reach."""
    if growth == 0:
        return np.zeros(len(away), np.int64)
    wanted = np.maximum(growth * np.linalg.norm(away, axis=1) / eps, 1.0)
    return np.floor(np.log(wanted) / np.log(LEVEL) + 1e-9).astype(np.int64)


def _cores(tree: cKDTree, reach: np.ndarray, level: np.ndarray, min_points: int) -> np.ndarray:
    """(N,) bool: at least ``min_points`` points within reach, that of both."""
    count = len(reach)
    core = np.zeros(count, bool)
    if min_points > count:
        return core
    for rows in _blocks(count, _BLOCK // min_points):
        bound = np.nextafter(reach[rows].max(), np.inf)
        away, _ = tree.query(tree.data[rows], k=[min_points], distance_upper_bound=bound)
        core[rows] = away[:, 0] <= reach[rows]
    if level.any():
        # the nearest points may themselves reach less far: count those exactly that look like cores
        doubtful = np.flatnonzero(core & (level > 0))
        core[doubtful] = _mutual_counts(tree, doubtful, reach, min_points) >= min_points
    return core


def _mutual_counts(tree: cKDTree, rows: np.ndarray, reach: np.ndarray, enough: int) -> np.ndarray:
    """(n,) number of points within reach of a row that reach it too; exact below ``enough``."""
    found = np.zeros(len(rows), np.int64)
    todo, near = np.arange(len(rows)), min(2 * enough, len(reach))
    while len(todo):
        unsure = []
        for part in _blocks(len(todo), max(1, _BLOCK // near)):
            mine = rows[todo[part]]
            away, other = tree.query(tree.data[mine], k=near)
            away, other = away.reshape(len(mine), near), other.reshape(len(mine), near)
            limit = np.minimum(reach[mine, None], reach[other])
            found[todo[part]] = (away <= limit).sum(1)
            more = (found[todo[part]] < enough) & (away[:, -1] <= reach[mine])
            unsure.append(todo[part][more])
        if near == len(reach):
            break
        todo, near = np.concatenate(unsure), min(4 * near, len(reach))
    return found


def _link(at: np.ndarray, level: np.ndarray, eps: float) -> np.ndarray:
    """(C,) cluster of each core: the connected parts of the graph of those within reach."""
    count = len(at)
    if not count:
        return np.zeros(0, np.int64)
    group = np.arange(count)
    for k in np.unique(level).tolist():
        # those that reach further take part where the others reach them; all pairs that the
        # smaller reach links are links
        reach = eps * LEVEL**k
        rows = np.flatnonzero(level >= k)
        if k < level.max():
            own = at[level == k]
            near = cKDTree(own).query(at[rows], distance_upper_bound=reach * (1 + 1e-9))[0]
            rows = rows[np.isfinite(near)]
        part = _link_within(at[rows], reach)
        first = np.full(int(part.max()) + 1, count)
        np.minimum.at(first, part, rows)
        group = _join(group, rows, first[part])
    return group


def _link_within(at: np.ndarray, eps: float) -> np.ndarray:
    """(C,) connected parts of the graph of points within ``eps`` of each other."""
    cells, cell = _grid(at, eps)
    group = _join(np.arange(len(at)), *_chain(cell))
    away, other = cKDTree(at).query(at, k=min(_FEW, len(at)))
    away, other = away.reshape(len(at), -1), other.reshape(len(at), -1)
    a, b = np.nonzero(away <= eps)
    group = _join(group, a, other[a, b])
    order = np.argsort(cell, kind="stable")
    start = np.append(0, np.cumsum(np.bincount(cell)))
    for pairs in _near_cells(cells, group[order[start[:-1]]]):
        # what the pairs before have linked need not be looked at again
        for some in _blocks(len(pairs), 4096):
            left, right = pairs[some].T
            apart = group[order[start[left]]] != group[order[start[right]]]
            i, j = _touching(at, order, start, left[apart], right[apart], eps)
            if len(i):
                group = _join(group, i, j)
    return group


def _grid(at: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """(M, 3) int64 occupied cells whose diagonal is just below ``eps``, and (C,) each one's."""
    side = eps / np.sqrt(3.0) * (1 - 1e-9)
    lattice = np.floor((at - at.min(0)) / side).astype(np.int64)
    spread = lattice.max(0) + 5
    if float(spread[0]) * float(spread[1]) * float(spread[2]) > 2.0**62:
        raise ValueError(f"a cloud of {np.ptp(at, axis=0)} m is too large for a reach of {eps} m")
    key = (lattice[:, 0] * spread[1] + lattice[:, 1]) * spread[2] + lattice[:, 2]
    _, first, cell = np.unique(key, return_index=True, return_inverse=True)
    return lattice[first], cell.reshape(-1)


def _chain(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Links from each point to the next of its cell."""
    order = np.argsort(cell, kind="stable")
    same = cell[order[1:]] == cell[order[:-1]]
    return order[:-1][same], order[1:][same]


def _near_cells(cells: np.ndarray, group: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs (E, 2) of cells of different groups that may hold points within reach."""
    spread = cells.max(0) + 5
    key = (cells[:, 0] * spread[1] + cells[:, 1]) * spread[2] + cells[:, 2]
    steps = np.indices((5, 5, 5)).reshape(3, -1).T - 2
    gap = np.maximum(np.abs(steps) - 1, 0)
    # half of the neighbours: the others are met from the other side
    ahead = (steps @ np.array([25, 5, 1]) > 0) & ((gap**2).sum(1) <= 3)
    for step in steps[ahead]:
        there = key + (step[0] * spread[1] + step[1]) * spread[2] + step[2]
        place = np.minimum(np.searchsorted(key, there), len(key) - 1)
        inside = ((cells + step >= 0) & (cells + step < spread)).all(1)
        found = np.flatnonzero(inside & (key[place] == there))
        found = found[group[found] != group[place[found]]]
        yield np.stack([found, place[found]], 1)


def _touching(
    at: np.ndarray,
    order: np.ndarray,
    start: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    eps: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Points (i, j) within ``eps``, of all pairs of points in these pairs of cells."""
    size = np.diff(start)
    many = size[left] * size[right]
    found: list[tuple[np.ndarray, np.ndarray]] = []
    begin = 0
    while begin < len(left):
        end = begin + max(1, int(np.searchsorted(np.cumsum(many[begin:]), _BLOCK)))
        a, b = left[begin:end], right[begin:end]
        pair = np.repeat(np.arange(len(a)), many[begin:end])
        number = np.arange(len(pair)) - np.repeat(
            np.cumsum(many[begin:end]) - many[begin:end], many[begin:end]
        )
        i = order[start[a[pair]] + number // size[b[pair]]]
        j = order[start[b[pair]] + number % size[b[pair]]]
        near = ((at[i] - at[j]) ** 2).sum(1) <= eps * eps
        found.append((i[near], j[near]))
        begin = end
    nothing = np.zeros(0, np.int64)
    return (
        np.concatenate([nothing, *(i for i, _ in found)]),
        np.concatenate([nothing, *(j for _, j in found)]),
    )


def _join(group: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Groups after more links between points."""
    count = len(group)
    links = coo_matrix((np.ones(len(a), np.float32), (group[a], group[b])), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.int64)[group]


def _nearest_core(
    at: np.ndarray,
    reach: np.ndarray,
    core_at: np.ndarray,
    core_reach: np.ndarray,
    cluster: np.ndarray,
) -> np.ndarray:
    """(B,) cluster of the nearest core within reach of each point, -1 = none."""
    found = np.full(len(at), -1, np.int64)
    if not len(at) or not len(core_at):
        return found
    order = np.lexsort(core_at.T[::-1])
    tree = cKDTree(core_at[order])
    todo, near = np.arange(len(at)), min(8, len(order))
    while len(todo):
        away, other = tree.query(at[todo], k=near)
        away, other = away.reshape(len(todo), near), other.reshape(len(todo), near)
        within = away <= np.minimum(reach[todo, None], core_reach[order[other]])
        hit = within.any(1)
        nearest = np.where(within, away, np.inf)
        # of those equally near the first in order
        rank = np.where(nearest == nearest.min(1, keepdims=True), other, len(order)).min(1)
        found[todo[hit]] = cluster[order[rank[hit]]]
        # the nearest cores may be near the sensor and not reach as far as the point does
        todo = todo[~hit & (away[:, -1] <= reach[todo])] if near < len(order) else todo[:0]
        near = min(4 * near, len(order))
    return found


def _blocks(count: int, size: int) -> Iterator[slice]:
    """Slices that cover ``range(count)``."""
    for begin in range(0, count, size):
        yield slice(begin, min(begin + size, count))
