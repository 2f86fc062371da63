"""Measures of a frozen representation on unlabelled pictures, as a run of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densecl.data.seeding import rng
from densecl.diagnostics.alignment import Uniformity, alignment, uniformity
from densecl.diagnostics.norms import norm_outliers
from densecl.diagnostics.picture_share import picture_share
from densecl.diagnostics.position_leak import position_leak
from densecl.diagnostics.spectrum import effective_rank, feature_std, singular_values
from densecl.errors import UsageError
from densecl.pairs import PointSet, purity
from densecl.transfer.columns import Better, Column
from densecl.transfer.features import FrozenInput
from densecl.transfer.initialisation import Init
from densecl.transfer.measures.matching import FEATURES, Matching, build_matchings
from densecl.transfer.measures.views import Pictures, cell_places, evenly, two_views
from densecl.transfer.untrained import Restored, Untrained
from densecl.views.generator import ViewGenerator

_CELLS, _SHUFFLE = 71, 72  # streams of one seed
LARGEST_RATIO = 1e6
"""What a ratio of norms counts at most, and where the median is 0."""


def _builders() -> dict[str, dict[str, Any]]:
    return {
        "geometric": {"type": "distance", "radius": 0.7},
        "same": {"type": "same"},
        "feature": {"type": "similarity"},
    }


@dataclass(frozen=True)
class MeasuresSpec(Untrained):
    """Everything that decides the measures but weights, pictures and machine.

    Attributes:
        input: the backbone and its input. The map that transfers is measured, not a head's output.
        size: side or (H, W) of the views in pixels.
        views: fields of ``densecl.views.ViewGenerator``: how the two views of a picture are made.
        builders: name of a matching -> ``dict(type=..., ...)``, see ``measures.matching``. The
            net alignment of the first one is what verdicts are of.
        purity: whether the matchings are also judged by labels, which the pictures must carry.
        max_pictures: pictures measured, evenly spread over the selection.
        cells: most cells of the first views that everything but alignment and purity is exact on;
            more than pictures, so that one of them has two.
        outlier: median absolute deviations above which a norm is an outlier.
        decay: L2 weight per row of the ridge map that reads the place.
        draw: seed of views and cells; the same for every row.
    """

    input: FrozenInput
    size: int | tuple[int, int] = (160, 160)
    views: Mapping[str, Any] = field(
        default_factory=lambda: {"recipe": "mocov2", "min_overlap": 0.3}
    )
    builders: Mapping[str, Mapping[str, Any]] = field(default_factory=_builders)
    purity: bool = False
    max_pictures: int = 128
    cells: int = 4096
    outlier: float = 10.0
    decay: float = 1e-2
    draw: int = 0

    def __post_init__(self) -> None:
        if self.input.resize is not None:
            raise UsageError(
                f"measures.resize = {self.input.resize}",
                needed="nothing: views are cut to a size of their own",
                fix="set measures.size",
            )
        if self.max_pictures < 4 or self.cells < 4:
            raise UsageError(
                f"measures.max_pictures = {self.max_pictures}, measures.cells = {self.cells}",
                needed="4 or more: half of the pictures are held out",
            )
        if self.cells <= self.max_pictures:
            raise UsageError(
                f"measures.cells = {self.cells} of {self.max_pictures} pictures",
                needed="more cells than pictures",
                fix="raise measures.cells, or lower measures.max_pictures",
            )
        if not self.decay > 0 or not self.outlier > 0:
            raise UsageError(
                f"measures.decay = {self.decay}, measures.outlier = {self.outlier}", needed="> 0"
            )
        self.matchings()
        self._generator()

    @property
    def backbone(self) -> Mapping[str, Any]:
        """Config of the backbone."""
        return self.input.backbone

    @property
    def columns(self) -> tuple[Column, ...]:
        """First the net alignment of the first matching."""
        matchings = self.matchings()
        net = [
            Column(f"net_{each.name}", f"alignment over chance ({each.name})", "lower")
            for each in matchings
        ]
        judged = []
        for each in matchings if self.purity else ():
            # pairs that no feature decides are the same for every row
            better: Better = "higher" if each.searches else "none"
            judged.append(Column(f"purity_{each.name}", f"pair purity ({each.name})", better))
            if each.searches:
                judged.append(Column(f"chance_{each.name}", f"by chance ({each.name})", "none"))
        return (
            *net,
            Column("alignment", f"alignment ({matchings[0].name})", "none"),
            Column("uniformity_image", "uniformity within pictures", "none", digits=2),
            Column("uniformity_batch", "uniformity across pictures", "none", digits=2),
            Column("uniformity_all", "uniformity of all cells", "none", digits=2),
            Column("effective_rank", "effective rank", "none", digits=1),
            Column("feature_std", "feature std", "none"),
            Column("picture", "picture share", "none"),
            Column("position", "position leak R²", "none"),
            Column("position_control", "places shuffled R²", "none"),
            Column("outliers", "outlier norms", "none", digits=4),
            Column("norm_ratio", "largest norm / median", "none", digits=1),
            *judged,
        )

    def matchings(self) -> list[Matching]:
        """The matchings, in order."""
        return build_matchings(self.builders)

    def select(self, dataset: Any, indices: Sequence[int] | None = None) -> Pictures:
        """The pictures of a data set at the indices given."""
        return Pictures(dataset, indices)

    def restore(
        self, state: Mapping[str, Tensor], init: Init, *, seed: int, device: str | torch.device
    ) -> Restored:
        """The backbone."""
        return Restored(self.input.open(init, seed, device))

    def score(
        self, trained: Restored, items: Pictures, device: str | torch.device
    ) -> dict[str, Any]:
        """All measures on two views of each picture.

        Raises:
            UsageError: fewer than four pictures, a map of one cell, or no labels where ``purity``
                asks for them.
        """
        positions = evenly(len(items), self.max_pictures)
        if len(positions) < 4:
            raise UsageError(f"{len(items)} pictures", needed="4 or more: half are held out")
        src, dst = two_views(self.input, trained.backbone, items, positions, self._generator())
        assert src.grid is not None
        if math.prod(src.grid.shape) < 2:
            raise UsageError(
                f"views of {self.size} give a map of {src.grid.shape} cells",
                fix="raise measures.size, or read a map of smaller stride",
            )
        found: dict[str, Any] = {"matchings": {}}
        for matching in self.matchings():
            found |= self._matched(matching, src, dst, found["matchings"])
        first = next(iter(found["matchings"].values()))
        found["alignment"] = first["alignment"]
        found |= self._cells(src)
        pooled = [each.to_map(FEATURES).mean(dim=(2, 3)) for each in (src, dst)]
        found["alignment_pooled"] = alignment(*pooled)
        found["uniformity_pooled"] = uniformity(pooled[0], torch.arange(len(pooled[0]))).batch
        found["items"] = self._by_picture(src, dst, items, positions)
        return found

    def pictures(
        self, trained: Mapping[str, Restored], items: Pictures, device: str | torch.device
    ) -> dict[str, np.ndarray]:
        """Principal components of each row's features; each row has its own."""
        from densecl.transfer.measures.figure import component_figure

        return {"components": component_figure(self.input, trained, items, self.size)}

    def _generator(self) -> ViewGenerator:
        return ViewGenerator(**{**self.views, "size": self.size, "num_views": 2, "seed": self.draw})

    def _matched(
        self, matching: Matching, src: PointSet, dst: PointSet, details: dict[str, Any]
    ) -> dict[str, float]:
        """Columns of one matching; what they are made of goes to ``details``."""
        aligned = matching.alignment(src, dst, self.draw)
        columns = {f"net_{matching.name}": aligned.net}
        details[matching.name] = {
            "alignment": aligned.value,
            "chance": aligned.random,
            "pairs": aligned.count,
        }
        if not aligned.count:
            raise UsageError(
                f"no pair by {matching.name!r}", fix="raise its reach, or views.min_overlap"
            )
        if self.purity:
            if src.label is None:
                raise UsageError(
                    "measures.purity needs labels, and the pictures carry none",
                    fix="use a labelled data set, or set measures.purity=False",
                )
            judged = purity(matching.pairs(src, dst, self.draw), src, dst)
            columns[f"purity_{matching.name}"] = judged.share
            columns[f"chance_{matching.name}"] = judged.chance
        return columns

    def _cells(self, points: PointSet) -> dict[str, Any]:
        """What is measured on cells of the first views, without any matching."""
        draw = rng(self.draw, _CELLS)
        kept = np.sort(draw.permutation(len(points))[: self.cells])
        rows, sample = points.fields[FEATURES][kept], points.sample[kept]
        places = cell_places(points)[kept]
        even: Uniformity = uniformity(rows, sample)
        long = norm_outliers(rows, self.outlier)
        learns = sample % 2 == 0
        leak = position_leak(
            rows[learns],
            places[learns],
            rows[~learns],
            places[~learns],
            decay=self.decay,
            draw=rng(self.draw, _SHUFFLE),
        )
        values = singular_values(rows)
        spectrum = (values / values.sum().clamp(min=1e-12)).tolist()
        return {
            "uniformity_image": even.image,
            "uniformity_batch": even.batch,
            "uniformity_all": even.all,
            "effective_rank": float(effective_rank(rows)),
            "feature_std": float(feature_std(rows)),
            "picture": picture_share(rows, sample),
            "position": leak.mean,
            "position_x": leak.x,
            "position_y": leak.y,
            "position_control": leak.control,
            "outliers": long.share,
            "norm_ratio": min(long.ratio, LARGEST_RATIO),
            "cells": len(kept),
            "curves": {
                "spectrum": {
                    "x": list(range(1, len(spectrum) + 1)),
                    "y": spectrum,
                    "xlabel": "singular value",
                    "ylabel": "share of their sum",
                }
            },
        }

    def _by_picture(
        self, src: PointSet, dst: PointSet, items: Pictures, positions: Sequence[int]
    ) -> dict[str, dict[str, float]]:
        """Picture -> uniformity of its cells and, where it has pairs, the first alignment."""
        pairs = self.matchings()[0].pairs(src, dst, self.draw)
        a, b = src.fields[FEATURES], dst.fields[FEATURES]
        found = {}
        for place, position in enumerate(positions):
            own = src.sample[pairs.src] == place
            rows = a[src.sample == place]
            one = torch.zeros(len(rows), dtype=torch.int64)
            scores = {"uniformity_image": uniformity(rows, one).image}
            if bool(own.any()):
                scores["alignment"] = alignment(a[pairs.src[own]], b[pairs.dst[own]])
            found[items.name(position)] = scores
        return found
