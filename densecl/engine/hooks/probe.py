"""A linear probe on the frozen backbone, while it is being trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.hooks import Hook
from torch import Tensor

from densecl.diagnostics.linear_probe import LinearProbe, fit_probe
from densecl.engine.model import PretrainModel
from densecl.engine.rng import untouched_rng

Rows = Callable[[PretrainModel], tuple[Tensor, Tensor]]
"""Model in training -> features (N, C) of its backbone and labels (N,)."""


class ProbeHook(Hook):
    """Adds ``probe_miou`` and ``probe_accuracy`` to the step's scalars.

    Neither weights, batch-norm statistics nor generators notice it.

    Args:
        every: steps between probes.
        train, val: what the probe is fitted to, and scored on.
        ridge: see ``fit_probe``.
    """

    priority = "ABOVE_NORMAL"

    def __init__(self, every: int, train: Rows, val: Rows, *, ridge: float) -> None:
        self.every, self.ridge = every, ridge
        self.train, self.val = train, val

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Probe if it is time."""
        if (batch_idx + 1) % self.every:
            return
        model, report = runner.parts.model, runner.train_loop.report
        with untouched_rng():
            features, labels = self.train(model)
            probe: LinearProbe = fit_probe(features, labels, ridge=self.ridge)
            score = probe.score(*self.val(model))
        report.looked_at = True
        report.scalars.update({"probe_miou": score.miou, "probe_accuracy": score.accuracy})
        runner.say(
            f"probe at step {report.step}: mIoU {score.miou:.3f}, accuracy {score.accuracy:.3f}"
        )
