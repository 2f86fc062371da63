"""How long is left: cells of one pace do as much work a second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from densecl.engine.config import plain_config
from densecl.studies.cells import PretrainCell, TransferCell
from densecl.transfer.cells import digest

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
        self._work: dict[str, float] = {}
        self._kinds: set[str] = set()
        self._costs: dict[str, float] = {}
        for cell in cells:
            self.note(cell)

    def knows(self, kind: str) -> bool:
        """Whether a cell of that kind has been measured."""
        return kind in self._kinds

    def note(self, cell: AnyCell) -> None:
        """Learn from a cell if it is done."""
        if cell.label in self._seconds:
            return
        seconds = cell.seconds()
        if seconds is not None:
            self._seconds[cell.label] = seconds
            self._kinds.add(cell.kind)
            self._done[self._pace(cell)].append((self.work(cell), max(seconds, 1e-3)))

    def done(self, cell: AnyCell) -> bool:
        """Whether a cell is done; what is done stays so, and is not looked up again."""
        self.note(cell)
        return cell.label in self._seconds

    def estimate(self, cell: AnyCell) -> float:
        """Seconds that a cell will take."""
        recent = self._done[self._pace(cell)][-RECENT:]
        if recent:
            speed = sum(work for work, _ in recent) / sum(seconds for _, seconds in recent)
        else:
            speed = self._guess(cell)
        return self.work(cell) / speed

    def left(self, cells: Iterable[AnyCell]) -> float:
        """Seconds that the cells which are not done will take together."""
        return sum(self.estimate(cell) for cell in cells if not self.done(cell))

    def work(self, cell: AnyCell) -> float:
        """What the seconds of a pace are proportional to."""
        if cell.label not in self._work:
            if isinstance(cell, PretrainCell):
                kind, config = cell.cell.fold.kind, plain_config(cell.cell.config)
                work = kind.pretraining_work(config, cell.steps, self._cached)
            else:
                kind, study = cell.table.fold.kind, cell.table.study
                work = kind.transfer_work(study, cell.row, cell.position, self._cached)
            self._work[cell.label] = work
        return self._work[cell.label]

    def _pace(self, cell: AnyCell) -> str:
        if isinstance(cell, PretrainCell):
            return cell.cell.fold.kind.pace(cell.kind, cell.cell.row.name)
        return cell.table.fold.kind.pace(cell.kind, cell.row.name)

    def _guess(self, cell: AnyCell) -> float:
        if isinstance(cell, PretrainCell):
            fold, row = cell.cell.fold, cell.cell.row.name
            known = fold.kind.input_of(plain_config(cell.cell.config), row)
        else:
            fold, known = cell.table.fold, cell.table.study.protocol.spec.to_dict()
        return fold.kind.speed(known, fold.dataset("train"), self._cached)

    def _cached(self, decides: Any, cost: Callable[[], float]) -> float:
        key = digest(decides)
        if key not in self._costs:
            self._costs[key] = cost()
        return self._costs[key]
