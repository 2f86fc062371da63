"""Candidates within a distance, by a hash of space: any device, any number of samples at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from densecl.pairs.ragged import blocks, expand

MOST_CELLS = 1 << 60


def in_columns(
    a: Tensor,
    b: Tensor,
    sample_a: Tensor,
    sample_b: Tensor,
    rows_a: Tensor,
    rows_b: Tensor,
    reach: float,
    limit: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """All (i, j) of one sample that are at most ``reach`` apart, in blocks, ordered by (i, j).

    Space is cut into cells of edge ``reach``; a row's partners lie in its cell or one next to it.
    Keys put the last axis lowest, so that three cells in a column are one range of sorted keys
    and a row looks up 3^(d-1) ranges.

    Args:
        a: (N, d) coordinates.
        b: (M, d) coordinates.
        sample_a: (N,) int64.
        sample_b: (M,) int64.
        rows_a: rows of a that count, ascending; finite.
        rows_b: rows of b that count.
        reach: > 0.
        limit: candidates looked at together.
    """
    if len(rows_a) == 0 or len(rows_b) == 0:
        return
    at_a, at_b = a[rows_a].double(), b[rows_b].double()
    low = torch.minimum(at_a.amin(0), at_b.amin(0))
    high = torch.maximum(at_a.amax(0), at_b.amax(0))
    samples = int(torch.maximum(sample_a[rows_a].max(), sample_b[rows_b].max())) + 1
    # a little more than asked: the cell of a point is rounded, and so is the distance
    most = reach * (1 + 1e-6) + 1e-6 * float(torch.maximum(low.abs(), high.abs()).max())
    edge = most
    extent = _extent(high - low, edge)
    while samples * _volume(extent) > MOST_CELLS:
        edge *= 2
        extent = _extent(high - low, edge)

    def keys(at: Tensor, sample: Tensor) -> Tensor:
        # one empty cell all round: the neighbours of a border cell are no other's
        cell = ((at - low) / edge).floor().long() + 1
        key = sample
        for axis, cells in enumerate(extent):
            key = key * cells + cell[:, axis]
        return key

    key_a = keys(at_a, sample_a[rows_a])
    key_b, order = torch.sort(keys(at_b, sample_b[rows_b]))
    rows_b, at_b = rows_b[order], at_b[order]
    strides = [_volume(extent[axis + 1 :]) for axis in range(len(extent))]
    offsets = torch.tensor(
        [
            sum(step * stride for step, stride in zip(steps, strides, strict=False))
            for steps in product((-1, 0, 1), repeat=len(extent) - 1)
        ],
        device=a.device,
    )
    # the keys of a column's three cells are neighbours: two searches find all their points
    middle = key_a.unsqueeze(1) + offsets
    first = torch.searchsorted(key_b, middle - 1)
    count = torch.searchsorted(key_b, middle + 1, right=True) - first
    width = len(offsets)
    for start, stop in blocks(count.sum(1), limit):
        slot, within = expand(count[start:stop].reshape(-1))
        i = slot // width + start
        j = first[start:stop].reshape(-1)[slot] + within
        gap = at_a[i] - at_b[j]
        near = (gap * gap).sum(1) <= most * most
        i, j = rows_a[i[near]], rows_b[j[near]]
        tidy = torch.argsort(i * len(b) + j)
        yield i[tidy], j[tidy]


def _extent(span: Tensor, edge: float) -> list[int]:
    return [int(axis / edge) + 3 for axis in span.tolist()]


def _volume(extent: list[int]) -> int:
    volume = 1
    for cells in extent:
        volume *= cells
    return volume
