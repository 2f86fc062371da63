"""A linear probe on the frozen backbone, while it is being trained."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from densecl.diagnostics.linear_probe import LinearProbe, cells, fit_probe
from densecl.engine.rng import untouched_rng


class ProbeHook(Hook):
    """Adds ``probe_miou`` and ``probe_accuracy`` to the step's scalars.

    Neither weights, batch-norm statistics nor generators notice it.

    Args:
        every: steps between probes.
        train, val: labelled data sets; evenly spaced samples of each are used.
        images, val_images: how many.
        ridge: see ``fit_probe``.
    """

    priority = "ABOVE_NORMAL"

    def __init__(
        self, every: int, train: Any, val: Any, *, images: int, val_images: int, ridge: float
    ) -> None:
        self.every, self.ridge = every, ridge
        self.train, self.val = train, val
        self.images, self.val_images = images, val_images

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Probe if it is time."""
        if (batch_idx + 1) % self.every:
            return
        model, report = runner.parts.model, runner.train_loop.report
        backbone = model.method.backbone_for_export()
        with untouched_rng():
            features, labels = cells(backbone, model.norm, self.train, self.images)
            probe: LinearProbe = fit_probe(features, labels, ridge=self.ridge)
            score = probe.score(*cells(backbone, model.norm, self.val, self.val_images))
        report.looked_at = True
        report.scalars.update({"probe_miou": score.miou, "probe_accuracy": score.accuracy})
        runner.say(
            f"probe at step {report.step}: mIoU {score.miou:.3f}, accuracy {score.accuracy:.3f}"
        )
