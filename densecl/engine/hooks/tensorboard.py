"""The same numbers for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook


class TensorBoardHook(Hook):
    """Writes scalars under ``tensorboard/`` in the work dir.

    Args:
        every: steps between points; steps that health or probe looked at get one too.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._writer: Any = None

    def before_train(self, runner: Any) -> None:
        """Open the log; points after the resumed step are declared void."""
        from torch.utils.tensorboard import SummaryWriter

        purge = runner.iter + 1 if runner.iter else None
        self._writer = SummaryWriter(str(Path(runner.work_dir) / "tensorboard"), purge_step=purge)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write points if it is time."""
        report = runner.train_loop.report
        if report.step % self.every and not report.looked_at:
            return
        for name, value in report.scalars.items():
            self._writer.add_scalar(name, float(value), report.step)

    def close(self, runner: Any) -> None:
        """Flush and close, also after a failure."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
