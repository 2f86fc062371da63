"""Regions to vectors: pool the rows of each region."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from densecl.pairs.point_set import PointSet
from densecl.pairs.soft_regions import SoftRegions


@dataclass
class Pooled:
    """One row per region.

    Attributes:
        feature: (R, D).
        region: (R,) int64 id.
        sample: (R,) int64, -1 where regions span samples.
        mass: (R,) float, the weights that were pooled (the number of rows without weights).
    """

    feature: Tensor
    region: Tensor
    sample: Tensor
    mass: Tensor


def pool_regions(
    features: Tensor,
    regions: Tensor | SoftRegions,
    *,
    sample: Tensor | None = None,
    reduce: str = "mean",
    weights: Tensor | None = None,
    level: int = -1,
    num_regions: int | None = None,
) -> Pooled:
    """Pool rows over regions; differentiable in ``features`` and in the weights.

    Args:
        features: (N, D) float.
        regions: hard ids (N,), an id path (N, L), or sparse soft weights; -1 is left out.
        sample: (N,) int64; equal ids in two samples are then two regions.
        reduce: ``mean`` (weighted), ``sum`` or ``max`` (hard regions, weights not used).
        weights: (N,) float >= 0 per row.
        level: which level of an id path.
        num_regions: without ``sample``: return exactly the regions 0..num_regions-1; empty ones
            are rows of zeros with mass 0. Otherwise only regions with a row are returned, ordered
            by (sample, id).

    Raises:
        ValueError: shapes disagree, an id is too large, or an option is unknown.

    Source: mask pooling, Henaff et al. 2021 (DetCon), eq. 1; superpixel pooling, Sautier et al.
    2022 (SLidR), section 3.2; soft pooling, Wen et al. 2022 (SlotCon), eq. 5.
    """
    row, ids, mass = _assignments(features, regions, weights, level)
    if reduce not in ("mean", "sum", "max"):
        raise ValueError(f"reduce must be 'mean', 'sum' or 'max', got {reduce!r}")
    group, region, owner = _groups(ids, None if sample is None else sample[row], num_regions)
    r = len(region)
    total = mass.new_zeros(r).index_add(0, group, mass)
    if reduce == "max":
        if isinstance(regions, SoftRegions):
            raise ValueError("reduce='max' needs hard regions")
        start = features.new_zeros(r, features.shape[1])
        index = group.unsqueeze(1).expand(-1, features.shape[1])
        pooled = start.scatter_reduce(0, index, features[row], "amax", include_self=False)
        return Pooled(pooled, region, owner, total)
    # Summed in float32 at least: a region may have thousands of rows.
    every = isinstance(regions, Tensor) and len(row) == len(features)
    values = features if every else features[row]
    values = values if values.dtype == torch.float64 else values.float()
    if weights is not None or isinstance(regions, SoftRegions):
        values = values * mass.unsqueeze(1)
    pooled = values.new_zeros(r, features.shape[1]).index_add(0, group, values)
    if reduce == "mean":
        pooled = pooled / torch.where(total > 0, total, 1.0).unsqueeze(1)
    return Pooled(pooled.to(features.dtype), region, owner, total)


def pool_points(
    points: PointSet, region: str, *, reduce: str = "mean", level: int = -1, source: bool = True
) -> PointSet:
    """A point set with one row per (sample, region); rows that are not valid are left out.

    The result's ``regions[region]`` holds the ids, so ``match_by_region`` pairs the pooled rows of
    two views, or of an image and a cloud that share their ids.

    Args:
        points: with ``regions[region]``.
        region: name of the region.
        reduce: as in ``pool_regions``; acts on every field. Coordinates are averaged.
        level: which level of an id path.
        source: keep ``source``, the one of the region's first row.
    """
    usable = points if points.valid is None else points.select(points.valid)
    ids = usable.regions[region]

    def pool(values: Tensor, how: str) -> Pooled:
        return pool_regions(values, ids, sample=usable.sample, reduce=how, level=level)

    layout = pool(torch.zeros(len(usable), 1, device=points.device), "sum")
    first = None
    if source and usable.source is not None:
        row, hard, _ = _assignments(torch.zeros(len(usable), 1), ids, None, level)
        group = _groups(hard, usable.sample[row], None)[0]
        lowest = torch.full_like(layout.region, len(usable))
        first = usable.source[lowest.scatter_reduce(0, group, row, "amin")]
    return PointSet(
        fields={name: pool(value, reduce).feature for name, value in usable.fields.items()},
        sample=layout.sample,
        num_samples=points.num_samples,
        coord=None if usable.coord is None else pool(usable.coord, "mean").feature,
        frame=points.frame,
        source=first,
        regions={region: layout.region},
        span=points.span,
    )


def _assignments(
    features: Tensor, regions: Tensor | SoftRegions, weights: Tensor | None, level: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Row, region id and float32 weight of every assignment."""
    n = features.shape[0]
    if weights is not None and weights.shape != (n,):
        raise ValueError(f"weights {tuple(weights.shape)} must be ({n},)")
    if isinstance(regions, SoftRegions):
        if regions.row.numel() and int(regions.row.max()) >= n:
            raise ValueError(f"regions.row must be < {n}, got {int(regions.row.max())}")
        mass = regions.weight.float()
        if weights is not None:
            mass = mass * weights[regions.row].float()
        return regions.row, regions.region, mass
    if regions.shape[0] != n or regions.ndim > 2:
        raise ValueError(f"regions {tuple(regions.shape)} must be ({n},) or ({n}, L)")
    ids = regions[:, level] if regions.ndim == 2 else regions
    row = (ids >= 0).nonzero().squeeze(1)
    mass = torch.ones(len(row), device=ids.device) if weights is None else weights[row].float()
    return row, ids[row], mass


def _groups(
    ids: Tensor, sample: Tensor | None, num_regions: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Group of every assignment, and region id and sample of every group."""
    if sample is not None:
        if num_regions is not None:
            raise ValueError("num_regions fixes the ids of the whole batch: leave sample out")
        width = int(ids.max()) + 1 if ids.numel() else 1
        both, group = torch.unique(sample * width + ids, return_inverse=True)
        return group, both % width, both // width
    if num_regions is not None:
        if ids.numel() and int(ids.max()) >= num_regions:
            raise ValueError(f"region ids must be < {num_regions}, got {int(ids.max())}")
        region, group = torch.arange(num_regions, device=ids.device), ids
    else:
        region, group = torch.unique(ids, return_inverse=True)
    return group, region, torch.full_like(region, -1)
