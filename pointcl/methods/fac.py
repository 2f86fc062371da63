"""FAC (our specification): contrast of foreground segments with each other and the background.

The paper's own pre-training loss was never released. This follows its idea, foreground-aware
grouping and an adaptive correspondence between segments, as docs/methods/fac.md spells it out.

Source: Liu et al. 2023, FAC: 3D Representation Learning via Foreground Aware Feature Contrast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from densecl.distributed import mean_over_ranks
from densecl.errors import UsageError
from densecl.losses import info_nce, normalise, pair_info_nce
from densecl.losses.numerics import NEGATIVE_INFINITY, full_precision
from densecl.methods.base import MethodOutput
from densecl.methods.control import shuffled
from densecl.pairs import Keys, Pairs, PointSet, all_of, not_same_region, pool_regions, same_sample
from pointcl.methods.base import PointMethod
from pointcl.methods.pointcontrast import similarities
from pointcl.pairs.segments import BatchSegments, draw_of_each, some_of_each
from pointcl.registry import METHODS
from pointcl.views.batch import PointBatch, VoxelBatch


@METHODS.register_module()
class FAC(PointMethod):
    """FAC (our specification): segments of one scan, seen in two views.

    Args:
        backbone: config of a sparse U-Net, or the module itself.
        dim: D of the embedding, a linear layer on the map at stride 1.
        temperature: > 0, of both losses.
        anchors: voxels drawn from each foreground segment, whatever its size.
        negatives: voxels of the other view of a scan that anchors are contrasted with, at most.
        top: k, foreground segments that a segment is drawn to.
        correspondence_temperature: > 0, of the correspondence between segments.
        correspondence_weight: of the second loss; 0 leaves it out of the sum.
        shuffle_pairs: a control: each anchor, and each segment, gets the partner of another.

    Raises:
        UsageError: an argument out of range, or a backbone without a map at stride 1.
    """

    num_views = 2
    takes_segments: ClassVar[bool] = True

    def __init__(
        self,
        backbone: Mapping[str, Any] | nn.Module,
        *,
        dim: int = 64,
        temperature: float = 0.2,
        anchors: int = 16,
        negatives: int = 4096,
        top: int = 3,
        correspondence_temperature: float = 0.1,
        correspondence_weight: float = 1.0,
        shuffle_pairs: bool = False,
    ) -> None:
        super().__init__(backbone)
        for name, value, good, needed in (
            ("temperature", temperature, temperature > 0, "a number > 0"),
            ("anchors", anchors, anchors >= 1, "1 or more"),
            ("negatives", negatives, negatives >= 1, "1 or more"),
            ("top", top, top >= 1, "1 or more"),
            (
                "correspondence_temperature",
                correspondence_temperature,
                correspondence_temperature > 0,
                "a number > 0",
            ),
            (
                "correspondence_weight",
                correspondence_weight,
                correspondence_weight >= 0,
                "0 or more",
            ),
        ):
            if not good:
                raise UsageError(f"method.{name} = {value!r}", needed=needed)
        self.online["head"] = nn.Linear(self.need_every_voxel(), dim)
        self.online["correspondence"] = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim)
        )
        self.temperature, self.anchors, self.negatives, self.top = (
            temperature,
            anchors,
            negatives,
            top,
        )
        self.correspondence_temperature = correspondence_temperature
        self.correspondence_weight = correspondence_weight
        self.shuffle_pairs = shuffle_pairs

    def forward(self, batch: PointBatch) -> MethodOutput:
        """Both terms of the loss."""
        src, dst = (self.embed(view) for view in batch.views)
        segments = BatchSegments.of(batch)
        pairs = self.draw(segments)
        # 4. voxels: any two of a foreground segment attract each other
        trained = shuffled(pairs) if self.shuffle_pairs else pairs
        grouping = self.group(src, dst, segments, trained)
        # 3. segments: the mean of their voxels in each view
        first, second = (
            normalise(pool_regions(points.fields["loss"], ids, num_regions=len(segments)).feature)
            for points, ids in zip((src, dst), segments.ids, strict=True)
        )
        # 5. segments: those that correspond attract, the background repels, others are left alone
        partners = self.correspond(first, second, segments)
        drawn = shuffled(partners) if self.shuffle_pairs else partners
        correspondence = self.attract(first, second, segments, drawn)
        scans = max(len(batch), 1)
        return MethodOutput(
            losses={
                "grouping": grouping,
                "correspondence": self.correspondence_weight * correspondence,
            },
            telemetry={
                **similarities(src.fields["loss"][pairs.src], dst.fields["loss"][pairs.dst]),
                "pairs_per_scan": len(pairs) / scans,
                "segments_per_scan": len(segments) / scans,
                "foreground_per_scan": len(segments.usable) / scans,
                "own_partner": own_share(partners),
                "empty_fraction": 1.0 - len(segments.sample[segments.usable].unique()) / scans,
            },
            pairs=pairs,
            rows=src.fields["loss"].detach(),
        )

    def positives(self, batch: PointBatch) -> tuple[PointSet, PointSet, Pairs]:
        """The voxels of both views with their segments, and the pairs of one draw."""
        segments = BatchSegments.of(batch)
        src, dst = (view.to_point_set({}) for view in batch.views)
        for points, ids in zip((src, dst), segments.ids, strict=True):
            points.regions["segment"] = ids
        return src, dst, self.draw(segments)

    def embed(self, view: VoxelBatch) -> PointSet:
        """One unit row per voxel (field ``loss``)."""
        features = self.encode(view).maps[1].features
        return view.to_point_set({"loss": normalise(self.online["head"](features))})

    def draw(self, segments: BatchSegments) -> Pairs:
        """Equally many anchors of each foreground segment, each with a voxel of the other view."""
        wanted = segments.usable
        ends = [
            draw_of_each(ids, wanted, self.uniform(len(wanted), self.anchors, ids.device))
            for ids in segments.ids
        ]
        sizes = [len(ids) for ids in segments.ids]
        return Pairs(ends[0], ends[1], num_src=sizes[0], num_dst=sizes[1])

    def uniform(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """(rows, columns) float64 draws in [0, 1)."""
        return torch.rand(rows, columns, dtype=torch.float64, device=device)

    def group(self, src: PointSet, dst: PointSet, segments: BatchSegments, pairs: Pairs) -> Tensor:
        """``-log(e^{f_i f_i+} / (e^{f_i f_i+} + sum_n e^{f_i f_n}))``, mean over the anchors.

        n runs over voxels of the other view of the scan, those of the anchor's segment left out.
        """
        rows = some_of_each(dst.sample, self.negatives)
        total, count = info_nce(
            src.fields["loss"][pairs.src],
            dst.fields["loss"][pairs.dst],
            dst.fields["loss"][rows],
            temperature=self.temperature,
            allowed=all_of(
                same_sample(src.sample[pairs.src], dst.sample[rows]),
                not_same_region(segments.ids[0][pairs.src], segments.ids[1][rows]),
            ),
            reduction="parts",
        )
        return mean_over_ranks(total, count)

    def correspond(self, first: Tensor, second: Tensor, segments: BatchSegments) -> Pairs:
        """Each foreground segment's k most corresponding ones of its scan, with soft weights.

        How much two segments correspond is the larger of two maps, within view 0 (a segment and
        itself left out) and from view 0 to view 1, each a softmax over the segments of the scan.
        The weights of a segment sum to the number of its partners. The siamese network learns
        through them alone, and the backbone not at all.
        """
        siamese, tau = self.online["correspondence"], self.correspondence_temperature
        ours, theirs = (normalise(siamese(rows.detach())) for rows in (first, second))
        here, there = segments.present
        scan = segments.sample.unsqueeze(1) == segments.sample
        others = ~torch.eye(len(scan), dtype=torch.bool, device=scan.device)
        with full_precision(first.device):
            strength = torch.maximum(
                masked_softmax(ours @ ours.T / tau, scan & here & others),
                masked_softmax(ours @ theirs.T / tau, scan & there),
            )
        wanted = segments.usable
        candidate = scan[wanted] & segments.foreground & there
        scored = strength[wanted].masked_fill(~candidate, -1.0)
        value, partner = scored.topk(min(self.top, scored.shape[1]), dim=1)
        kept = value >= 0
        weight = torch.where(kept, value.clamp_min(torch.finfo(value.dtype).tiny), 0.0)
        weight = weight * kept.sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        row, place = kept.nonzero(as_tuple=True)
        size = len(segments)
        return Pairs(
            wanted[row], partner[row, place], weight[row, place], num_src=size, num_dst=size
        )

    def attract(
        self, first: Tensor, second: Tensor, segments: BatchSegments, pairs: Pairs
    ) -> Tensor:
        """``-log(sum_t w_t e^{p_s p_t} / (sum_t w_t e^{p_s p_t} + sum_b e^{p_s p_b}))``.

        Mean over the foreground segments s; t are its partners, b the background segments of view
        1 of the scan. Foreground segments that are no partners are ignored.
        """
        behind = (~segments.foreground & segments.present[1]).nonzero().squeeze(1)
        total, count = pair_info_nce(
            first,
            second,
            pairs,
            negatives=Keys(second[behind], sample=segments.sample[behind]),
            allowed=same_sample(segments.sample, segments.sample[behind]),
            temperature=self.temperature,
            denominator="in",
            normaliser="anchors",
            reduction="parts",
        )
        # Shuffled partners have no weights: the siamese network takes part all the same.
        attached = sum(p.sum() for p in self.online["correspondence"].parameters())
        return mean_over_ranks(total + 0.0 * attached, count)


def masked_softmax(scores: Tensor, allowed: Tensor) -> Tensor:
    """Softmax over the columns that are allowed; 0 elsewhere, and in rows without any."""
    scores = scores.masked_fill(~allowed, NEGATIVE_INFINITY)
    top = scores.detach().amax(1, keepdim=True) if scores.shape[1] else scores.new_zeros(0, 1)
    exp = (scores - top.masked_fill(top == NEGATIVE_INFINITY, 0.0)).exp()
    total = exp.sum(1, keepdim=True)
    return exp / torch.where(total > 0, total, 1.0)


@torch.no_grad()
def own_share(pairs: Pairs) -> float:
    """How much of the weight lies on a segment itself, seen in the other view."""
    if not len(pairs) or pairs.weight is None:
        return 0.0
    return float(pairs.weight[pairs.src == pairs.dst].sum() / pairs.weight.sum())
