"""Pairs of rows that are close in the canonical frame."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from densecl.pairs.columns import in_columns
from densecl.pairs.pairs import Pairs
from densecl.pairs.point_set import PointSet, same_frame, same_samples
from densecl.pairs.ragged import blocks, expand, rank_in_run
from densecl.pairs.tree import close_rows, nearest_rows

Candidates = Iterator[tuple[Tensor, Tensor]]

BLOCK = 1 << 22
"""Candidates looked at together: about 200 MB of temporaries."""

SMALL = 1 << 14
"""Below so many candidates, comparing all rows is fastest; below so many per sample, the hash is,
which takes all samples at once, rather than a tree for each."""


@torch.no_grad()
def match_by_distance(
    src: PointSet,
    dst: PointSet,
    *,
    radius: float,
    normaliser: str | None = "cell",
    k: int | None = None,
    metric: str = "isotropic",
    search: str = "auto",
) -> Pairs:
    """Pair rows of the same sample whose canonical coordinates are closer than ``radius``.

    Args:
        src: with ``coord``.
        dst: with ``coord``, in the same frame.
        radius: strict upper bound of the distance.
        normaliser: ``cell``: the distance is divided by the larger of the two cells' diagonals
            (PixPro); None: it is in the unit of the frame.
        k: keep only the k nearest dst rows of each src row, the lowest rows on ties.
        metric: ``isotropic``, or ``anisotropic``: coordinates are first divided by the extent of
            their source (PixPro divides by width and height separately).
        search: how candidates are found; never changes the result. ``grid`` looks up a window of
            dst's map, O(h w) in all; ``tree`` uses scipy on CPU; ``hash`` cuts space into cells,
            on any device; ``all`` compares every row; ``auto`` takes the first that applies.

    Returns:
        Pairs ordered by (src, dst). Rows that are not valid, or whose coordinate is not finite,
        have none.

    Raises:
        ValueError: frames or samples differ, coordinates, cells or spans are missing, or an
            option is unknown.

    Source: Xie et al. 2021 (PixPro), section 3.1; Xie et al. 2020 (PointContrast), section 4.
    """
    same_frame(src, dst)
    same_samples(src, dst)
    if radius <= 0 or (k is not None and k < 1):
        raise ValueError(f"radius and k must be positive, got {radius} and {k}")
    scale = _scale(src, dst, metric)
    a, b = _coordinates(src, "src", scale), _coordinates(dst, "dst", scale)
    size_a = size_b = None
    if normaliser == "cell":
        size_a, size_b = _diagonals(src, "src", scale), _diagonals(dst, "dst", scale)
    elif normaliser is not None:
        raise ValueError(f"normaliser must be 'cell' or None, got {normaliser!r}")

    usable_a = src.valid_mask() & a.isfinite().all(1)
    usable_b = dst.valid_mask() & b.isfinite().all(1)
    reach = _reach(src, dst, radius, size_a, size_b)
    kept: list[tuple[Tensor, ...]] = []
    few = k if size_a is None else None
    for i, j in _candidates(search, src, dst, a, b, reach, usable_a, usable_b, scale, few):
        near, rank = _closer(i, j, a, b, radius, size_a, size_b)
        near &= usable_b[j]
        found = (i, j) if k is None else (i, j, rank)
        kept.append(found if bool(near.all()) else tuple(part[near] for part in found))
    if not kept:
        return Pairs.empty(len(src), len(dst), src.device)
    i, j, *ranks = kept[0] if len(kept) == 1 else map(torch.cat, zip(*kept, strict=True))
    if k is not None:
        nearest = _nearest(i, ranks[0], k)
        i, j = i[nearest], j[nearest]
    return Pairs(i, j, num_src=len(src), num_dst=len(dst))


def _closer(
    i: Tensor,
    j: Tensor,
    a: Tensor,
    b: Tensor,
    radius: float,
    size_a: Tensor | None,
    size_b: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The one definition of closeness, shared by every search; also what ranks the candidates."""
    gap = a.index_select(0, i) - b.index_select(0, j)
    axes = gap.unbind(1)
    square = axes[0] * axes[0]
    for axis in axes[1:]:
        square = square + axis * axis
    if size_a is None or size_b is None:
        return square < radius * radius, square
    limit = torch.maximum(size_a[i], size_b[j]) * radius
    limit = limit * limit
    return square < limit, square / limit


def _candidates(
    search: str,
    src: PointSet,
    dst: PointSet,
    a: Tensor,
    b: Tensor,
    reach: Tensor,
    usable_a: Tensor,
    usable_b: Tensor,
    scale: Tensor | None,
    k: int | None,
) -> Candidates:
    """(i, j) that hold every pair; with ``k``, at least the k nearest of each i by distance."""
    matrix = None if dst.grid is None else dst.grid.matrix
    counts = _sample_counts(src), _sample_counts(dst)
    if search == "auto":
        if matrix is not None:
            search = "grid"
        else:
            candidates = int((counts[0] * counts[1]).sum())
            in_trees = src.device.type == "cpu" and candidates > SMALL * src.num_samples
            search = "tree" if in_trees else "hash" if candidates > SMALL else "all"
    if search == "grid":
        if matrix is None:
            raise ValueError("search='grid' needs dst to be a complete map with affine geometry")
        if scale is not None:
            matrix = matrix * scale.unsqueeze(-1)
        return _in_window(src, dst, matrix, a, reach, usable_a)
    if search == "tree":
        return _in_tree(src, dst, a, b, reach, usable_a, usable_b, k)
    if search == "hash":
        rows = [usable.nonzero().squeeze(1) for usable in (usable_a, usable_b)]
        longest = float(reach[rows[0]].max()) if len(rows[0]) else 0.0
        return in_columns(a, b, src.sample, dst.sample, rows[0], rows[1], longest, BLOCK)
    if search == "all":
        return in_sample(src, dst, usable_a)
    raise ValueError(f"search must be 'auto', 'grid', 'tree', 'hash' or 'all', got {search!r}")


def _in_window(
    src: PointSet, dst: PointSet, matrix: Tensor, a: Tensor, reach: Tensor, usable_a: Tensor
) -> Candidates:
    """Cells of dst's map in the box that encloses the ellipse of radius ``reach``."""
    assert dst.grid is not None
    shape = dst.grid.shape
    # float64: the slack then only has to cover the rounding of the stored coordinates
    inverse = torch.linalg.inv(matrix[..., :-1].double())
    row_norm = inverse.norm(dim=-1)
    largest = max(float(a[usable_a].abs().max()), 1.0) if bool(usable_a.any()) else 1.0
    rows = usable_a.nonzero().squeeze(1)
    sample = src.sample[rows]
    at = a[rows].double() - matrix[..., -1].double()[sample]
    at = (inverse[sample] * at.unsqueeze(-2)).sum(-1)
    half = row_norm[sample] * (reach[rows].double().unsqueeze(1) + 1e-6 * largest) + 1e-3
    extent = torch.tensor(list(reversed(shape)), device=a.device, dtype=torch.float64)
    low = torch.ceil(at - half - 0.5).clamp(min=0).minimum(extent).long()
    high = torch.floor(at + half - 0.5).clamp(min=-1).minimum(extent - 1).long()
    width = (high - low + 1).clamp(min=0)
    count = width.prod(1)
    base = sample * int(extent.prod())
    for start, stop in blocks(count, BLOCK):
        owner, left = expand(count[start:stop])
        owner = owner + start
        row, stride = base[owner], 1
        for axis, cells in enumerate(reversed(shape)):
            width_here = width[owner, axis]
            row = row + (low[owner, axis] + left % width_here) * stride
            left = left // width_here
            stride *= cells
        yield rows[owner], row


def in_sample(src: PointSet, dst: PointSet, usable: Tensor) -> Candidates:
    """Every dst row of the sample of each usable src row, in blocks, ordered by (src, dst)."""
    count = _sample_counts(dst)
    start = count.cumsum(0) - count
    order = torch.argsort(dst.sample, stable=True)
    rows = usable.nonzero().squeeze(1)
    sample = src.sample[rows]
    per_row = count[sample]
    for first, last in blocks(per_row, BLOCK):
        owner, within = expand(per_row[first:last])
        owner = owner + first
        yield rows[owner], order[start[sample[owner]] + within]


def _in_tree(
    src: PointSet,
    dst: PointSet,
    a: Tensor,
    b: Tensor,
    reach: Tensor,
    usable_a: Tensor,
    usable_b: Tensor,
    k: int | None,
) -> Candidates:
    if src.device.type != "cpu":
        raise ValueError(f"search='tree' runs on cpu, the rows are on {src.device}")
    found = []
    for sample in range(src.num_samples):
        rows_a = ((src.sample == sample) & usable_a).nonzero().squeeze(1)
        rows_b = ((dst.sample == sample) & usable_b).nonzero().squeeze(1)
        if len(rows_a) == 0 or len(rows_b) == 0:
            continue
        points_a, points_b = a[rows_a].double(), b[rows_b].double()
        # the tree's own distances round differently: ask for a little more, filter later
        slack = 1e-6 * max(float(points_a.abs().max()), 1.0)
        limit = float(reach[rows_a].max()) + slack
        if k is None:
            i, j = close_rows(points_a, points_b, limit)
        else:
            i, j = nearest_rows(points_a, points_b, limit, k, slack)
        found.append((rows_a[i], rows_b[j]))
    if found:
        i, j = (torch.cat(part) for part in zip(*found, strict=True))
        key = i * len(dst) + j
        key.numpy().sort()  # four times as fast as torch's
        i = torch.div(key, len(dst), rounding_mode="floor")
        yield i, key - i * len(dst)


def _nearest(i: Tensor, rank: Tensor, k: int) -> Tensor:
    """Places of the k smallest of each run of i, in their first order; ties by place.

    Args:
        i: (P,) int64, ascending.
        rank: (P,) float.
        k: > 0.
    """
    if k == 1 and len(i):
        least = rank.new_full((int(i[-1]) + 1,), torch.inf).scatter_reduce(0, i, rank, "amin")
        place = (rank == least[i]).nonzero().squeeze(1)
        return place[rank_in_run(i[place]) == 0]
    order = torch.argsort(rank, stable=True)
    order = order[torch.argsort(i[order], stable=True)]
    return order[rank_in_run(i[order]) < k].sort().values


def _reach(
    src: PointSet, dst: PointSet, radius: float, size_a: Tensor | None, size_b: Tensor | None
) -> Tensor:
    """Upper bound of the distance at which each src row can have a partner: (N,)."""
    if size_a is None or size_b is None:
        return torch.full((len(src),), float(radius), device=src.device)
    largest = size_b.new_zeros(dst.num_samples)
    finite = torch.nan_to_num(size_b, nan=0.0, posinf=0.0)
    largest = largest.scatter_reduce(0, dst.sample, finite, "amax")
    return torch.maximum(torch.nan_to_num(size_a, nan=0.0), largest[src.sample]) * radius


def _sample_counts(points: PointSet) -> Tensor:
    return torch.bincount(points.sample, minlength=points.num_samples)


def _scale(src: PointSet, dst: PointSet, metric: str) -> Tensor | None:
    """(B, d) factors of the coordinates, or None."""
    if metric == "isotropic":
        return None
    if metric != "anisotropic":
        raise ValueError(f"metric must be 'isotropic' or 'anisotropic', got {metric!r}")
    if src.span is None or dst.span is None:
        raise ValueError("metric='anisotropic' needs span, the extent of each source")
    if not torch.equal(src.span, dst.span):
        raise ValueError("span differs between src and dst: they show different sources")
    return 1 / src.span


def _coordinates(points: PointSet, name: str, scale: Tensor | None) -> Tensor:
    if points.coord is None:
        raise ValueError(f"{name} has no coord")
    return points.coord if scale is None else points.coord * scale[points.sample]


def _diagonals(points: PointSet, name: str, scale: Tensor | None) -> Tensor:
    """Diagonal of each cell, of the rectangle of its edge lengths: (N,)."""
    if points.cell is None:
        raise ValueError(f"{name} has no cell, which normaliser='cell' needs")
    edges = points.cell
    if scale is not None:
        edges = edges * scale[points.sample].unsqueeze(1)
    return edges.flatten(1).norm(dim=1)
