"""Is the run alive: spread and rank of the features, pairs, similarities, queue."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook

from densecl.diagnostics.spectrum import effective_rank, feature_std
from densecl.engine.step import StepReport

MAX_ROWS = 2048


class HealthHook(Hook):
    """Adds health numbers to the step's scalars and warns, once per alarm, with what to do.

    ``feature_std`` and ``effective_rank`` come from the method's rows,
    ``pairs_per_image`` (of clouds ``pairs_per_scan``) from its pairs where its telemetry does not
    say; what else a method reports (similarities, ``empty_fraction``, ``queue_live``,
    ``queue_age``) is logged as it is.

    Args:
        every: steps between looks; 0 = never.
        min_std: alarm below this ``feature_std`` (1 = spread over the sphere, 0 = one point).
        min_rank: alarm below this ``effective_rank``.
        max_empty: alarm above this share of images without a pair.
    """

    priority = "HIGH"

    def __init__(self, every: int, min_std: float, min_rank: float, max_empty: float) -> None:
        self.every = every
        self.min_std, self.min_rank, self.max_empty = min_std, min_rank, max_empty
        self.raised: set[str] = set()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Look if it is time."""
        if not self.every or (batch_idx + 1) % self.every:
            return
        report: StepReport = runner.train_loop.report
        report.looked_at = True
        report.scalars.update(measure(report))
        for name, message in self.alarms(report).items():
            if name not in self.raised:
                self.raised.add(name)
                runner.say(f"health alarm at step {report.step}: {message}")

    def alarms(self, report: StepReport) -> dict[str, str]:
        """Alarm name -> what is wrong and what to do, for the numbers of one step."""
        values = {name: float(value) for name, value in report.scalars.items()}
        found = {}
        # "not >=" so that NaN raises the alarm too.
        if not values.get("feature_std", self.min_std) >= self.min_std:
            found["std"] = (
                f"feature std {values['feature_std']:.3g} < {self.min_std:g}: the features are "
                "collapsing to one point. Lower optim.lr or lengthen schedule.warmup_steps; check "
                "that the teacher or the negatives are in use."
            )
        if values.get("effective_rank", self.min_rank) < self.min_rank:
            found["rank"] = (
                f"effective rank {values['effective_rank']:.3g} < {self.min_rank:g}: the features "
                "use few directions. Raise the temperature, lower optim.lr, or enlarge the batch."
            )
        if values.get("empty_fraction", 0.0) > self.max_empty:
            found["empty"] = (
                f"{values['empty_fraction']:.0%} of the {report.sample}s have no pair: raise the "
                "least scale of the crops, ask for overlap between views, or widen the match "
                "radius."
            )
        return found


def measure(report: StepReport) -> dict[str, float]:
    """The numbers that the method does not report itself."""
    measured = {}
    if report.rows is not None and len(report.rows) > 1:
        stride = -(-len(report.rows) // MAX_ROWS)
        rows = report.rows[::stride].float()
        measured["feature_std"] = float(feature_std(rows))
        if math.isfinite(measured["feature_std"]):
            measured["effective_rank"] = float(effective_rank(rows))
    counted = f"pairs_per_{report.sample}"
    if report.pairs is not None and counted not in report.scalars:
        measured[counted] = len(report.pairs.src) / max(1, report.micro_samples)
    return measured
