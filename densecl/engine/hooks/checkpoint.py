"""Writes checkpoints, at optimiser steps only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from densecl.engine.checkpoint import save_checkpoint, step_file
from densecl.engine.disk import require_space
from densecl.engine.snapshot import expected_bytes, take_snapshot


class CheckpointHook(Hook):
    """Every so many steps, and at the end of the run whatever ended it.

    Attributes:
        latest: the newest checkpoint of this run, or the one it resumed from, or None.

    Args:
        every: steps between checkpoints.
        keep: how many to keep.
        resumed: the file that the run continues, or None.
    """

    priority = "VERY_LOW"

    def __init__(self, every: int, keep: int, resumed: Path | None = None) -> None:
        self.every, self.keep = every, keep
        self.latest = resumed
        self._saved_step = 0

    def before_train(self, runner: Any) -> None:
        """Refuse to start a run whose checkpoints will not fit."""
        self._saved_step = runner.iter
        size = expected_bytes(runner.parts)
        require_space(
            Path(runner.work_dir),
            (self.keep + 1) * size,
            f"{self.keep} checkpoints of {size / 2**20:.0f} MiB and one being written",
        )

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Save if it is time."""
        if (batch_idx + 1) % self.every == 0:
            self._save(runner, batch_idx + 1)

    def after_train(self, runner: Any) -> None:
        """Save the last step, unless that has been done."""
        if runner.iter != self._saved_step:
            self._save(runner, runner.iter)

    def _save(self, runner: Any, step: int) -> None:
        folder = Path(runner.work_dir)
        state = take_snapshot(runner.parts, step, runner.data_hash)
        self.latest = save_checkpoint(folder, state, keep=self.keep)
        self._saved_step = step
        assert self.latest == step_file(folder, step)
