"""Fewer pairs: one partner per row, at most n per batch or per sample."""

from __future__ import annotations

import torch
from torch import Tensor

from densecl.pairs import Pairs, PointSet
from densecl.pairs.ragged import rank_in_run


def one_per_row(
    pairs: Pairs, *, draw: Tensor | None = None, generator: torch.Generator | None = None
) -> Pairs:
    """One partner of each src row that has any, drawn uniformly from its partners.

    The pairs are grouped by src row here: their order does not matter. (Code that takes the
    groups to be sorted picks partners of other rows from a shuffled list.)

    Args:
        pairs: many-to-many; no pair twice.
        draw: (num_src,) uniform numbers in [0, 1), that of row i choosing among its partners in
            ascending order; None = drawn here.
        generator: for that draw, on the device of the pairs.

    Returns:
        At most num_src pairs, ordered by src.

    Raises:
        ValueError: ``draw`` has another shape.

    Source: Xie et al. 2020 (PointContrast), section 4.2, PointInfoNCE.
    """
    if draw is None:
        draw = torch.rand(
            pairs.num_src, generator=generator, device=pairs.device, dtype=torch.float64
        )
    if draw.shape != (pairs.num_src,):
        raise ValueError(f"draw must be ({pairs.num_src},), got {tuple(draw.shape)}")
    ordered = pairs.sort()
    count = ordered.per_row()
    start = count.cumsum(0) - count
    rows = count.nonzero().squeeze(1)
    choice = (draw[rows] * count[rows]).long().minimum(count[rows] - 1)
    return ordered.filter(start[rows] + choice)


def at_most_per_row(pairs: Pairs, most: int, generator: torch.Generator | None = None) -> Pairs:
    """At most ``most`` partners of each src row, drawn without replacement; in order (src, dst).

    Raises:
        ValueError: ``most`` is not positive.
    """
    return _at_most(pairs, pairs.src, most, generator).sort()


def at_most(
    pairs: Pairs,
    most: int,
    *,
    points: PointSet | None = None,
    generator: torch.Generator | None = None,
) -> Pairs:
    """At most ``most`` random pairs, in the order given.

    Args:
        pairs: what to draw from.
        most: of the whole batch (PointContrast: 4096), or of each sample.
        points: the src set; with it, ``most`` counts for each sample (CSC: 4096).
        generator: for the draw, on the device of the pairs.

    Raises:
        ValueError: ``most`` is not positive, or ``points`` is not the src set.
    """
    if points is None:
        return _at_most(pairs, torch.zeros_like(pairs.src), most, generator)
    if len(points) != pairs.num_src:
        raise ValueError(f"points has {len(points)} rows, num_src is {pairs.num_src}")
    return _at_most(pairs, points.sample[pairs.src], most, generator)


def _at_most(pairs: Pairs, group: Tensor, most: int, generator: torch.Generator | None) -> Pairs:
    if most < 1:
        raise ValueError(f"at most {most} pairs: needs 1 or more")
    draw = torch.rand(len(pairs), generator=generator, device=pairs.device, dtype=torch.float64)
    order = torch.argsort(draw)
    order = order[torch.argsort(group[order], stable=True)]
    return pairs.filter(order[rank_in_run(group[order]) < most].sort().values)
