"""Selecting and stacking the rows of point sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from densecl.pairs.point_set import PointSet, same_frame
from densecl.pairs.ragged import expand
from densecl.pairs.soft_regions import Regions, SoftRegions

PER_ROW = ("coord", "source", "index", "label", "valid", "cell")


def select_rows(points: PointSet, rows: Tensor) -> PointSet:
    """The rows of a (N,) bool mask or the rows of an int64 index, in that order.

    Raises:
        ValueError: a mask of another length, or an index of another dtype.
    """
    if rows.dtype == torch.bool:
        if rows.shape != points.sample.shape:
            raise ValueError(f"mask {tuple(rows.shape)} for {len(points)} rows")
        index = rows.nonzero().squeeze(1)
    elif rows.dtype == torch.int64 and rows.ndim == 1:
        index = rows
    else:
        raise ValueError(f"rows must be (N,) bool or (n,) int64, got {rows.dtype} {rows.shape}")
    changed: dict[str, Any] = {
        name: value[index] for name in PER_ROW if (value := getattr(points, name)) is not None
    }
    regions: dict[str, Regions] = {
        name: _select_soft(value, index) if isinstance(value, SoftRegions) else value[index]
        for name, value in points.regions.items()
    }
    return replace(
        points,
        **changed,
        sample=points.sample[index],
        fields={name: value[index] for name, value in points.fields.items()},
        regions=regions,
        grid=None,
    )


def cat_rows(sets: Sequence[PointSet], *, same_samples: bool = False) -> PointSet:
    """Stack the rows of several sets; see ``PointSet.cat``.

    Raises:
        ValueError: the sets do not fit together.
    """
    if not sets:
        raise ValueError("cat needs at least one point set")
    first = sets[0]
    samples, starts, num_samples, num_rows = [], [], 0, 0
    for other in sets:
        same_frame(first, other)
        for what in ("fields", "regions"):
            names = list(getattr(first, what)), list(getattr(other, what))
            if set(names[0]) != set(names[1]):
                raise ValueError(f"{what} differ: {names[0]} and {names[1]}")
        if same_samples and other.num_samples != first.num_samples:
            raise ValueError(
                f"same_samples: num_samples {first.num_samples} and {other.num_samples}"
            )
        samples.append(other.sample if same_samples else other.sample + num_samples)
        starts.append(num_rows)
        num_samples += other.num_samples
        num_rows += len(other)
    valid = None
    if any(item.valid is not None for item in sets):
        valid = torch.cat([item.valid_mask() for item in sets])
    optional: dict[str, Any] = {
        name: _cat_optional(sets, name) for name in PER_ROW if name != "valid"
    }
    return PointSet(
        fields={name: torch.cat([item.fields[name] for item in sets]) for name in first.fields},
        sample=torch.cat(samples),
        num_samples=first.num_samples if same_samples else num_samples,
        frame=first.frame,
        regions={
            name: _cat_regions(name, [item.regions[name] for item in sets], starts)
            for name in first.regions
        },
        valid=valid,
        span=first.span if same_samples else _cat_optional(sets, "span"),
        **optional,
    )


def _cat_optional(sets: Sequence[PointSet], name: str) -> Tensor | None:
    values = [getattr(item, name) for item in sets]
    if all(value is None for value in values):
        return None
    if any(value is None for value in values):
        raise ValueError(f"{name} is set in some of the point sets and missing in others")
    return torch.cat(values)


def _cat_regions(name: str, parts: list[Regions], starts: list[int]) -> Regions:
    hard = [part for part in parts if isinstance(part, Tensor)]
    soft = [part for part in parts if isinstance(part, SoftRegions)]
    if hard and soft:
        raise ValueError(f"regions[{name!r}] is hard in some of the point sets and soft in others")
    if hard:
        return torch.cat(hard)
    return SoftRegions(
        torch.cat([part.row + start for part, start in zip(soft, starts, strict=True)]),
        torch.cat([part.region for part in soft]),
        torch.cat([part.weight for part in soft]),
    )


def _select_soft(soft: SoftRegions, index: Tensor) -> SoftRegions:
    # A join on the row: each assignment of a kept row, once per place that the row is kept at.
    order = torch.argsort(index, stable=True)
    kept = index[order]
    low = torch.searchsorted(kept, soft.row)
    count = torch.searchsorted(kept, soft.row, right=True) - low
    owner, within = expand(count)
    return SoftRegions(order[low[owner] + within], soft.region[owner], soft.weight[owner])
