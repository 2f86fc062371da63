"""Learning rate as a pure function of the step: the step is the whole state."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LearningRate:
    """Linear warm-up, then a cosine or a constant.

    Attributes:
        peak: the rate after warm-up, already scaled to the batch.
        max_steps: S, length of the whole schedule in optimiser steps.
        warmup_steps: W; step s < W has ``peak * (s + 1) / (W + 1)``, never zero.
        kind: ``cosine`` or ``constant``.
        min_lr: the cosine ends here.

    Source: Loshchilov & Hutter 2017, eq. 5, without restarts; Goyal et al. 2017, section 2.2.
    """

    peak: float
    max_steps: int
    warmup_steps: int = 0
    kind: str = "cosine"
    min_lr: float = 0.0

    def __call__(self, step: int) -> float:
        """The rate of the step after ``step`` finished ones (0 <= step)."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / (self.warmup_steps + 1)
        if self.kind == "constant":
            return self.peak
        length = max(1, self.max_steps - self.warmup_steps)
        progress = min(1.0, (step - self.warmup_steps) / length)
        return self.min_lr + (self.peak - self.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))
