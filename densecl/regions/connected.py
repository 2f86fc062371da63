"""Region maps of images as graphs: parts, neighbours, borders, and the merging of small regions."""

from __future__ import annotations

import heapq

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from densecl.regions.segments import region_sizes, relabel


def split_regions(ids: np.ndarray, connectivity: int = 4) -> np.ndarray:
    """Give each connected part of a region an id of its own.

    Args:
        ids: (H, W) integer; negative = none.
        connectivity: 4 or 8 neighbours.

    Returns:
        (H, W) int32, 0 to R - 1 in the order of first appearance, -1 = none.
    """
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity must be 4 or 8, got {connectivity}")
    if not ids.size:
        return relabel(ids)
    # runs along the rows are the nodes: far fewer than pixels
    starts = np.ones(ids.shape, bool)
    starts[:, 1:] = ids[:, 1:] != ids[:, :-1]
    run = (np.cumsum(starts.reshape(-1)) - 1).reshape(ids.shape)
    links = [_equal(ids, run, 0)]
    if connectivity == 8:
        links += [_equal(ids, run, 1), _equal(ids, run, -1)]
    a, b = np.concatenate(links, axis=1)
    count = int(run[-1, -1]) + 1
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    part = connected_components(graph, directed=False)[1][run]
    return relabel(np.where(ids < 0, -1, part))


def _equal(ids: np.ndarray, run: np.ndarray, shift: int) -> np.ndarray:
    """(2, E) runs that meet, one below the other ``shift`` columns aside, with one id."""
    width = ids.shape[1]
    above = slice(max(0, -shift), width - max(0, shift))
    below = slice(max(0, shift), width - max(0, -shift))
    same = ids[:-1, above] == ids[1:, below]
    return np.stack([run[:-1, above][same], run[1:, below][same]])


def adjacency(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Regions that share a border.

    Args:
        ids: (H, W) integer, -1 = none.

    Returns:
        (E, 2) int64 pairs a < b in ascending order, and (E,) int64 lengths of their common border
        in pixel sides (4 neighbours).
    """
    count = int(ids.max(initial=-1)) + 1
    sides = []
    for one, other in ((ids[:, :-1], ids[:, 1:]), (ids[:-1], ids[1:])):
        apart = (one != other) & (one >= 0) & (other >= 0)
        sides.append(np.stack([one[apart], other[apart]]).astype(np.int64))
    pairs = np.sort(np.concatenate(sides, axis=1), axis=0)
    keys, length = np.unique(pairs[0] * count + pairs[1], return_counts=True)
    return np.stack([keys // max(count, 1), keys % max(count, 1)], axis=1), length


def boundaries(ids: np.ndarray, ignore: int | None = None) -> np.ndarray:
    """Pixels with a neighbour (of 4) of another id; both sides of a border are marked.

    Args:
        ids: (H, W) integer.
        ignore: an id whose borders are none.

    Returns:
        (H, W) bool.
    """
    edge = np.zeros(ids.shape, bool)
    for one, other in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
    ):
        apart = ids[one] != ids[other]
        if ignore is not None:
            apart &= (ids[one] != ignore) & (ids[other] != ignore)
        edge[one] |= apart
        edge[other] |= apart
    return edge


def merge_small(ids: np.ndarray, min_size: int) -> np.ndarray:
    """Dissolve small regions, the smallest first, each in the neighbour with the longest border.

    Ties go to the lower id. A region without a neighbour stays as it is.

    Args:
        ids: (H, W) integer, 0 to R - 1, -1 = none.
        min_size: pixels that a region needs to stay.

    Returns:
        (H, W) int32, 0 to R' - 1 in the order of first appearance, -1 = none.
    """
    size = region_sizes(ids)
    border: list[dict[int, int]] = [{} for _ in size]
    for (a, b), length in zip(*(array.tolist() for array in adjacency(ids)), strict=True):
        border[a][b] = border[b][a] = length
    into = np.arange(len(size))
    sizes = size.tolist()
    heap = [(count, region) for region, count in enumerate(sizes) if 0 < count < min_size]
    heapq.heapify(heap)
    while heap:
        count, region = heapq.heappop(heap)
        if into[region] != region or count != sizes[region] or not border[region]:
            continue
        target = min(border[region], key=lambda other: (-border[region][other], other))
        into[region] = target
        sizes[target] += count
        for other, length in border[region].items():
            del border[other][region]
            if other != target:
                border[target][other] = border[target].get(other, 0) + length
                border[other][target] = border[target][other]
        border[region] = {}
        if sizes[target] < min_size:
            heapq.heappush(heap, (sizes[target], target))
    while (into[into] != into).any():
        into = into[into]
    return relabel(np.append(into, -1)[ids])


def region_means(ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of some values over each region.

    Args:
        ids: (H, W) or (N,) integer, 0 to R - 1, -1 = none.
        values: the same shape and one more axis of channels.

    Returns:
        (R, C) float64; NaN for an id without a pixel.
    """
    flat = ids.reshape(-1).astype(np.int64) + 1
    channels = values.reshape(len(flat), -1)
    size = np.bincount(flat)[1:]
    sums = [
        np.bincount(flat, channels[:, c], minlength=len(size) + 1)[1:]
        for c in range(channels.shape[1])
    ]
    with np.errstate(invalid="ignore"):
        return np.stack(sums, axis=1) / size[:, None]
