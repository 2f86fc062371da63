"""PointContrast: what lies at one place of the world has close features in both views.

Source: Xie et al. 2020, PointContrast: Unsupervised Pre-training for 3D Point Cloud Understanding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from densecl.distributed import gather_rows, mean_over_ranks, rank, row_counts
from densecl.errors import UsageError
from densecl.losses import hardest_contrastive, info_nce, normalise
from densecl.methods.base import MethodOutput
from densecl.methods.control import shuffled
from densecl.pairs import Pairs, PointSet, Rule, all_of, not_in
from pointcl.methods.base import PointMethod, same_scans, same_space, voxel_edge
from pointcl.pairs.rigid import match_rigid
from pointcl.pairs.selection import at_most, one_per_row
from pointcl.pairs.single_scan import match_shared_points
from pointcl.registry import METHODS
from pointcl.views.batch import PointBatch, VoxelBatch

LOSSES = ("info_nce", "hardest")
MATCHES = ("place", "points")


@METHODS.register_module()
class PointContrast(PointMethod):
    """Contrast of matched voxels of two views.

    Args:
        backbone: config of a sparse U-Net, or the module itself.
        dim: D of the embedding, a linear layer on the map at stride 1.
        loss: ``info_nce`` (PointInfoNCE) or ``hardest`` (hardest-contrastive).
        match: ``place``: voxels whose points are closer than ``radius`` in the scan or the world;
            ``points``: voxels of two views of one scan that hold the same raw points.
        radius: in edges of a voxel.
        radius_metres: in metres, in place of ``radius``; for grids of angles.
        temperature: > 0, of PointInfoNCE. Both launch scripts of the authors take 0.4.
        max_pairs: pairs that enter the loss, drawn from the whole batch for ``info_nce`` and
            ``max_pairs`` per sample for ``hardest``; None = 4096 and 1024, the paper's.
        candidates: per sample and side, among which the hardest negatives are looked for.
        margins: of the squared distance of positives and of the distance of negatives.
        spare: metres; rows of the same sample closer than this to a pair's own end are no
            negatives of it: the same spot a few centimetres away. 0 = none is spared, the paper's.
        shuffle_pairs: a control: each voxel gets the partner of a random other pair of the batch.

    Raises:
        UsageError: an argument out of range, or a backbone without a map at stride 1.
    """

    num_views = 2

    def __init__(
        self,
        backbone: Mapping[str, Any] | nn.Module,
        *,
        dim: int = 32,
        loss: str = "info_nce",
        match: str = "place",
        radius: float = 1.5,
        radius_metres: float | None = None,
        temperature: float = 0.4,
        max_pairs: int | None = None,
        candidates: int = 256,
        margins: tuple[float, float] = (0.1, 1.4),
        spare: float = 0.0,
        shuffle_pairs: bool = False,
    ) -> None:
        super().__init__(backbone)
        _refuse_unless("loss", loss, loss in LOSSES, f"one of {', '.join(LOSSES)}")
        _refuse_unless("match", match, match in MATCHES, f"one of {', '.join(MATCHES)}")
        metres = radius if radius_metres is None else radius_metres
        _refuse_unless("radius", metres, metres > 0, "a number > 0")
        _refuse_unless("temperature", temperature, temperature > 0, "a number > 0")
        _refuse_unless("spare", spare, spare >= 0, "metres, 0 or more")
        _refuse_unless("max_pairs", max_pairs, max_pairs is None or max_pairs > 0, "1 or more")
        _refuse_unless("candidates", candidates, candidates > 0, "1 or more")
        good = len(margins) == 2 and margins[0] >= 0 and margins[1] > 0
        _refuse_unless("margins", margins, good, "two numbers, >= 0 and > 0")
        self.online["head"] = nn.Linear(self.need_every_voxel(), dim)
        self.loss, self.match, self.temperature = loss, match, temperature
        self.radius, self.radius_metres, self.spare = radius, radius_metres, spare
        self.max_pairs = max_pairs or (4096 if loss == "info_nce" else 1024)
        self.candidates, self.margins = candidates, tuple(margins)
        self.shuffle_pairs = shuffle_pairs

    def forward(self, batch: PointBatch) -> MethodOutput:
        """Contrast of view 0 with view 1."""
        src, dst = (self.embed(view) for view in batch.views)
        pairs = self.pair(batch.views[0], batch.views[1], src, dst)
        trained = shuffled(pairs) if self.shuffle_pairs else pairs
        contrast = self.info_nce if self.loss == "info_nce" else self.hardest
        loss, telemetry = contrast(src, dst, trained)
        return MethodOutput(
            losses={self.loss: loss},
            telemetry={
                **telemetry,
                "pairs_per_scan": len(pairs) / max(len(batch), 1),
                "empty_fraction": (pairs.per_sample(src) == 0).float().mean(),
            },
            pairs=pairs,
            rows=src.fields["loss"].detach(),
        )

    def positives(self, batch: PointBatch) -> tuple[PointSet, PointSet, Pairs]:
        """The voxels of both views and all pairs of them, before any is drawn."""
        first, second = batch.views
        src, dst = first.to_point_set({}), second.to_point_set({})
        return src, dst, self.pair(first, second, src, dst)

    def embed(self, view: VoxelBatch) -> PointSet:
        """One unit row per voxel (field ``loss``), at its place in the scan or the world."""
        features = self.encode(view).maps[1].features
        return view.to_point_set({"loss": normalise(self.online["head"](features))})

    def pair(self, first: VoxelBatch, second: VoxelBatch, src: PointSet, dst: PointSet) -> Pairs:
        """All pairs of voxels, many-to-many (section 4.1).

        Raises:
            UsageError: the views have no common frame, or show several scans where one is needed.
        """
        if self.match == "points":
            same_scans(first, second)
            return match_shared_points(first.cloud, first.voxels, second.cloud, second.voxels)
        same_space(src, dst)
        metres = self.radius_metres
        return match_rigid(src, dst, radius=metres or self.radius * voxel_edge(first))

    def info_nce(
        self, src: PointSet, dst: PointSet, pairs: Pairs
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """PointInfoNCE, eq. 2: one key per voxel; the keys of the other pairs are the negatives."""
        chosen = at_most(one_per_row(pairs), self.max_pairs)
        query, key = src.fields["loss"][chosen.src], dst.fields["loss"][chosen.dst]
        keys = Candidates.gather(dst, chosen.dst)
        own = Pairs(
            torch.arange(len(query), device=query.device),
            torch.arange(len(query), device=query.device) + keys.start,
            num_src=len(query),
            num_dst=len(keys.feature),
        )
        near = self.spared(src, chosen.src, keys)
        total, count = info_nce(
            query,
            key,
            keys.feature,
            temperature=self.temperature,
            allowed=not_in(own) if near is None else all_of(not_in(own), near),
            reduction="parts",
        )
        return mean_over_ranks(total, count), similarities(query, key)

    def hardest(
        self, src: PointSet, dst: PointSet, pairs: Pairs
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Hardest-contrastive, eq. 1: each end against the nearest of some rows of the other side.

        A pair whose nearest is a listed positive of its end drops out of the negative term.
        """
        batch = max(src.num_samples, 1)
        chosen = at_most(pairs, self.max_pairs * batch)
        query, key = src.fields["loss"][chosen.src], dst.fields["loss"][chosen.dst]
        theirs = Candidates.gather(dst, some_rows(dst, self.candidates * batch))
        ours = Candidates.gather(src, some_rows(src, self.candidates * batch))
        parts = hardest_contrastive(
            query,
            key,
            theirs.feature,
            ours.feature,
            positive_margin=self.margins[0],
            negative_margin=self.margins[1],
            allowed=(
                self.spared(src, chosen.src, theirs),
                self.spared(dst, chosen.dst, ours),
            ),
            known=(
                Unlisted(pairs, chosen.src, theirs.row),
                Unlisted(pairs.swap(), chosen.dst, ours.row),
            ),
            reduction="parts",
        )
        loss = torch.stack([mean_over_ranks(*part) for part in parts]).sum()
        kept = (parts[1][1] + parts[2][1]) / (2 * max(len(chosen), 1))
        return loss, {**similarities(query, key), "hardest_kept": kept}

    def spared(self, points: PointSet, rows: Tensor, keys: Candidates) -> Rule | None:
        """Rows of the same spot are no negatives; None where none is spared."""
        if self.spare == 0:
            return None
        assert points.coord is not None
        sample = points.sample[rows] + (rank() << RANK_BITS)
        return NotNear(points.coord[rows], sample, keys.coord, keys.sample, self.spare)


RANK_BITS = 32
"""Samples of different ranks are told apart by the rank above so many bits."""


@dataclass
class Candidates:
    """Rows of all ranks that may serve as negatives, with gradient.

    Attributes:
        feature: (K, D).
        coord: (K, 3) metres.
        sample: (K,) int64, distinct over ranks.
        row: (K,) int64 row of this rank's point set; -1 = another rank's.
        start: where this rank's begin.
    """

    feature: Tensor
    coord: Tensor
    sample: Tensor
    row: Tensor
    start: int

    @classmethod
    def gather(cls, points: PointSet, rows: Tensor) -> Candidates:
        """Some rows of the ``loss`` field, of every rank."""
        assert points.coord is not None
        counts = row_counts(rows)
        start = sum(counts[: rank()])
        feature = gather_rows(points.fields["loss"][rows], gradient=True, counts=counts)
        own = torch.full((len(feature),), -1, device=rows.device)
        own[start : start + len(rows)] = rows
        return cls(
            feature,
            gather_rows(points.coord[rows], counts=counts),
            gather_rows(points.sample[rows] + (rank() << RANK_BITS), counts=counts),
            own,
            start,
        )


@dataclass
class NotNear:
    """Rule: rows of the own sample closer than ``radius`` metres are no negatives."""

    query_coord: Tensor
    query_sample: Tensor
    key_coord: Tensor
    key_sample: Tensor
    radius: float

    def __call__(self, query_rows: Tensor, key_rows: Tensor) -> Tensor:
        """(p,), (k,) rows -> (p, k) bool."""
        same = self.query_sample[query_rows].unsqueeze(1) == self.key_sample[key_rows]
        # By products of rows, centimetres would be lost fifty metres from the origin.
        apart = torch.cdist(
            self.query_coord[query_rows],
            self.key_coord[key_rows],
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        return ~(same & (apart < self.radius))


class Unlisted:
    """Rule: True where a candidate is no listed positive of a pair's end.

    Args:
        pairs: all positives, from the ends' set to the candidates'.
        end: (P,) int64 row of each pair's end.
        candidate: (K,) int64 row of each candidate, -1 = of another rank.
    """

    def __init__(self, pairs: Pairs, end: Tensor, candidate: Tensor) -> None:
        self.rule, self.end, self.candidate = not_in(pairs), end, candidate

    def __call__(self, query_rows: Tensor, key_rows: Tensor) -> Tensor:
        """(p,), (k,) rows -> (p, k) bool."""
        return self.rule(self.end[query_rows], self.candidate[key_rows])


def some_rows(points: PointSet, most: int) -> Tensor:
    """(n,) int64: at most so many rows at random."""
    return torch.randperm(len(points), device=points.device)[:most]


@torch.no_grad()
def similarities(query: Tensor, key: Tensor) -> dict[str, Tensor | float]:
    """Mean cosine of positives, and of every query with every key."""
    if not len(query):
        return {}
    return {
        "positive_similarity": (query * key).sum(1).mean(),
        "negative_similarity": query.mean(0) @ key.mean(0),
    }


def _refuse_unless(name: str, value: Any, good: bool, needed: str) -> None:
    if not good:
        raise UsageError(f"method.{name} = {value!r}", needed=needed)
