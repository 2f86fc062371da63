"""What a transfer table consists of: rows, a protocol, and the runs that follow from them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from densecl.errors import UsageError
from densecl.transfer.cells import Cell, CellStore, data_fingerprint, init_fingerprint
from densecl.transfer.columns import Column, columns_of
from densecl.transfer.grid import Choice, choose_learning_rate
from densecl.transfer.initialisation import Init
from densecl.transfer.selection import Items, Selection
from densecl.transfer.statistics import Pair
from densecl.transfer.subsets import Subset
from densecl.transfer.task import Task, Trained

SeededInit = Init | Mapping[int, Init] | Callable[[int], Init]

NO_GRID = (0.0,)
"""The grid of a run that has nothing to choose."""


@dataclass(frozen=True)
class RowSpec:
    """One row of a table.

    Attributes:
        name: unique in the table.
        init: starting weights: one for all seeds (None = random weights of the pair's seed), or
            a mapping or function from pretraining seed to weights.
        fingerprint: of the weights of a seed, where it is known without reading them; it gives
            None while they do not exist yet, and the seed's runs then wait. Without it the
            weights are read and hashed.
        steps: fine-tuning steps when they differ from the protocol's (scratch-long).
        task: a run of another kind in place of the protocol's, for a row that is no backbone.
        pretraining_seconds: what the weights cost, for the table.
        notes: free text for the table.
    """

    name: str
    init: SeededInit = None
    fingerprint: Callable[[int], str | None] | None = None
    steps: int | None = None
    task: Task | None = None
    pretraining_seconds: float = 0.0
    notes: str = ""

    def init_for(self, seed: int) -> Init:
        """Starting weights of one pretraining seed.

        Raises:
            UsageError: the mapping lacks the seed.
        """
        if callable(self.init):
            return self.init(seed)
        if isinstance(self.init, Mapping) and all(isinstance(key, int) for key in self.init):
            if seed not in self.init:
                raise UsageError(
                    f"row {self.name!r} has no weights for pretraining seed {seed}",
                    needed=f"seeds {sorted(self.init)}",
                )
            return self.init[seed]  # type: ignore[index, return-value]
        return self.init  # type: ignore[return-value]

    def fingerprint_for(self, seed: int) -> str | None:
        """Fingerprint of the weights of one pretraining seed; None while there are none."""
        if self.fingerprint is not None:
            return self.fingerprint(seed)
        return init_fingerprint(self.init_for(seed))


@dataclass(frozen=True)
class Protocol:
    """What all rows share.

    Attributes:
        spec: the fine-tuning run, its ``lr`` replaced by the grid's; or the frozen probe, its
            ``decay`` replaced by the grid's.
        learning_rates: the grid.
        reference: name of the row that differences are taken to.
        selection: ``all`` runs every rate on every pair and chooses by the mean; ``first`` runs
            the grid on the first pair only, and the rate chosen there on the others: cheaper,
            noisier, the same for every row.
        pairing: ``product`` of seeds and subsets, or ``zip`` (the first seed with the first
            subset, ...): fewer runs, and independent pairs.
        level: coverage of the intervals.
        keep_weights: keep each run's weights until the test split has been read. Without them
            the chosen runs are repeated then.
    """

    spec: Task
    learning_rates: tuple[float, ...]
    reference: str = "scratch"
    selection: Literal["all", "first"] = "all"
    pairing: Literal["product", "zip"] = "product"
    level: float = 0.95
    keep_weights: bool = True

    def pairs(self, seeds: Sequence[int], subsets: Sequence[Subset]) -> list[tuple[int, Subset]]:
        """The (seed, subset) pairs of a table.

        Raises:
            UsageError: ``zip`` with lists of different length.
        """
        if self.pairing == "product":
            return list(itertools.product(seeds, subsets))
        if len(seeds) != len(subsets):
            raise UsageError(
                f"{len(seeds)} pretraining seeds and {len(subsets)} label subsets",
                needed='as many of one as of the other with pairing="zip"',
            )
        return list(zip(seeds, subsets, strict=True))


@dataclass
class Study:
    """A table on its way.

    Attributes:
        rows, protocol: what is run.
        pairs: (pretraining seed, label subset), in order.
        train, val: labelled data sets; no ``train`` where the runs learn from no labels.
        store: where results lie.
        device: where to run.
        resume: use stored results; else only those of this process.
        results: cell key -> result on validation, of the runs known to be done.
    """

    rows: Sequence[RowSpec]
    protocol: Protocol
    pairs: list[tuple[int, Subset]]
    train: Items | None
    val: Items
    store: CellStore
    device: str | torch.device
    resume: bool
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    _inits: dict[tuple[str, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        train = "" if self.train is None else data_fingerprint(self.train)
        self.data = (train, data_fingerprint(self.val))
        self._judged: dict[str, Selection] = {}

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the runs are scored by."""
        return columns_of(self.protocol.spec)

    @property
    def rate(self) -> str:
        """What the grid is of: ``lr``, ``decay`` of a probe, or "": the runs have none."""
        task = self.protocol.spec
        if task.at(1.0).to_dict() == task.at(2.0).to_dict():
            return ""
        return "lr" if task.steps else "decay"

    def score(self, result: Mapping[str, Any]) -> float | None:
        """The first column of a result; None where the run could not be scored."""
        return result.get(self.columns[0].key)

    def spec(self, row: RowSpec, lr: float) -> Task:
        """The run of a row at one point of the grid."""
        return (row.task or self.protocol.spec).at(lr, row.steps)

    def ready(self, row: RowSpec, seed: int) -> bool:
        """Whether the row's weights of a seed exist."""
        key = (row.name, seed)
        if key not in self._inits:
            fingerprint = row.fingerprint_for(seed)
            if fingerprint is None:
                return False
            self._inits[key] = fingerprint
        return True

    def cell(self, row: RowSpec, pair: tuple[int, Subset], lr: float) -> Cell:
        """One run.

        Raises:
            UsageError: its starting weights do not exist yet.
        """
        seed, subset = pair
        if not self.ready(row, seed):
            raise UsageError(f"row {row.name!r} has no weights for pretraining seed {seed} yet")
        spec, init = self.spec(row, lr), self._inits[row.name, seed]
        return Cell(row.name, spec, init, seed, subset.name, subset.items, self.data)

    def finished(self, row: RowSpec, pair: tuple[int, Subset], lr: float) -> dict[str, Any] | None:
        """The result of a run on validation if it is done."""
        return self.result(self.cell(row, pair, lr)) if self.ready(row, pair[0]) else None

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """The run's result if it is done."""
        key = cell.key()
        if key not in self.results and self.resume:
            stored = self.store.result(cell)
            if stored is not None:
                self.results[key] = stored
        return self.results.get(key)

    def rates(self, row: RowSpec, position: int) -> Sequence[float] | None:
        """Learning rates that a row needs at a pair; None while its choice is not made."""
        if self.protocol.selection == "all" or position == 0:
            return self.protocol.learning_rates
        choice = self.choice(row)
        return None if choice is None else (choice.lr,)

    def choice(self, row: RowSpec) -> Choice | None:
        """The row's learning rate by the runs that are done; None while there are too few."""
        pairs = self.pairs[:1] if self.protocol.selection == "first" else self.pairs
        scores: dict[float, dict[Pair, float]] = {lr: {} for lr in self.protocol.learning_rates}
        for (seed, subset), lr in itertools.product(pairs, scores):
            done = self.finished(row, (seed, subset), lr)
            score = None if done is None else self.score(done)
            if score is not None:
                scores[lr][seed, subset.name] = score
        if not set.intersection(*map(set, scores.values())):
            return None
        return choose_learning_rate(scores, self.columns[0].better)

    def total(self) -> int:
        """Runs of the whole table."""
        rates, pairs = len(self.protocol.learning_rates), len(self.pairs)
        each = rates * pairs if self.protocol.selection == "all" else rates + pairs - 1
        return each * len(self.rows)

    def count(self) -> int:
        """Runs that are done."""
        return sum(
            self.finished(row, pair, lr) is not None
            for row in self.rows
            for position, pair in enumerate(self.pairs)
            for lr in self.rates(row, position) or ()
        )

    def _validation(self, row: RowSpec) -> Selection:
        """The validation split as the row's runs read it, read once."""
        own = row.name if row.task else ""
        if own not in self._judged:
            self._judged[own] = (row.task or self.protocol.spec).select(self.val)
        return self._judged[own]

    def release(self) -> None:
        """Let go of decoded items; they are read again if another run needs them."""
        self._judged.clear()

    def run(self, row: RowSpec, pair: tuple[int, Subset], cell: Cell) -> Trained:
        """Do a run and store it; returns what was trained."""
        items = None
        if self.train is not None:
            items = cell.spec.select(self.train, pair[1].indices(self.train))
        judged = self._validation(row)
        result, trained = cell.spec.run(
            row.init_for(pair[0]), items, judged, seed=pair[0], device=self.device
        )
        if self.protocol.keep_weights:
            self.store.save_weights(cell, trained.state_dict())
        result = plain(result)
        self.store.save_result(cell, result)
        self.results[cell.key()] = result
        return trained


def plain(value: Any) -> Any:
    """A result for JSON: a number that is not finite becomes None."""
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
