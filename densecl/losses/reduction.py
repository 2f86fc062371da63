"""From one value per row to a loss: plain reductions and the normalisers that methods differ in."""

from __future__ import annotations

import torch
from torch import Tensor

from densecl.losses.numerics import segment_sum

Reduced = Tensor | tuple[Tensor, Tensor]
"""A loss, or (sum, weight) for ``reduction="parts"``."""

NORMALISERS = ("pairs", "anchors", "samples", "regions")


def reduce_rows(values: Tensor, mass: Tensor | float, reduction: str) -> Reduced:
    """Reduce rows that already carry their weights.

    Args:
        values: (P,) float.
        mass: total weight that a mean divides by; where it is zero the mean is zero.
        reduction: "none" -> (P,) values; "sum"; "mean" = sum / mass; "parts" -> (sum, mass), for
            ranks that hold different numbers of rows, see ``densecl.distributed.mean_over_ranks``.

    Raises:
        ValueError: unknown reduction.
    """
    if reduction == "none":
        return values
    total = values.sum()
    if reduction == "sum":
        return total
    mass = torch.as_tensor(mass, dtype=total.dtype, device=total.device)
    if reduction == "parts":
        return total, mass
    if reduction == "mean":
        return total / torch.where(mass > 0, mass, torch.ones_like(mass))
    raise ValueError(f'reduction is {reduction!r}, needs "mean", "sum", "none" or "parts"')


def pair_shares(
    weight: Tensor,
    anchor: Tensor,
    normaliser: str,
    groups: Tensor | None = None,
    num_groups: int | None = None,
) -> tuple[Tensor, Tensor]:
    """What each pair counts, and the total that the mean divides by.

    Args:
        weight: (P,) float > 0, the weight of each pair.
        anchor: (P,) int64, the query row of each pair.
        normaliser: "pairs" = weighted mean over pairs; "anchors" = per query row, then the mean
            over the rows that have a pair; "samples" and "regions" = per group, then the mean over
            groups.
        groups: (N,) int64, sample or region of each query row, -1 = none (its pairs count
            nothing); needed for "samples" and "regions".
        num_groups: how many groups the mean is over, empty ones included (PixPro's images without
            a pair count as 0); None = the groups that have a pair.

    Returns:
        (P,) shares and () their divisor: ``loss = sum(share * value) / divisor``.

    Raises:
        ValueError: unknown normaliser, or groups missing.
    """
    if normaliser == "pairs":
        return weight, weight.sum()
    if normaliser not in NORMALISERS:
        raise ValueError(f"normaliser is {normaliser!r}, needs one of {', '.join(NORMALISERS)}")
    if normaliser == "anchors":
        group = anchor
    elif groups is None:
        raise ValueError(f"normaliser {normaliser!r} needs groups, the {normaliser} of the rows")
    else:
        group = groups[anchor]
    weight = weight * (group >= 0)
    present, segment = group.clamp_min(0).unique(return_inverse=True)
    total = segment_sum(weight, segment, len(present))
    share = weight / torch.where(total > 0, total, torch.ones_like(total))[segment]
    if normaliser == "anchors" or num_groups is None:
        return share, (total > 0).sum().to(weight.dtype)
    return share, weight.new_tensor(float(num_groups))
