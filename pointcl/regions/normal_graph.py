"""Smooth patches: Felzenszwalb and Huttenlocher's segmentation of a graph of normals.

"Efficient graph-based image segmentation", IJCV 2004, on the nearest neighbours of a cloud, as
ScanNet cuts its meshes. Edges are taken from light to heavy; one joins two components unless it is
heavier than what holds either together, its heaviest edge so far plus ``scale / size``.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from densecl.regions.segments import relabel
from pointcl.regions.normals import estimate_normals

_FIRST = 2048


def normal_graph(
    points: np.ndarray,
    normals: np.ndarray | None = None,
    *,
    neighbours: int = 8,
    scale: float = 0.05,
    min_size: int = 20,
    max_gap: float = 0.1,
) -> np.ndarray:
    """Patches of a cloud within which the normal changes little.

    An edge weighs 1 - |n . m| for the normals n and m of its ends.

    Args:
        points: (N, 3) metres; rows that are not finite are in no patch.
        normals: (N, 3) of unit length, either side; None = ``estimate_normals``.
        neighbours: edges from each point to its nearest ones.
        scale: higher gives larger patches.
        min_size: smaller patches are joined to the neighbour that the lightest edge leads to;
            those without a neighbour are -1.
        max_gap: metres; longer edges are left out.

    Returns:
        (N,) int64, 0 to R - 1 in the order of the points, -1 = none.

    Raises:
        ValueError: lengths disagree.
    """
    if normals is None:
        normals = estimate_normals(points)
    if normals.shape != points.shape:
        raise ValueError(f"normals {normals.shape} for points {points.shape}")
    ids = np.full(len(points), -1, np.int64)
    rows = np.flatnonzero(np.isfinite(points).all(1) & np.isfinite(normals).all(1))
    if not len(rows):
        return ids
    edges = neighbour_edges(points[rows].astype(np.float64), neighbours, max_gap)
    n = normals[rows].astype(np.float64)
    weight = 1.0 - np.abs((n[edges[:, 0]] * n[edges[:, 1]]).sum(1))
    part = graph_segments(len(rows), edges, np.maximum(weight, 0.0), scale, min_size)
    size = np.bincount(part)
    ids[rows] = relabel(np.where(size[part] < min_size, -1, part))
    return ids


def neighbour_edges(at: np.ndarray, neighbours: int, max_gap: float) -> np.ndarray:
    """(E, 2) pairs a < b of points of which one is among the nearest of the other, ascending."""
    count = len(at)
    near = min(neighbours + 1, count)
    away, other = cKDTree(at).query(at, k=near, distance_upper_bound=max_gap)
    away, other = away.reshape(count, near), other.reshape(count, near)
    a, place = np.nonzero(np.isfinite(away))
    b = other[a, place]
    low, high = np.minimum(a, b), np.maximum(a, b)
    key = np.unique((low * count + high)[low < high])
    return np.stack([key // count, key % count], 1)


def graph_segments(
    count: int, edges: np.ndarray, weight: np.ndarray, scale: float, min_size: int = 1
) -> np.ndarray:
    """Components of a weighted graph by the rule of Felzenszwalb and Huttenlocher.

    The edges are taken in batches. Those of a batch that lie within one component, or lead to one
    that has refused an edge and so refuses all that are heavier, are dropped at once; what is left
    is taken one by one. The result is that of taking all one by one.

    Args:
        count: N nodes.
        edges: (E, 2) pairs of nodes.
        weight: (E,) of the edges; equal ones are taken in their order.
        scale: higher gives larger components.
        min_size: afterwards, from light to heavy again, an edge joins two components of which one
            is smaller than this.

    Returns:
        (N,) int64 ids of the components, without gaps.
    """
    order = np.argsort(weight, kind="stable")
    a, b = edges[order].T if len(edges) else (np.zeros(0, np.int64),) * 2
    merging = _Merging(count)
    merging.grow(a, b, weight[order], scale)
    if min_size > 1:
        merging.absorb(a, b, min_size)
    return np.unique(merging.root, return_inverse=True)[1].reshape(-1)


class _Merging:
    """Components while they grow: the root of each node, and of each root size and limit."""

    def __init__(self, count: int) -> None:
        self.root = np.arange(count)
        self.size = np.ones(count, np.int64)

    def grow(self, a: np.ndarray, b: np.ndarray, weight: np.ndarray, scale: float) -> None:
        """Take the edges, sorted by weight, with the rule of the paper."""
        closed = np.zeros(len(self.root), bool)
        limit = np.full(len(self.root), float(scale))
        for some in _batches(len(a)):
            u, v = self.root[a[some]], self.root[b[some]]
            left = np.flatnonzero((u != v) & ~closed[u] & ~closed[v])
            parent: dict[int, int] = {}
            size: dict[int, int] = {}
            most: dict[int, float] = {}
            shut: set[int] = set()
            for p, q, w in zip(
                u[left].tolist(), v[left].tolist(), weight[some][left].tolist(), strict=True
            ):
                while p in parent:
                    p = parent[p]
                while q in parent:
                    q = parent[q]
                if p == q or p in shut or q in shut:
                    continue
                over_p = w > (most[p] if p in most else limit[p])
                over_q = w > (most[q] if q in most else limit[q])
                if over_p:
                    shut.add(p)
                if over_q:
                    shut.add(q)
                if over_p or over_q:
                    continue
                m = size.get(p) or int(self.size[p])
                n = size.get(q) or int(self.size[q])
                if m < n:
                    p, q = q, p
                parent[q] = p
                size[p] = m + n
                most[p] = w + scale / (m + n)
            self._settle(parent, size)
            limit[list(most)] = list(most.values())
            closed[list(shut)] = True

    def absorb(self, a: np.ndarray, b: np.ndarray, min_size: int) -> None:
        """Join small components along the edges, in their order."""
        for some in _batches(len(a)):
            u, v = self.root[a[some]], self.root[b[some]]
            small = (self.size[u] < min_size) | (self.size[v] < min_size)
            left = np.flatnonzero((u != v) & small)
            parent: dict[int, int] = {}
            size: dict[int, int] = {}
            for p, q in zip(u[left].tolist(), v[left].tolist(), strict=True):
                while p in parent:
                    p = parent[p]
                while q in parent:
                    q = parent[q]
                if p == q:
                    continue
                m = size.get(p) or int(self.size[p])
                n = size.get(q) or int(self.size[q])
                if m >= min_size and n >= min_size:
                    continue
                if m < n:
                    p, q = q, p
                parent[q] = p
                size[p] = m + n
            self._settle(parent, size)

    def _settle(self, parent: dict[int, int], size: dict[int, int]) -> None:
        """Bring what a batch has joined into the arrays."""
        to = np.arange(len(self.root))
        to[list(parent)] = list(parent.values())
        while (to[to] != to).any():
            to = to[to]
        self.root = to[self.root]
        self.size[list(size)] = list(size.values())


def _batches(count: int) -> list[slice]:
    """Slices of growing length: many light edges lead nowhere new once components are large."""
    ends = [0]
    while ends[-1] < count:
        ends.append(min(count, max(ends[-1] + _FIRST, int(1.3 * ends[-1]))))
    return [slice(low, high) for low, high in pairwise(ends)]
