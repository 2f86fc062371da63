"""One JSON line of numbers every so many steps."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from densecl.files import write_atomically

SCALARS = "scalars.jsonl"


def read_scalars(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's ``scalars.jsonl``; a torn last line is left out."""
    path = folder / SCALARS
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def cut_scalars(folder: Path, step: int) -> None:
    """Drop the lines after ``step``: the run is about to write them again."""
    path = folder / SCALARS
    if path.is_file():
        kept = [line for line in read_scalars(folder) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_atomically(path, lambda temporary: temporary.write_text(text))


class ScalarsHook(Hook):
    """Appends ``{"step": ..., "loss": ..., ...}`` to ``scalars.jsonl`` in the work dir.

    NaN and infinity, which JSON does not know, become null.

    Args:
        every: steps between lines; steps that health or probe looked at get one too.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def before_train(self, runner: Any) -> None:
        """Cut what a killed run wrote after its last checkpoint."""
        cut_scalars(Path(runner.work_dir), runner.iter)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write a line if it is time."""
        report = runner.train_loop.report
        if report.step % self.every and not report.looked_at:
            return
        numbers = {name: float(value) for name, value in report.scalars.items()}
        line = {n: v if math.isfinite(v) else None for n, v in numbers.items()}
        with open(Path(runner.work_dir) / SCALARS, "a") as stream:
            stream.write(json.dumps({"step": report.step, **line}) + "\n")
