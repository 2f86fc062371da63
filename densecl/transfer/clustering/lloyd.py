"""k-means, deterministic by seed (Lloyd 1982; seeding: Arthur and Vassilvitskii 2007, greedy form).

Distances are float32 products in blocks, sums of centres are float64. The nearest centre is found
with numpy, whose argmin over a row is several times as fast as torch's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from densecl.data.seeding import rng

Metric = Literal["euclidean", "cosine"]
CELLS = 1 << 20
"""Distances that are held at once: they stay in the cache."""
_SEEDING = 22  # stream of a seed


@dataclass(frozen=True)
class Clustering:
    """Clusters of rows.

    Attributes:
        centres: (K, D) float32; unit rows for ``cosine``.
        labels: (N,) int64, the nearest centre of each row, of equals the first.
        inertia: sum of the squared distances of the rows, unit rows for ``cosine``, to it.
        iterations: of the best start.
    """

    centres: Tensor
    labels: Tensor
    inertia: float
    iterations: int


def kmeans(
    rows: Tensor,
    k: int,
    *,
    seed: int = 0,
    metric: Metric = "euclidean",
    restarts: int = 1,
    iterations: int = 100,
    tolerance: float = 1e-4,
    start: Tensor | None = None,
) -> Clustering:
    """Cluster rows; the best of several starts by inertia, of equals the first.

    A cluster that goes empty takes the row that lies farthest from its own centre. Where every row
    lies on a centre already (fewer distinct rows than clusters), it stays empty.

    Args:
        rows: (N, D) float, N >= 1, finite.
        k: clusters; with fewer rows than that, as many as rows.
        seed: of the starts.
        metric: ``cosine`` clusters the directions: rows and centres have length 1.
        restarts: number of starts.
        iterations: most moves of the centres.
        tolerance: stop when the squared moves of all centres together are at most this share of the
            mean variance of a channel; 0 stops when no row changes its cluster.
        start: (K, D) first centres, in place of the seeding and its restarts.

    Raises:
        ValueError: no rows, k < 1, or values that are not finite.
    """
    if rows.ndim != 2 or not len(rows) or k < 1:
        raise ValueError(f"rows {tuple(rows.shape)} and k = {k}")
    rows = rows.detach().cpu().float()
    if not torch.isfinite(rows).all():
        raise ValueError("rows are not finite")
    cosine = metric == "cosine"
    origin = torch.zeros(rows.shape[1]) if cosine else rows.double().mean(0).float()
    rows = functional.normalize(rows, dim=1) if cosine else rows - origin
    limit = tolerance * float(rows.double().var(dim=0, unbiased=False).mean())
    best: Clustering | None = None
    for restart in range(1 if start is not None else restarts):
        if start is None:
            centres = rows[seeding(rows, min(k, len(rows)), rng(seed, _SEEDING, restart))]
        else:
            centres = start.detach().cpu().float() - origin
            centres = functional.normalize(centres, dim=1) if cosine else centres
        found = _lloyd(rows, centres, cosine, iterations, limit)
        if best is None or found.inertia < best.inertia:
            best = found
    assert best is not None
    return Clustering(best.centres + origin, best.labels, best.inertia, best.iterations)


def _lloyd(
    rows: Tensor, centres: Tensor, cosine: bool, iterations: int, limit: float
) -> Clustering:
    labels = assign(rows, centres)
    done = 0
    while done < iterations:
        moved = _moved(rows, centres, labels, cosine)
        done += 1
        shift = float((moved - centres).double().square().sum())
        centres, before = moved, labels
        labels = assign(rows, centres)
        if shift <= limit or torch.equal(labels, before):
            break
    return Clustering(centres, labels, float(distances(rows, centres, labels).sum()), done)


def assign(rows: Tensor, centres: Tensor) -> Tensor:
    """(N,) the centre nearest to each row, of equals the first."""
    square = centres.square().sum(1).numpy()
    doubled = np.ascontiguousarray(-2 * centres.numpy().T)
    labels = np.empty(len(rows), np.int64)
    for start, block in _blocks(rows, len(centres)):
        # the row's own square is the same for every centre
        far = block.numpy() @ doubled
        far += square
        labels[start : start + len(block)] = far.argmin(axis=1)
    return torch.from_numpy(labels)


def distances(rows: Tensor, centres: Tensor, labels: Tensor) -> Tensor:
    """(N,) float64 squared distances of each row to the centre of its cluster."""
    parts = [
        (block.double() - centres[labels[start : start + len(block)]].double()).square().sum(1)
        for start, block in _blocks(rows, rows.shape[1])
    ]
    return torch.cat(parts)


def _moved(rows: Tensor, centres: Tensor, labels: Tensor, cosine: bool) -> Tensor:
    """The mean of each cluster; an empty one takes a far row, which leaves its own."""
    count = torch.bincount(labels, minlength=len(centres))
    empty = (count == 0).nonzero().flatten()
    if len(empty):
        labels = _repaired(rows, centres, labels, empty, count)
        count = torch.bincount(labels, minlength=len(centres))
    total = torch.zeros(centres.shape, dtype=torch.float64)
    for start, block in _blocks(rows, rows.shape[1]):
        total.index_add_(0, labels[start : start + len(block)], block.double())
    mean = total / count.clamp(min=1)[:, None]
    # opposite directions may cancel
    keeps = (count == 0) | (mean.norm(dim=1) < 1e-12 if cosine else False)
    mean = functional.normalize(mean, dim=1) if cosine else mean
    return torch.where(keeps[:, None], centres, mean.float())


def _repaired(
    rows: Tensor, centres: Tensor, labels: Tensor, empty: Tensor, count: Tensor
) -> Tensor:
    """Labels in which the farthest rows stand alone in the empty clusters."""
    far = distances(rows, centres, labels)
    labels, count = labels.clone(), count.clone()
    order = far.argsort(descending=True, stable=True).tolist()
    waiting = iter(empty.tolist())
    cluster = next(waiting)
    for row in order:
        if far[row] <= 1e-12 * float(far[order[0]].clamp(min=1e-30)):
            break  # the rest lies on its centres
        if count[labels[row]] < 2:
            continue  # it would only move the hole
        count[labels[row]] -= 1
        labels[row] = cluster
        if (cluster := next(waiting, -1)) < 0:
            break
    return labels


def seeding(rows: Tensor, k: int, generator: np.random.Generator) -> Tensor:
    """Rows to start from, far from one another: greedy k-means++.

    Each next one is the best of a few that are drawn with probability proportional to the squared
    distance to those chosen before. When all rows lie on chosen ones, the first unchosen follow.

    Args:
        rows: (N, D) float32.
        k: at most N.
        generator: the only source of randomness.

    Returns:
        (k,) int64, distinct.
    """
    trials = 2 + int(math.log(k))
    square = rows.square().sum(1)
    chosen = [int(generator.integers(len(rows)))]
    nearest = _to(rows, square, chosen)[0]
    nearest[chosen[0]] = 0
    while len(chosen) < k:
        ladder = nearest.double().cumsum(0).numpy()
        if not ladder[-1] > 0:
            taken = set(chosen)
            rest = (row for row in range(len(rows)) if row not in taken)
            return torch.tensor([*chosen, *(next(rest) for _ in range(k - len(chosen)))])
        drawn = np.searchsorted(ladder, generator.random(trials) * ladder[-1], side="right")
        drawn = np.minimum(drawn, np.flatnonzero(nearest.numpy())[-1])
        after = torch.minimum(_to(rows, square, drawn.tolist()), nearest)
        best = int(after.double().sum(1).argmin())
        chosen.append(int(drawn[best]))
        nearest = after[best]
        nearest[chosen[-1]] = 0
    return torch.tensor(chosen)


def _to(rows: Tensor, square: Tensor, chosen: list[int]) -> Tensor:
    """(n, N) squared distances of all rows to some; what rounding leaves of zero is zero."""
    scale = square[chosen, None] + square
    far = torch.addmm(scale, rows[chosen], rows.T, alpha=-2)
    return torch.where(far > 2e-6 * scale, far, torch.zeros_like(far))


def _blocks(rows: Tensor, width: int) -> list[tuple[int, Tensor]]:
    size = max(1, CELLS // max(1, width))
    return list(zip(range(0, len(rows), size), rows.split(size), strict=True))
