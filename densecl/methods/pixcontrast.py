"""PixContrast (re-derived): contrast of cells within one image; its code was never released.

Source: Xie et al. 2021, Propagate Yourself, section 3.1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from densecl.distributed import gather_rows, mean_over_ranks, rank, row_counts
from densecl.errors import UsageError
from densecl.losses import pair_info_nce
from densecl.methods.pixel_level import PixelLevel
from densecl.pairs import Pairs, PointSet, Rule, all_of, not_in, not_same_sample, same_sample
from densecl.registry import METHODS

NEGATIVES = ("own", "others")


@METHODS.register_module()
class PixContrast(PixelLevel):
    """Pixel-level contrast.

    A cell's positives are the cells of the other view that show the same place, its negatives
    all other cells of the other view of the *same* image. The loss is the mean over the cells
    that have a positive, and the mean of the two directions.

    Args:
        backbone: config of a backbone, or the module itself.
        temperature: > 0, divides the logits.
        negatives: ``own``, the paper's: the other cells of the cell's own image. ``others``: the
            cells of the batch's other images, over all processes, as methods contrast that tell
            images apart; a comparison, see docs/results.md, "CamVid, across drives".
        **pixel_level: arguments of ``PixelLevel``.

    Raises:
        UsageError: an argument out of range.
    """

    def __init__(
        self,
        backbone: dict[str, Any] | nn.Module,
        *,
        temperature: float = 0.3,
        negatives: str = "own",
        **pixel_level: Any,
    ) -> None:
        if temperature <= 0:
            raise UsageError(
                f"method.temperature = {temperature}", needed="a number > 0", fix="use 0.3"
            )
        if negatives not in NEGATIVES:
            raise UsageError(
                f"method.negatives = {negatives!r}", needed="one of " + ", ".join(NEGATIVES)
            )
        super().__init__(backbone, **pixel_level)
        self.temperature, self.negatives = temperature, negatives

    def losses(
        self, queries: list[PointSet], keys: list[PointSet], matches: tuple[Pairs, Pairs]
    ) -> dict[str, Tensor]:
        """Eq. 2 for each direction."""
        directions = zip(queries, keys, matches, strict=False)
        return {"pixel": torch.stack([self.contrast(*each) for each in directions]).mean()}

    def contrast(self, queries: PointSet, keys: PointSet, pairs: Pairs) -> Tensor:
        """``-log( sum_P e^s / (sum_P e^s + sum_N e^s) )`` per cell, over all processes."""
        allowed: Rule
        if self.negatives == "others":
            rows, pairs, allowed = of_all_ranks(queries, keys, pairs)
        else:
            rows = keys.fields["loss"]
            allowed = all_of(same_sample(queries, keys), not_in(pairs))
        total, cells = pair_info_nce(
            queries.fields["loss"],
            rows,
            pairs,
            allowed=allowed,
            temperature=self.temperature,
            denominator="in",
            normaliser="anchors",
            reduction="parts",
        )
        return mean_over_ranks(total, cells)


def of_all_ranks(queries: PointSet, keys: PointSet, pairs: Pairs) -> tuple[Tensor, Pairs, Rule]:
    """What ``others`` contrasts with: keys of every process, of which only other images' repel.

    Args:
        queries: Q cells of this process. keys: of this process.
        pairs: between them.

    Returns:
        (K, D) the keys, which are the teacher's and have no gradient; the pairs with them; the
        rule of the negatives.
    """
    counts = row_counts(keys.sample)
    before = sum(counts[: rank()])
    first = sum(row_counts(keys.sample.new_empty(keys.num_samples))[: rank()])
    everyone = gather_rows(keys.fields["loss"], counts=counts)
    moved = Pairs(pairs.src, pairs.dst + before, num_src=len(queries), num_dst=len(everyone))
    theirs = gather_rows(keys.sample + first, counts=counts)
    return everyone, moved, not_same_sample(queries.sample + first, theirs)
