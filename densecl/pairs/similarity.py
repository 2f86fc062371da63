"""Pairs of rows with the most similar features, wherever they lie."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from densecl.pairs.pairs import Pairs
from densecl.pairs.point_set import PointSet, same_samples

BLOCK = 1 << 22
"""Scores held together, 16 MiB: a block stays in the cache between its passes."""

CLOSE = 1e-6
"""Cosines this close may have been ordered by the rounding of a float32 product."""

TIE = 1e-12
"""Cosines this close in float64 are equal."""


@torch.no_grad()
def match_by_similarity(
    src: PointSet,
    dst: PointSet,
    *,
    field: str,
    mutual: bool = False,
    threshold: float | None = None,
    ratio: float | None = None,
    within: str = "sample",
) -> Pairs:
    """Pair each src row with the dst row of largest cosine; no gradient passes.

    Among equal cosines the lowest dst row wins, on every device and for every block size: where the
    two best are closer than float32 can tell, they are compared in float64.

    Args:
        src: the anchors.
        dst: the candidates.
        field: features to compare.
        mutual: keep i -> j only if i is also the best src row of j.
        threshold: keep pairs with at least this cosine.
        ratio: keep pairs whose distance, on the unit sphere, is below ``ratio`` times the distance
            to the second best (Lowe's test). A row with one candidate passes.
        within: ``sample``, or ``batch`` to search the rows of all samples.

    Returns:
        At most one pair per src row, ordered by src. Rows that are not valid have none.

    Raises:
        ValueError: samples differ, or an option is unknown.

    Source: Wang et al. 2021 (DenseCL), section 3.3, eq. 3.
    """
    if within not in ("sample", "batch"):
        raise ValueError(f"within must be 'sample' or 'batch', got {within!r}")
    same_samples(src, dst)
    with torch.autocast(src.device.type, enabled=False):
        a, b = src.fields[field], dst.fields[field]
        pairs = _pairs(_best(a, b, src, dst, within), src, dst, threshold, ratio)
        if mutual:
            back = _best(b, a, dst, src, within)
            pairs = pairs.mutual(_pairs(back, dst, src, None, None))
    return pairs


Best = tuple[Tensor, Tensor, Tensor]


def _pairs(
    found: Best, src: PointSet, dst: PointSet, threshold: float | None, ratio: float | None
) -> Pairs:
    row, first, second = found
    keep = (row >= 0) & src.valid_mask()
    if threshold is not None:
        keep &= first >= threshold
    if ratio is not None:
        # |u - v|^2 = 2 - 2 cos on the unit sphere
        keep &= (1 - first) < ratio * ratio * (1 - second)
    rows = keep.nonzero().squeeze(1)
    return Pairs(rows, row[rows], num_src=len(src), num_dst=len(dst))


def _best(a: Tensor, b: Tensor, src: PointSet, dst: PointSet, within: str) -> Best:
    """For each src row its best dst row (-1 = none), and the best and second cosine."""
    if within == "sample" and src.grid is not None and dst.grid is not None:
        batch = src.num_samples
        per_src, per_dst = (math.prod(points.grid.shape) for points in (src, dst) if points.grid)
        valid = None if dst.valid is None else dst.valid.reshape(batch, per_dst)
        maps = a.reshape(batch, per_src, -1), b.reshape(batch, per_dst, -1)
        row, first, second = _best_of_maps(*maps, valid)
        offset = torch.arange(batch, device=a.device).unsqueeze(1) * per_dst
        row = torch.where(row >= 0, row + offset, row)
        return row.flatten(), first.flatten(), second.flatten()
    n = len(src)
    row = torch.full((n,), -1, dtype=torch.int64, device=a.device)
    first = torch.full((n,), -torch.inf, device=a.device)
    second = first.clone()
    if within == "batch":
        everything = [torch.arange(len(points), device=a.device) for points in (src, dst)]
        groups = [(everything[0], everything[1])]
    else:
        groups = list(_groups(src, dst))
    for rows_a, rows_b in groups:
        valid = None if dst.valid is None else dst.valid[rows_b].unsqueeze(0)
        found = _best_of_maps(a[rows_a].unsqueeze(0), b[rows_b].unsqueeze(0), valid)
        if len(rows_b):
            row[rows_a] = torch.where(found[0][0] >= 0, rows_b[found[0][0]], -1)
        first[rows_a], second[rows_a] = found[1][0], found[2][0]
    return row, first, second


def _groups(src: PointSet, dst: PointSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of each sample in both sets, in ascending order."""
    split = []
    for points in (src, dst):
        order = torch.argsort(points.sample, stable=True)
        count = torch.bincount(points.sample, minlength=points.num_samples)
        split.append(order.split(count.tolist()))
    yield from zip(*split, strict=True)


def _best_of_maps(a: Tensor, b: Tensor, valid: Tensor | None) -> Best:
    """(B, n, D), (B, m, D), (B, m) -> index (B, n) or -1, best and second cosine."""
    batch, n, m = a.shape[0], a.shape[1], b.shape[1]
    index = torch.full((batch, n), -1, dtype=torch.int64, device=a.device)
    first = torch.full((batch, n), -torch.inf, device=a.device)
    second = first.clone()
    if batch == 0 or n == 0 or m == 0:
        return index, first, second
    unit_a, unit_b = F.normalize(a.float(), dim=2), F.normalize(b.float(), dim=2)
    rows = max(1, min(n, BLOCK // m))
    items = max(1, min(batch, BLOCK // (m * rows)))
    for x in range(0, batch, items):
        for y in range(0, n, rows):
            block = (slice(x, x + items), slice(y, y + rows))
            score = torch.bmm(unit_a[block], unit_b[block[0]].transpose(1, 2))
            if valid is not None:
                score.masked_fill_(~valid[block[0]].unsqueeze(1), -torch.inf)
            first[block], index[block] = score.max(2)
            score.scatter_(2, index[block].unsqueeze(2), -torch.inf)
            second[block] = score.amax(2)
    index = torch.where(first > -torch.inf, index, -1)
    close = (index >= 0) & (first - second <= CLOSE)
    for item in close.any(1).nonzero().squeeze(1).tolist():
        allowed = None if valid is None else valid[item]
        for part in close[item].nonzero().squeeze(1).split(rows):
            exact = _compare_exactly(a[item, part], b[item], allowed)
            index[item, part], first[item, part], second[item, part] = exact
    return index, first, second


def _compare_exactly(a: Tensor, b: Tensor, valid: Tensor | None) -> Best:
    """The same for a few rows, in float64, the lowest index among equals."""
    score = F.normalize(a.double(), dim=1) @ F.normalize(b.double(), dim=1).T
    if valid is not None:
        score.masked_fill_(~valid, -torch.inf)
    top = score.amax(1, keepdim=True)
    column = torch.arange(b.shape[0], device=b.device)
    index = torch.where(score >= top - TIE, column, len(column)).amin(1)
    first = score.gather(1, index.unsqueeze(1)).squeeze(1)
    score.scatter_(1, index.unsqueeze(1), -torch.inf)
    return index, first.float(), score.amax(1).float()
