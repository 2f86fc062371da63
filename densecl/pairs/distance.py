"""Pairs of rows that are close in the canonical frame."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from densecl.pairs.pairs import Pairs
from densecl.pairs.point_set import PointSet, same_frame, same_samples
from densecl.pairs.ragged import blocks, expand, rank_in_run

Candidates = Iterator[tuple[Tensor, Tensor]]

BLOCK = 1 << 22
"""Candidates looked at together: about 200 MB of temporaries."""

SMALL = 1 << 20
"""Below so many candidates, comparing all rows is faster than building a tree."""


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
            dst's map, O(h w) in all; ``tree`` uses scipy on CPU; ``all`` compares every row;
            ``auto`` takes the first that applies.

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
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for i, j in _candidates(search, src, dst, a, b, reach, usable_a, usable_b, scale):
        near, rank = _closer(i, j, a, b, radius, size_a, size_b)
        near &= usable_b[j]
        kept.append((i[near], j[near], rank[near]))
    none = torch.empty(0, dtype=torch.int64, device=src.device)
    i = torch.cat([none, *(part[0] for part in kept)])
    j = torch.cat([none, *(part[1] for part in kept)])
    if k is not None:
        nearest = _nearest(i, torch.cat([a.new_empty(0), *(part[2] for part in kept)]), k)
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
    gap = a[i] - b[j]
    square = gap[:, 0] * gap[:, 0]
    for axis in range(1, gap.shape[1]):
        square = square + gap[:, axis] * gap[:, axis]
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
) -> Candidates:
    matrix = None if dst.grid is None else dst.grid.matrix
    counts = _sample_counts(src), _sample_counts(dst)
    if search == "auto":
        if matrix is not None:
            search = "grid"
        elif src.device.type == "cpu" and int((counts[0] * counts[1]).sum()) > SMALL:
            search = "tree"
        else:
            search = "all"
    if search == "grid":
        if matrix is None:
            raise ValueError("search='grid' needs dst to be a complete map with affine geometry")
        if scale is not None:
            matrix = matrix * scale.unsqueeze(-1)
        return _in_window(src, dst, matrix, a, reach, usable_a)
    if search == "tree":
        return _in_tree(src, dst, a, b, reach, usable_a, usable_b)
    if search == "all":
        return in_sample(src, dst, usable_a)
    raise ValueError(f"search must be 'auto', 'grid', 'tree' or 'all', got {search!r}")


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
) -> Candidates:
    if src.device.type != "cpu":
        raise ValueError(f"search='tree' runs on cpu, the rows are on {src.device}")
    from scipy.spatial import cKDTree

    found = []
    for sample in range(src.num_samples):
        rows_a = ((src.sample == sample) & usable_a).nonzero().squeeze(1)
        rows_b = ((dst.sample == sample) & usable_b).nonzero().squeeze(1)
        if len(rows_a) == 0 or len(rows_b) == 0:
            continue
        points_a, points_b = a[rows_a].double(), b[rows_b].double()
        # the tree's own distances round differently: ask for a little more, filter later
        limit = float(reach[rows_a].max()) + 1e-6 * max(float(points_a.abs().max()), 1.0)
        near = cKDTree(points_a.numpy()).sparse_distance_matrix(
            cKDTree(points_b.numpy()), limit, output_type="ndarray"
        )
        i = rows_a[torch.from_numpy(near["i"].astype("int64"))]
        j = rows_b[torch.from_numpy(near["j"].astype("int64"))]
        found.append((i, j))
    if found:
        i, j = (torch.cat(part) for part in zip(*found, strict=True))
        order = torch.argsort(i * len(dst) + j)
        yield i[order], j[order]


def _nearest(i: Tensor, rank: Tensor, k: int) -> Tensor:
    """Places of the k smallest of each run of i, in their first order; ties by place."""
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
