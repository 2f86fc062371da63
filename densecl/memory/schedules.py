"""Values that follow the optimiser step: pure functions of the step, with no counter inside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from densecl.errors import UsageError

KINDS = ("constant", "linear", "cosine", "step")


@dataclass(frozen=True)
class Schedule:
    """From ``start`` at step 0 to ``end`` at step ``total``, held there afterwards.

    Attributes:
        kind: "constant" (always ``start``), "linear", "cosine" (half a period, as BYOL's
            momentum) or "step" (``start`` before ``total``, ``end`` from it on).
        start: value at step 0.
        end: value at step ``total`` and after.
        total: number of optimiser steps, > 0.

    Raises:
        UsageError: unknown kind or total < 1.

    Source: Grill et al. 2020, section 3.2 (cosine momentum).
    """

    kind: str
    start: float
    end: float
    total: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"schedule kind {self.kind!r}", needed="one of " + ", ".join(KINDS))
        if self.total < 1:
            raise UsageError(f"schedule over {self.total} steps", needed="at least 1 step")

    def __call__(self, step: int) -> float:
        """The value at ``step`` optimiser steps."""
        part = min(max(step / self.total, 0.0), 1.0)
        if self.kind == "constant" or part == 0.0:
            return self.start
        if part == 1.0:
            return self.end
        if self.kind == "step":
            return self.start
        if self.kind == "linear":
            return self.start + (self.end - self.start) * part
        return self.end - (self.end - self.start) * (math.cos(math.pi * part) + 1) / 2


def constant(value: float) -> Schedule:
    """The same value at every step."""
    return Schedule("constant", value, value)


def linear(start: float, end: float, total: int) -> Schedule:
    """A straight line from ``start`` to ``end`` over ``total`` steps."""
    return Schedule("linear", start, end, total)


def cosine(start: float, end: float, total: int) -> Schedule:
    """Half a cosine from ``start`` to ``end`` over ``total`` steps."""
    return Schedule("cosine", start, end, total)


def step(before: float, after: float, at: int) -> Schedule:
    """``before`` for the first ``at`` steps, ``after`` from step ``at`` on; at = 0 is constant."""
    return Schedule("step", before, after, at) if at > 0 else constant(after)


def build_schedule(value: float | Mapping[str, Any] | Schedule, total: int) -> Schedule:
    """A schedule from a config value.

    Args:
        value: a number (constant), a schedule, or a mapping
            ``dict(kind="cosine", start=0.99, end=1.0)`` whose ``total`` defaults to ``total``.
        total: optimiser steps of the run.

    Raises:
        UsageError: unknown or missing fields.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, (int, float)):
        return constant(float(value))
    try:
        return Schedule(**{"total": total, **value})
    except TypeError as error:
        raise UsageError(
            f"schedule {dict(value)}",
            needed="fields kind, start, end and, if it differs from the run, total",
            fix='for example dict(kind="cosine", start=0.99, end=1.0)',
        ) from error
