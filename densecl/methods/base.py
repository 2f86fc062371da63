"""The method contract: one published system, wired from the parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from densecl.pairs import Pairs


@dataclass
class MethodOutput:
    """What one forward of a method yields.

    Attributes:
        losses: name -> scalar; the training loss is their sum (weights already applied).
        telemetry: name -> detached scalar for the health hook. Common names:
            ``positive_similarity``, ``negative_similarity``, ``pairs_per_image`` (of clouds
            ``pairs_per_scan``), ``empty_fraction`` (images or scans without a pair),
            ``queue_live``, ``queue_age`` (steps).
        pairs: the dense positives of this batch, or None for a global method.
        rows: (N, D) detached loss features of this batch, for feature std and effective rank.
    """

    losses: dict[str, Tensor]
    telemetry: dict[str, Tensor | float] = field(default_factory=dict)
    pairs: Pairs | None = None
    rows: Tensor | None = None


class Method(nn.Module, ABC):
    """Base of every pretraining method.

    On several processes each rank calls it on its share of the batch, and the gradients are
    averaged. Two things are the method's own: a loss over a number of rows that may differ between
    ranks goes through ``densecl.distributed.mean_over_ranks``, and what enters a queue, a centre or
    any other state is gathered first (``gather_rows``, ``all_reduce_sum``), so that the state is
    the same on every rank: a checkpoint holds that of rank 0.

    Attributes:
        num_views: how many view slots ``forward`` expects.
    """

    num_views: int = 2

    @abstractmethod
    def forward(self, batch: Any) -> MethodOutput:
        """Losses of one (micro-)batch; changes no state but batch-norm statistics.

        Args:
            batch: what the loader of the method's kind of data yields, on its device; of pictures
                a list of V ``ViewBatch``.
        """

    def after_step(self, step: int) -> None:
        """Queue, EMA, centres, schedules: once per optimiser step, never per micro-batch.

        Args:
            step: number of optimiser steps finished, starting at 1.
        """

    @abstractmethod
    def backbone_for_export(self) -> nn.Module:
        """The branch whose weights are handed over."""

    @property
    @abstractmethod
    def export_branch(self) -> str:
        """``online`` or ``teacher``: the name of that branch, written into checkpoints."""
