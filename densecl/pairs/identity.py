"""Pairs of rows that carry the same id: region, class, or row of the raw input."""

from __future__ import annotations

import torch
from torch import Tensor

from densecl.pairs.pairs import Pairs
from densecl.pairs.point_set import PointSet, same_samples
from densecl.pairs.ragged import join, joint_ids, rank_in_run


@torch.no_grad()
def match_by_region(
    src: PointSet,
    dst: PointSet,
    *,
    region: str = "region",
    level: int = -1,
    within: str = "sample",
    max_per_row: int | None = None,
    skip_self: bool = False,
    generator: torch.Generator | None = None,
) -> Pairs:
    """Pair all rows that lie in the same region.

    Args:
        src: with hard ids or id paths ``regions[region]``; -1 pairs with nothing.
        dst: the same.
        region: name of the region.
        level: which level of an id path (N, L); the last is the finest.
        within: ``sample``, or ``batch`` when ids mean the same in all samples.
        max_per_row: at most so many dst rows per src row, drawn without replacement.
        skip_self: drop row i -> row i, where src and dst are the same set.
        generator: for the draw.

    Returns:
        Pairs ordered by (src, dst).

    Raises:
        ValueError: the region is missing or soft, or samples differ.

    Source: Henaff et al. 2021 (DetCon), section 3.2.
    """
    ids = region_ids(src, region, level), region_ids(dst, region, level)
    usable = ids[0] >= 0, ids[1] >= 0
    return _match(src, dst, ids, usable, within, max_per_row, skip_self, generator)


@torch.no_grad()
def match_by_label(
    src: PointSet,
    dst: PointSet,
    *,
    within: str = "batch",
    ignore: int = 255,
    max_per_row: int | None = None,
    skip_self: bool = False,
    generator: torch.Generator | None = None,
) -> Pairs:
    """Pair all rows of the same class.

    Args:
        src: with ``label``.
        dst: with ``label``.
        within: ``sample`` or ``batch``.
        ignore: label that pairs with nothing; negative labels never do.
        max_per_row: at most so many dst rows per src row, drawn without replacement.
        skip_self: drop row i -> row i, where src and dst are the same set.
        generator: for the draw.

    Returns:
        Pairs ordered by (src, dst).

    Raises:
        ValueError: labels are missing, or samples differ.
    """
    if src.label is None or dst.label is None:
        raise ValueError(f"{'src' if src.label is None else 'dst'} has no label")
    usable = tuple((ids >= 0) & (ids != ignore) for ids in (src.label, dst.label))
    ids = (src.label, dst.label)
    return _match(src, dst, ids, usable, within, max_per_row, skip_self, generator)


@torch.no_grad()
def match_by_index(src: PointSet, dst: PointSet, *, within: str = "sample") -> Pairs:
    """Pair the rows that come from the same row of the same raw input.

    Args:
        src: with ``index`` and ``source``; -1 in either pairs with nothing.
        dst: the same.
        within: ``sample`` or ``batch``.

    Returns:
        Pairs ordered by (src, dst).

    Raises:
        ValueError: an id is missing, or samples differ.
    """
    raw_a, raw_b = raw_ids(src, "src"), raw_ids(dst, "dst")
    usable = tuple((source >= 0) & (index >= 0) for source, index in (raw_a, raw_b))
    return _match(src, dst, joint_ids(raw_a, raw_b), usable, within, None, False, None)


def raw_ids(points: PointSet, name: str) -> tuple[Tensor, Tensor]:
    """``source`` and ``index``, (N,) each; ``name`` stands for the set in the message.

    Raises:
        ValueError: one of them is missing.
    """
    if points.source is None or points.index is None:
        missing = "source" if points.source is None else "index"
        raise ValueError(f"{name} has no {missing}")
    return points.source, points.index


def region_ids(points: PointSet, region: str, level: int = -1) -> Tensor:
    """Hard ids (N,) of a region, one level of an id path.

    Raises:
        ValueError: there is no such region, or it is soft.
    """
    if region not in points.regions:
        raise ValueError(f"no region {region!r}, there are {sorted(points.regions)}")
    ids = points.regions[region]
    if not isinstance(ids, Tensor):
        raise ValueError(f"regions[{region!r}] is soft, hard ids are needed")
    return ids[:, level] if ids.ndim == 2 else ids


def _match(
    src: PointSet,
    dst: PointSet,
    ids: tuple[Tensor, ...],
    usable: tuple[Tensor, ...],
    within: str,
    max_per_row: int | None,
    skip_self: bool,
    generator: torch.Generator | None,
) -> Pairs:
    same_samples(src, dst)
    if within not in ("sample", "batch"):
        raise ValueError(f"within must be 'sample' or 'batch', got {within!r}")
    if max_per_row is not None and max_per_row < 1:
        raise ValueError(f"max_per_row must be positive, got {max_per_row}")
    if skip_self and len(src) != len(dst):
        raise ValueError(f"skip_self needs one set, got {len(src)} and {len(dst)} rows")
    rows_a = (usable[0] & src.valid_mask()).nonzero().squeeze(1)
    rows_b = (usable[1] & dst.valid_mask()).nonzero().squeeze(1)
    columns = [ids[0][rows_a]], [ids[1][rows_b]]
    if within == "sample":
        columns[0].append(src.sample[rows_a])
        columns[1].append(dst.sample[rows_b])
    a, b = joint_ids(*columns)
    # One more than asked: dropping the row itself leaves a uniform draw of the others.
    spare = 1 if skip_self and max_per_row is not None else 0
    wanted = None if max_per_row is None else max_per_row + spare
    i, j = join(a, b, max_per_row=wanted, generator=generator)
    i, j = rows_a[i], rows_b[j]
    if skip_self:
        keep = i != j
        i, j = i[keep], j[keep]
    if spare and max_per_row is not None:
        i, j = _at_most(i, j, max_per_row, generator)
    return Pairs(i, j, num_src=len(src), num_dst=len(dst))


def _at_most(
    i: Tensor, j: Tensor, k: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Drop a random entry of the runs of i that are one too long."""
    draw = torch.rand(len(i), generator=generator, device=i.device)
    order = torch.argsort(draw, stable=True)
    order = order[torch.argsort(i[order], stable=True)]
    keep = order[rank_in_run(i[order]) < k].sort().values
    return i[keep], j[keep]
