"""Where the run stands: one updating line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from mmengine.hooks import Hook


def duration(seconds: float) -> str:
    """``h:mm:ss``."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def progress_line(
    step: int,
    steps: int,
    loss: float,
    lr: float,
    rate: float,
    eta: float,
    sample: str = "image",
) -> str:
    """``step 12/250  loss 3.412  lr 0.0021  812 images/s  eta 0:01:12``."""
    digits = 0 if rate >= 3 else 1
    return (
        f"step {step}/{steps}  loss {loss:.4g}  lr {lr:.3g}  "
        f"{rate:.{digits}f} {sample}s/s  eta {duration(eta)}"
    )


class ProgressHook(Hook):
    """Prints progress with throughput and time left.

    Args:
        stream: where to; standard error by default, so that output can be piped.
        pause: least seconds between lines; by default 0.2 on a terminal and 15 elsewhere.
    """

    def __init__(self, stream: TextIO | None = None, pause: float | None = None) -> None:
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.pause = pause if pause is not None else (0.2 if self.terminal else 15.0)
        self._width = 0
        self._printed = self._began = 0.0
        self._first_step = 0

    def before_train(self, runner: Any) -> None:
        """Start the clock."""
        self._began = time.monotonic()
        self._printed = float("-inf")
        self._first_step = runner.iter

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Print if it is time; the last step always."""
        now, step, steps = time.monotonic(), batch_idx + 1, runner.max_iters
        if now - self._printed < self.pause and step < steps:
            return
        self._printed = now
        report, done = runner.train_loop.report, step - self._first_step
        per_step = (now - self._began) / done
        line = progress_line(
            step,
            steps,
            float(report.scalars["loss"]),
            float(report.scalars["lr"]),
            report.samples / per_step,
            (steps - step) * per_step,
            report.sample,
        )
        if self.terminal:
            self.stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def say(self, text: str) -> None:
        """A message of its own line, without breaking the updating one."""
        if self._width:
            self.stream.write("\n")
            self._width = 0
        self.stream.write(text + "\n")
        self.stream.flush()

    def close(self, runner: Any) -> None:
        """Leave the cursor on a fresh line."""
        if self._width:
            self.stream.write("\n")
            self._width = 0
            self.stream.flush()


class Silence(ProgressHook):
    """The progress of a process that leaves the talking to rank 0."""

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""
