"""How long is left: cells of one kind run at one speed, in operations a second."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from densecl.engine.config import plain_config
from densecl.models.build import build_backbone
from densecl.models.frozen import frozen
from densecl.studies.cells import PretrainCell, TransferCell
from densecl.transfer.cells import digest
from densecl.transfer.compute import forward_flops, pretraining_flops
from densecl.transfer.finetuning import FinetuneSpec, segmentor_of
from densecl.transfer.frozen import FrozenSpec
from densecl.transfer.of_images import step_flops

AnyCell = PretrainCell | TransferCell
RECENT = 20
"""Cells that a speed is taken from: earlier ones may be another machine's, or another load's."""


def clock_text(seconds: float) -> str:
    """``h:mm``."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}:{minutes:02d}"


class Clock:
    """Estimates from the cells that are done; before there are any, from a short forward.

    Args:
        cells: all of a study; those that are done are learned from.
    """

    def __init__(self, cells: Iterable[AnyCell]) -> None:
        self._done: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._seconds: dict[str, float] = {}
        self._operations: dict[str, float] = {}
        self._costs: dict[str, float] = {}
        for cell in cells:
            self.note(cell)

    def knows(self, kind: str) -> bool:
        """Whether a cell of that kind has been measured."""
        return kind in self._done

    def note(self, cell: AnyCell) -> None:
        """Learn from a cell if it is done."""
        if cell.label in self._seconds:
            return
        seconds = cell.seconds()
        if seconds is not None:
            self._seconds[cell.label] = seconds
            self._done[cell.kind].append((self.operations(cell), max(seconds, 1e-3)))

    def done(self, cell: AnyCell) -> bool:
        """Whether a cell is done; what is done stays so, and is not looked up again."""
        self.note(cell)
        return cell.label in self._seconds

    def estimate(self, cell: AnyCell) -> float:
        """Seconds that a cell will take."""
        if self.knows(cell.kind):
            recent = self._done[cell.kind][-RECENT:]
            speed = sum(work for work, _ in recent) / sum(seconds for _, seconds in recent)
        else:
            backbone = _backbone(cell)
            speed = self._cached(["speed", backbone], lambda: _speed(backbone))
        return self.operations(cell) / speed

    def left(self, cells: Iterable[AnyCell]) -> float:
        """Seconds that the cells which are not done will take together."""
        return sum(self.estimate(cell) for cell in cells if not self.done(cell))

    def operations(self, cell: AnyCell) -> float:
        """Floating-point operations, what the seconds of a kind are proportional to."""
        if cell.label not in self._operations:
            self._operations[cell.label] = self._count(cell)
        return self._operations[cell.label]

    def _count(self, cell: AnyCell) -> float:
        if isinstance(cell, PretrainCell):
            config = plain_config(cell.cell.config)
            decides = [config[name] for name in ("method", "views", "loader", "train")]
            return cell.steps * self._cached(decides, lambda: pretraining_flops(config, 1))
        study, task = cell.table.study, cell.table.study.protocol.spec
        assert isinstance(task, (FinetuneSpec, FrozenSpec))
        size = _size(study.val, task.resize)
        if isinstance(task, FinetuneSpec):
            steps = study.spec(cell.row, 0.0).steps
            spec = task.at(0.0, 0)
            each = self._cached(["step", spec.to_dict()], lambda: step_flops(spec))
            whole = self._cached(
                ["image", spec.to_dict(), size],
                lambda: float(forward_flops(segmentor_of(spec), size)),
            )
            return steps * each + len(study.val) * whole
        images = len(study.pairs[cell.position][1].items) + len(study.val)
        backbone = dict(task.backbone)
        return images * self._cached(
            ["frozen", backbone, size],
            lambda: float(forward_flops(build_backbone(backbone), size)),
        )

    def _cached(self, decides: Any, cost: Callable[[], float]) -> float:
        key = digest(decides)
        if key not in self._costs:
            self._costs[key] = cost()
        return self._costs[key]


def _backbone(cell: AnyCell) -> Mapping[str, Any]:
    if isinstance(cell, PretrainCell):
        return plain_config(cell.cell.config)["method"]["backbone"]
    return dict(cell.table.study.protocol.spec.backbone)


def _size(dataset: Any, resize: tuple[int, int] | None) -> tuple[int, int]:
    if resize is not None:
        return resize
    height, width = dataset[0].frames[0].image.shape[:2]
    return height, width


def _speed(backbone: Mapping[str, Any], size: int = 96, batch: int = 4) -> float:
    """Operations a second of a short forward pass."""
    with torch.random.fork_rng(devices=[]):
        module = build_backbone(backbone)
    images = torch.zeros(batch, 3, size, size)
    with frozen(module):
        module(images)
        # processor time: other programs on the machine are not part of the guess
        began = time.process_time()
        module(images)
        seconds = (time.process_time() - began) / torch.get_num_threads()
    return batch * float(forward_flops(module, (size, size))) / seconds
