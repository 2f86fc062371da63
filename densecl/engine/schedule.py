"""Learning rate as a pure function of the step: the step is the whole state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LearningRate:
    """Linear warm-up, then a cosine, a constant or steps down by a factor.

    Attributes:
        peak: the rate after warm-up, already scaled to the batch.
        max_steps: S, length of the whole schedule in optimiser steps.
        warmup_steps: W; step s < W has ``peak * (s + 1) / (W + 1)``, never zero.
        kind: ``cosine``, ``constant`` or ``exponential``.
        min_lr: the cosine ends here, the exponential never falls below.
        decay: factor of the exponential, once every ``decay_every`` steps after warm-up.
        decay_every: see ``decay``.

    Source: Loshchilov & Hutter 2017, eq. 5, without restarts; Goyal et al. 2017, section 2.2.
    """

    peak: float
    max_steps: int
    warmup_steps: int = 0
    kind: str = "cosine"
    min_lr: float = 0.0
    decay: float = 0.99
    decay_every: int = 1

    def __call__(self, step: int) -> float:
        """The rate of the step after ``step`` finished ones (0 <= step)."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / (self.warmup_steps + 1)
        if self.kind == "constant":
            return self.peak
        if self.kind == "exponential":
            falls = (step - self.warmup_steps) // self.decay_every
            return max(self.min_lr, self.peak * self.decay**falls)
        length = max(1, self.max_steps - self.warmup_steps)
        progress = min(1.0, (step - self.warmup_steps) / length)
        return self.min_lr + (self.peak - self.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))


def build_schedule(section: Mapping[str, Any], peak: float, max_steps: int) -> LearningRate:
    """The learning rate of a checked ``schedule`` section.

    Args:
        section: of the effective config.
        peak: the rate after warm-up, scaled to the batch.
        max_steps: length of the run.
    """
    fall = {name: section[name] for name in ("decay", "decay_every") if name in section}
    kind, warmup, least = section["type"], section["warmup_steps"], section["min_lr"]
    return LearningRate(peak, max_steps, warmup, kind, least, **fall)
