"""Matchings of the cells of two views, by name and settings, and what each is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from densecl.diagnostics.alignment import Alignment, dense_alignment
from densecl.errors import UsageError
from densecl.pairs import (
    Pairs,
    PointSet,
    match_by_distance,
    match_by_label,
    match_by_region,
    match_by_similarity,
)

FEATURES = "features"
"""Field of the point sets that is measured, and searched by feature matchings."""


def same_cell(src: PointSet, dst: PointSet) -> Pairs:
    """The cell at one place of the first view with the cell at that place of the second."""
    if len(src) != len(dst):
        raise ValueError(f"views of {len(src)} and {len(dst)} cells")
    return Pairs.identity(len(src), src.device)


BUILDERS: dict[str, Callable[..., Pairs]] = {
    "same": same_cell,
    "distance": match_by_distance,
    "similarity": partial(match_by_similarity, field=FEATURES),
    "region": match_by_region,
    "label": partial(match_by_label, within="sample"),
}
DRAWN = ("region", "label")
"""Types that draw which of many partners they keep."""


@dataclass(frozen=True)
class Matching:
    """One way to pair cells.

    Attributes:
        name: for columns.
        kind: one of ``BUILDERS``.
        options: of the builder.
    """

    name: str
    kind: str
    options: Mapping[str, Any]

    @property
    def searches(self) -> bool:
        """Whether the features decide the pairs."""
        return self.kind == "similarity"

    def pairs(self, src: PointSet, dst: PointSet, seed: int = 0) -> Pairs:
        """Pairs of two views of the same pictures; ``seed`` is of what the builder draws."""
        options = dict(self.options)
        if self.kind in DRAWN and "max_per_row" in options:
            options["generator"] = torch.Generator().manual_seed(seed)
        return BUILDERS[self.kind](src, dst, **options)

    def alignment(self, src: PointSet, dst: PointSet, seed: int = 0) -> Alignment:
        """Alignment of its pairs beside what chance gives.

        A matching that searches for similar cells is low by construction. What it is compared with
        is the same search in the second view of another picture; the others are compared with
        their own pairs, shuffled within each picture.
        """
        found = dense_alignment(src, dst, self.pairs(src, dst, seed), field=FEATURES)
        if not self.searches:
            return found
        elsewhere = _of_the_next_picture(dst)
        other = dense_alignment(src, elsewhere, self.pairs(src, elsewhere, seed), field=FEATURES)
        return replace(found, random=other.value)


def _of_the_next_picture(points: PointSet) -> PointSet:
    """The same cells with the features that the next picture has there."""
    cells = len(points) // max(points.num_samples, 1)
    moved: Tensor = points.fields[FEATURES].roll(cells, dims=0)
    return points.with_fields(**{FEATURES: moved})


def build_matchings(given: Mapping[str, Mapping[str, Any]]) -> list[Matching]:
    """The matchings of a mapping from name to ``dict(type=..., ...)``.

    Raises:
        UsageError: none, or an unknown type.
    """
    if not given:
        raise UsageError("measures.builders is empty", needed="at least one matching")
    found = []
    for name, section in given.items():
        options = dict(section)
        kind = options.pop("type", None)
        if kind not in BUILDERS:
            raise UsageError(
                f"measures.builders.{name}.type = {kind!r}", needed="one of " + ", ".join(BUILDERS)
            )
        found.append(Matching(name, kind, options))
    return found
