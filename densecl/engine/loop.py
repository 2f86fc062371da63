"""The training loop: one iteration is one optimiser step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import Registry
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from densecl.engine import workers
from densecl.engine.processes import together
from densecl.engine.rng import restore_rng
from densecl.engine.step import StepReport, optimiser_step
from densecl.engine.telemetry import ScalarMean

if TYPE_CHECKING:
    from densecl.engine.quiet_runner import PretrainRunner

LOOPS = Registry("loop", parent=MMENGINE_LOOPS, scope="densecl", locations=["densecl.engine.loop"])


@LOOPS.register_module()
class StepLoop(BaseLoop):
    """Counts optimiser steps, whatever the number of micro-batches.

    Attributes:
        report: what the latest step told; hooks read and extend it.

    Args:
        runner: holds the parts, the stop request and the hooks.
        dataloader: endless, yields batches.
        max_steps: length of the schedule.
        accumulate: micro-batches per step.
    """

    def __init__(
        self,
        runner: PretrainRunner,
        dataloader: DataLoader,
        max_steps: int,
        accumulate: int = 1,
    ) -> None:
        super().__init__(runner, dataloader)
        self._pretraining = runner
        self.accumulate = accumulate
        self.report: StepReport | None = None
        self._max_steps = max_steps
        self._iter = 0
        self._rng: dict[str, Any] | None = None
        self._average = ScalarMean()

    @property
    def iter(self) -> int:
        """Optimiser steps finished, not counting the one that hooks are being told of."""
        return self._iter

    @property
    def max_iters(self) -> int:
        """Length of the schedule in optimiser steps."""
        return self._max_steps

    @property
    def epoch(self) -> int:
        """Always 0: the loop knows steps only."""
        return 0

    max_epochs = 1

    def resume(self, step: int, rng: dict[str, Any]) -> None:
        """Continue after ``step`` finished steps, generators as they were then."""
        self._iter, self._rng = step, rng

    def run(self) -> None:
        """Train until the schedule ends or something asks to stop."""
        batches = None
        runner = self._pretraining
        runner.call_hook("before_train")
        try:
            if self._iter < self._max_steps and not runner.stop.after(self._iter):
                batches = workers.start(self.dataloader)
                # Starting the iterator draws from torch's generator: put the states back after it.
                if self._rng is not None:
                    restore_rng(self._rng)
                while self._iter < self._max_steps and not runner.stop.after(self._iter):
                    self.run_step(batches)
        finally:
            workers.end(batches)
        runner.call_hook("after_train")

    def run_step(self, batches: Iterator[Any]) -> None:
        """One optimiser step with its hooks."""
        started = time.perf_counter()
        runner = self._pretraining
        parts, train = runner.parts, runner.parts.config["train"]
        # All micro-batches first: a loader that fails leaves the state of the last step intact.
        with together():
            data = [next(batches) for _ in range(self.accumulate)]
        runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=data)
        report = optimiser_step(
            runner.model,
            parts.optimizer,
            data,
            step=self._iter + 1,
            lr=parts.schedule(self._iter),
            amp=train["amp"],
            grad_clip=train["grad_clip"],
            average=self._average,
        )
        rate = report.samples / (time.perf_counter() - started)
        report.scalars[f"{report.sample}s_per_second"] = rate
        self.report = report
        runner.call_hook(
            "after_train_iter", batch_idx=self._iter, data_batch=data, outputs=report.scalars
        )
        self._iter += 1
