"""The transfer table: rows with paired differences, as Markdown and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densecl.errors import UsageError
from densecl.transfer.columns import MIOU, Column
from densecl.transfer.grid import Choice
from densecl.transfer.statistics import Difference, Pair, paired_difference

if TYPE_CHECKING:
    from densecl.transfer.identity import Identity
    from densecl.transfer.task import Task

REFERENCE_VERDICT = "reference"
_RATES = {"lr": "learning rate", "decay": "weight decay"}


@dataclass
class Row:
    """One row.

    Attributes:
        name: of the row.
        scores: first column of each finished (seed, subset) pair at the chosen learning rate.
        choice: the learning rate and what it was chosen from; None before there is a choice.
        more: key of each further column -> its number of each pair that has one.
        iou: per class, mean over the pairs where the class has a score; may be empty.
        ap: average precision of each class, likewise.
        confusion: (L, L) counts, summed over the pairs; None where the run has none.
        curves: name -> dict(x, y, xlabel, ylabel), y averaged over the pairs that share x.
        steps: fine-tuning steps of a run.
        diverged: how many of the chosen runs diverged (they score 0).
        feature_difference: largest over the runs, see ``transplant``.
        seconds: fine-tuning time of all the row's runs, grid included.
        pretraining_seconds: what the starting weights cost, as declared.
        notes: free text.
        trained: the first pair's run at the chosen rate: its spec, and the file that holds the
            trained segmentor's weights if they were kept.
    """

    name: str
    scores: dict[Pair, float]
    choice: Choice | None = None
    iou: list[float] = field(default_factory=list)
    ap: list[float] = field(default_factory=list)
    steps: int = 0
    diverged: int = 0
    feature_difference: float = 0.0
    seconds: float = 0.0
    pretraining_seconds: float = 0.0
    notes: str = ""
    trained: tuple[Task, Path] | None = None
    more: dict[str, dict[Pair, float]] = field(default_factory=dict)
    confusion: list[list[int]] | None = None
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean of the first column over the pairs; NaN without one."""
        return _mean(self.scores)

    def column(self, position: int, key: str) -> dict[Pair, float]:
        """The numbers of a column of the table."""
        return self.scores if position == 0 else self.more.get(key, {})


@dataclass
class Table:
    """All rows and how they came about.

    Attributes:
        rows: in order.
        reference: name of the row that differences are taken to.
        protocol: everything a reader needs to repeat it, plain values.
        split: which split ``scores`` are of.
        cells: (finished, all) runs.
        identity: what the numbers are of.
        test_reads: how often the test split was read for tables in this folder.
        world_version: version of the generated data, or "".
        demo: the numbers come from a run too small to mean anything.
        seconds: totals.
        level: coverage of the intervals.
        rate: what the grid is of: ``lr``, ``decay`` of a probe, or "": there is no grid.
        columns: of the runs; differences and verdicts are of the first.
        share: of the labels, e.g. ``5%``; ``all`` where none are learned from.
        classes: names, where the runs score classes.
    """

    rows: list[Row]
    reference: str
    protocol: dict[str, Any]
    split: str
    cells: tuple[int, int]
    test_reads: int = 0
    world_version: str = ""
    demo: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    level: float = 0.95
    rate: str = "lr"
    columns: tuple[Column, ...] = (MIOU,)
    share: str = ""
    classes: tuple[str, ...] = ()
    identity: Identity = field(kw_only=True)

    @property
    def complete(self) -> bool:
        """Every run is done."""
        return self.cells[0] == self.cells[1]

    def difference(self, row: Row, unit: str = "pair") -> Difference | None:
        """Paired difference to the reference; None for the reference itself."""
        if row.name == self.reference:
            return None
        reference = next((r for r in self.rows if r.name == self.reference), None)
        scores = {} if reference is None else reference.scores
        return paired_difference(
            row.scores,
            scores,
            level=self.level,
            unit=unit,  # type: ignore[arg-type]
            better=self.columns[0].better,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        return {
            "identity": self.identity.to_dict(),
            "share": self.share,
            "columns": [vars(column) for column in self.columns],
            "classes": list(self.classes),
            "rows": [self._row_dict(row) for row in self.rows],
            "seconds": self.seconds,
            "world_version": self.world_version,
            "demo": self.demo,
            "complete": self.complete,
            "cells": {"done": self.cells[0], "total": self.cells[1]},
            "split": self.split,
            "test_reads": self.test_reads,
            "reference": self.reference,
            "level": self.level,
            "rate": self.rate,
            "protocol": self.protocol,
        }

    def _row_dict(self, row: Row) -> dict[str, Any]:
        difference = self.difference(row)
        units: dict[str, Any] = {}
        if difference is not None:
            for unit in ("seed", "subset"):
                each = self.difference(row, unit)
                assert each is not None
                units[unit] = None if each.interval is None else list(each.interval)
        choice = row.choice
        numbers: dict[str, Any] = {}
        for position, column in enumerate(self.columns):
            scores = row.column(position, column.key)
            numbers[f"{column.key}_mean"] = _plain(_mean(scores))
            numbers[f"{column.key}_seeds"] = [scores.get(pair) for pair in row.scores]
        extra: dict[str, Any] = {} if row.confusion is None else {"confusion": row.confusion}
        if row.curves:
            extra["curves"] = row.curves
        if row.ap:
            extra["ap_per_class"] = [_plain(value) for value in row.ap]
        return {
            "name": row.name,
            **numbers,
            "diff_to_scratch": 0.0 if difference is None else _plain(difference.mean),
            "interval": list(difference.interval) if difference and difference.interval else None,
            "verdict": difference.verdict if difference else REFERENCE_VERDICT,
            "pairs": [list(pair) for pair in row.scores],
            "interval_over": units,
            "lr": choice.lr if choice and self.rate else None,
            "lr_validation": {f"{k:g}": v for k, v in choice.means.items()} if choice else {},
            "lr_at_edge": choice.edge if choice else False,
            "iou": [_plain(value) for value in row.iou],
            **extra,
            "steps": row.steps,
            "diverged": row.diverged,
            "feature_difference": row.feature_difference,
            "seconds": row.seconds,
            "pretraining_seconds": row.pretraining_seconds,
            "notes": row.notes,
        }

    def to_markdown(self) -> str:
        """The table and the lines one needs to judge it."""
        percent = f"{self.level * 100:g} %"
        first, *others = self.columns
        header = ["row", first.heading, f"difference to {self.reference}", f"{percent} interval"]
        header += ["verdict"] if first.better != "none" else []
        header += [column.heading for column in others]
        header += [self.rate] if self.rate else []
        header += ["n"]
        lines = []
        if self.demo:
            lines += [
                "**demo**: far too small to rank methods; it shows that the path works.",
                "",
            ]
        if not self.complete:
            lines += [
                f"**unfinished**: {self.cells[0]} of {self.cells[1]} cells; scores are of the"
                f" {self.split} split.",
                "",
            ]
        lines += _markdown_rows([header, *(self._cells(row) for row in self.rows)])
        lines += ["", *self._footer()]
        return "\n".join(lines) + "\n"

    def _cells(self, row: Row) -> list[str]:
        first, *others = self.columns
        difference = self.difference(row)
        name = row.name + (f" ({row.diverged} diverged)" if row.diverged else "")
        mean, low_high, verdict, count = "-", "-", REFERENCE_VERDICT, len(row.scores)
        if difference is not None:
            mean, count = _number(difference.mean, first.digits, signed=True), difference.count
            if difference.interval is not None:
                low, high = (f"{end:+.{first.digits}f}" for end in difference.interval)
                low_high = f"[{low}, {high}]"
            verdict = difference.verdict or ""
            if difference.interval is None:
                verdict += " (one pair)" if difference.count == 1 else " (no pair)"
        cells = [name, _number(row.mean, first.digits), mean, low_high]
        cells += [verdict] if first.better != "none" else []
        cells += [_number(_mean(row.more.get(c.key, {})), c.digits) for c in others]
        if self.rate:
            choice = row.choice
            cells.append("-" if choice is None else f"{choice.lr:g}" + "*" * choice.edge)
        return [*cells, str(count)]

    def _footer(self) -> list[str]:
        rates = self.protocol.get("learning_rates", ()) if self.rate else ()
        grid, kind = ", ".join(f"{lr:g}" for lr in rates), _RATES.get(self.rate, self.rate)
        first = self.columns[0]
        over = "pretraining seeds" if self.share == ALL else "(pretraining seed, label subset)"
        one = len(self.columns) == 1
        lines = [
            f"{first.title if one else 'Scores'} on the {self.split} split. Differences are"
            f" {'' if one else f'of {first.title}, '}paired over {over}; the interval is"
            " Student's t over the pairs.",
        ]
        if first.better == "lower":
            lines.append(f"Lower is better for {first.title}.")
        elif first.better == "none":
            lines.append(f"{first.title} describes: neither more nor less of it is better.")
        if grid:
            lines.append(f"{kind.capitalize()}: grid {grid} for every row, chosen on validation.")
        if any(row.choice and row.choice.edge for row in self.rows):
            lines.append("\\* the choice lies at the edge of the grid.")
        if self.split == "test":
            times = "once" if self.test_reads == 1 else f"{self.test_reads} times"
            lines.append(f"The test split was read {times}.")
        elif self.rate and len(rates) != 1:
            lines.append(f"The {kind} was chosen on the same split: scores are optimistic.")
        lines += [f"{row.name}: {row.notes}." for row in self.rows if row.notes]
        if self.world_version:
            lines.append(f"World version {self.world_version}.")
        share = f", {self.share} of the labels" if self.share not in ("", ALL) else ""
        return [*lines, f"Protocol {self.identity}{share}."]


ALL = "all"
"""The share of a table whose runs learn from no labels."""


def join_tables(tables: Sequence[Table]) -> Table:
    """The rows of several tables in one; a row that stands in several is taken once.

    Args:
        tables: of one protocol, share and split, and of the same (seed, subset) pairs.

    Raises:
        UsageError: the numbers are of different protocols, shares or splits, named by the field
            that differs; the tables have other references; or a name stands for different rows.
    """
    if not tables:
        raise UsageError("no table to join", needed="at least one")
    first, *others = tables
    for other in others:
        _comparable(first, other)
    rows: dict[str, Row] = {}
    for row in (row for table in tables for row in table.rows):
        known = rows.setdefault(row.name, row)
        if known.scores != row.scores:
            raise UsageError(
                f"row {row.name!r} stands in two tables with different numbers",
                needed="one name for one row",
                fix="rename one of them",
            )
    return replace(
        first,
        rows=list(rows.values()),
        cells=(sum(t.cells[0] for t in tables), sum(t.cells[1] for t in tables)),
        test_reads=max(table.test_reads for table in tables),
        demo=any(table.demo for table in tables),
        seconds={
            key: math.fsum(table.seconds.get(key, 0.0) for table in tables) for key in first.seconds
        },
    )


def _comparable(one: Table, other: Table) -> None:
    """Refuse two tables whose numbers mean different things."""
    found = one.identity.differences(other.identity)
    found += [
        name
        for name in ("share", "split", "reference")
        if getattr(one, name) != getattr(other, name)
    ]
    if found:
        raise UsageError(
            f"the tables of {one.identity.name!r} ({one.identity.hash}, {one.split}) and"
            f" {other.identity.name!r} ({other.identity.hash}, {other.split}) differ in "
            + ", ".join(found),
            needed="one protocol for all numbers of a column",
            fix="show them as two tables, or run both rows under one protocol",
        )


def _markdown_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return lines


def _number(value: float, digits: int = 3, signed: bool = False) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def _mean(scores: Mapping[Pair, float]) -> float:
    return math.fsum(scores.values()) / len(scores) if scores else math.nan


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def mean_by_class(results: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """Mean over runs of a list of one score a class, runs without it left out.

    A run where a class has no score (None) does not count for that class.
    """
    found = [result[key] for result in results if isinstance(result.get(key), list)]
    columns = zip(*found, strict=True)
    means = []
    for column in columns:
        known = [value for value in column if value is not None]
        means.append(math.fsum(known) / len(known) if known else math.nan)
    return means


def summed_confusion(results: Sequence[Mapping[str, Any]]) -> list[list[int]] | None:
    """Counts of all runs together; None where a run has none."""
    found = [result.get("confusion") for result in results]
    if not found or any(each is None for each in found):
        return None
    return [
        [sum(values) for values in zip(*lines, strict=True)] for lines in zip(*found, strict=True)
    ]


def mean_curves(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each curve of the first run, its y averaged over the runs that have the same x."""
    curves: dict[str, dict[str, Any]] = {}
    for name, curve in (results[0].get("curves") or {}).items() if results else ():
        same = [result.get("curves", {}).get(name, {}) for result in results]
        ys = [each["y"] for each in same if each.get("x") == curve["x"]]
        y = []
        for values in zip(*ys, strict=True):
            known = [value for value in values if value is not None]
            y.append(math.fsum(known) / len(known) if known else None)
        curves[name] = {**curve, "y": y}
    return curves
