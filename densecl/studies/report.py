"""What a study found: a table for each protocol and fold, their means, and the budget curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densecl.errors import UsageError
from densecl.files import write_atomically, write_json
from densecl.studies.curve import (
    Point,
    curve_markdown,
    curve_points,
    draw_curve,
    pays_from,
    point_dict,
)
from densecl.studies.items import Items, draw_items, items_markdown, read_items
from densecl.studies.named_weights import name_weights
from densecl.studies.tables import StudyTable, slug
from densecl.transfer.run import write_table
from densecl.transfer.statistics import Pair
from densecl.transfer.table import Row, Table

if TYPE_CHECKING:
    from densecl.studies.plan import Plan

JSON, MARKDOWN = "study.json", "study.md"


@dataclass
class Report:
    """A study's findings so far.

    Attributes:
        tables: (protocol with label share, fold) -> table.
        means: protocol with label share -> table of the means over the folds, of studies with
            more than one whose folds score the same classes.
        cells: (finished, all).
        path: the Markdown file.
    """

    tables: dict[tuple[str, str], Table]
    means: dict[str, Table]
    cells: tuple[int, int]
    path: Path

    @property
    def complete(self) -> bool:
        """Every cell is done."""
        return self.cells[0] == self.cells[1]


def write_report(plan: Plan, *, test: bool, log: Callable[[str], None]) -> Report:
    """Write ``study.md``, ``study.json``, the curves, each table's own files, names of the weights.

    Args:
        plan: the study.
        test: read the test splits of complete tables.
        log: takes what could not be drawn.
    """
    name_weights(plan)
    done = sum(cell.seconds() is not None for cell in plan.cells)
    cells = (done, len(plan.cells))
    labels = list(dict.fromkeys(table.label for table in plan.tables))
    tables: dict[tuple[str, str], Table] = {}
    for each in plan.tables:
        tables[each.label, each.fold.name] = _table(each, plan, test, log)
    means = {}
    sections, summary = [_head(plan, cells)], []
    for label in labels:
        own = [each for each in plan.tables if each.label == label]
        found = [tables[label, each.fold.name] for each in own]
        sections.append(f"## {label}\n")
        shown = {each.fold.name: table for each, table in zip(own, found, strict=True)}
        if len({each.fold.classes for each in own}) > 1:
            sections.append("No mean over the folds: they score different classes.\n")
        elif len(own) > 1:
            means[label] = mean_over_folds(found)
            sections.append(_mean_section(means[label], found))
            shown = {"mean over folds": means[label], **shown}
        for each, table in zip(own, found, strict=True):
            sections.append(_fold_section(each, table))
            if items := read_items(each.folder, table):
                sections.append(_items_section(plan.out, each, items, log))
        curves = {name: _curve(own[0], table) for name, table in shown.items()}
        curves = {name: points for name, points in curves.items() if points}
        for name, points in curves.items():
            sections.append(_curve_section(plan.out, shown[name], label, name, points, log))
        summary.append(_summary(label, own, found, means.get(label), curves))
    text = "\n".join(sections)
    value = {
        "study": plan.config.name,
        "complete": done == len(plan.cells),
        "cells": {"done": done, "total": len(plan.cells)},
        "demo": plan.config.demo,
        "protocols": summary,
    }
    write_json(plan.out / JSON, value)
    path = plan.out / MARKDOWN
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return Report(tables, means, cells, path)


def _table(each: StudyTable, plan: Plan, test: bool, log: Callable[[str], None]) -> Table:
    """A fold's table; rows without a finished run are left out."""
    fold = each.fold
    spent = {
        name: math.fsum((by_seed[s].record() or {}).get("seconds", 0.0) for s in by_seed)
        for name, by_seed in each.needs.items()
    }
    table = write_table(
        each.study,
        each.folder,
        test=(lambda: fold.dataset("test")) if test and fold.scored == "test" else None,
        world_version=str(getattr(fold.dataset("train"), "version", "")),
        demo=plan.config.demo,
        rate=each.rate,
        pretraining_seconds=spent,
        log=lambda text: log(f"{fold.name} | {each.label} | {text}"),
    )
    return replace(table, rows=[row for row in table.rows if row.scores])


def mean_over_folds(tables: Sequence[Table]) -> Table:
    """Rows averaged over the folds, pair by pair.

    Where some folds' tables are scored on test and others, unfinished, are not, the mean is over
    those on test. A (seed, subset) pair counts where every fold has it; a row where every fold
    has one.

    Args:
        tables: of one protocol.
    """
    scored = [table for table in tables if table.split == "test"] or list(tables)
    names = [row.name for row in scored[0].rows]
    rows = []
    for name in names:
        own = [row for table in scored for row in table.rows if row.name == name]
        if len(own) == len(scored):
            rows.append(_mean_row(name, own))
    first = scored[0]
    cells = (sum(t.cells[0] for t in tables), sum(t.cells[1] for t in tables))
    return replace(
        first,
        rows=[row for row in rows if row.scores],
        cells=cells,
        test_reads=max(table.test_reads for table in scored),
        seconds={key: math.fsum(table.seconds[key] for table in tables) for key in first.seconds},
    )


def _mean_row(name: str, rows: Sequence[Row]) -> Row:
    common = set.intersection(*(set(row.scores) for row in rows))
    pairs: list[Pair] = [pair for pair in rows[0].scores if pair in common]
    scores = {p: math.fsum(row.scores[p] for row in rows) / len(rows) for p in pairs}
    return Row(
        name,
        scores,
        iou=[_mean(values) for values in zip(*(row.iou for row in rows), strict=True)],
        steps=rows[0].steps,
        diverged=sum(row.diverged for row in rows),
        feature_difference=max(row.feature_difference for row in rows),
        seconds=math.fsum(row.seconds for row in rows),
        pretraining_seconds=math.fsum(row.pretraining_seconds for row in rows),
        notes=rows[0].notes,
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _head(plan: Plan, cells: tuple[int, int]) -> str:
    lines = [f"# {plan.config.name}", ""]
    if plan.config.demo:
        lines += ["**demo**: far too small to rank methods.", ""]
    if cells[0] != cells[1]:
        lines += [f"**unfinished**: {cells[0]} of {cells[1]} cells.", ""]
    for row in plan.config.rows:
        changes = ", ".join(f"{key}={value!r}" for key, value in row.options.items())
        budgets = ", ".join(str(n) for n in row.budgets)
        said = f"- {row.name}: `{row.pretrain}`"
        said += f", {budgets} steps" if budgets else ""
        notes = _notes(plan, row.name)
        lines.append(said + (f"; {changes}" if changes else "") + (f" ({notes})" if notes else ""))
    lines += ["", f"Seeds {', '.join(map(str, plan.config.seeds))}."]
    for fold in plan.folds:
        parts = [*fold.parts, *fold.config.readings]
        count = ", ".join(f"{len(fold.dataset(part))} {part}" for part in parts)
        line = f"Fold {fold.name}: {count}."
        if fold.overlap():
            items = fold.kind.items
            line += f" {fold.overlap()} of the {fold.scored} {items} are among the unlabelled ones."
        lines.append(line)
    return "\n".join(lines) + "\n"


def _notes(plan: Plan, row: str) -> str:
    """What a row's pretrainings have to say of themselves."""
    every = (
        cell.notes
        for cells in plan.pretraining.values()
        for (name, _), by_seed in cells.items()
        for cell in by_seed.values()
        if name == row
    )
    return next(every, "")


def _mean_section(mean: Table, tables: Sequence[Table]) -> str:
    used = sum(table.split == mean.split for table in tables)
    of = f"{used} of {len(tables)} folds" if used < len(tables) else f"{used} folds"
    if not mean.rows:
        return f"### Mean over {of}\n\nNo row has a run in each of them yet.\n"
    text = f"### Mean over {of}\n\n{mean.to_markdown()}"
    return text + "Scores of a pair are averaged over the folds before they are compared.\n"


def _fold_section(each: StudyTable, table: Table) -> str:
    lines = [f"### {each.fold.name}", ""]
    if not table.rows:
        return "\n".join([*lines, f"No run yet: 0 of {table.cells[1]} cells."]) + "\n"
    lines.append(table.to_markdown())
    overlap = each.fold.overlap()
    if overlap:
        items = each.fold.kind.items
        lines += [f"{overlap} of the scored {items} were among the unlabelled ones.", ""]
    if len(each.study.protocol.learning_rates) > 1:
        lines += _choices(each, table)
    lines += ["| row | steps | pretraining s | transfer s |", "|---|---|---|---|"]
    for row in table.rows:
        spent = f"{row.pretraining_seconds:.0f}" if row.name in each.needs else "-"
        lines.append(f"| {row.name} | {row.steps} | {spent} | {row.seconds:.0f} |")
    return "\n".join(lines) + "\n"


def _choices(each: StudyTable, table: Table) -> list[str]:
    """What each row's rate was chosen from."""
    where = "first pair" if each.study.protocol.selection == "first" else "common pairs"
    grid = sorted(each.study.protocol.learning_rates)
    header = [f"{each.rate} {lr:g}" for lr in grid]
    lines = [
        f"The same search for every row: validation mIoU at each {each.rate}, {where}.",
        "",
        "| row | " + " | ".join(header) + " | chosen |",
        "|" + "---|" * (len(grid) + 2),
    ]
    for row in table.rows:
        means = row.choice.means if row.choice else {}
        cells = [f"{means[lr]:.3f}" if lr in means else "-" for lr in grid]
        chosen = f"{row.choice.lr:g}" if row.choice else "-"
        lines.append(f"| {row.name} | " + " | ".join(cells) + f" | {chosen} |")
    return [*lines, ""]


def _curve(each: StudyTable, table: Table) -> list[Point]:
    """Points of a table whose methods were tried at more than one budget."""
    if not each.measure.curve or len({steps for _, steps in each.budgets.values()}) < 2:
        return []
    return curve_points(table, each.budgets)


def _curve_section(
    out: Path,
    table: Table,
    label: str,
    name: str,
    points: Sequence[Point],
    log: Callable[[str], None],
) -> str:
    text = f"### Budget curve, {name}\n\n"
    text += curve_markdown(points, table.reference, table.level)
    reference = next((row for row in table.rows if row.name == table.reference), None)
    if reference is None:
        return text
    file = out / "curves" / f"{slug(label, name)}.png"
    try:
        draw_curve(file, points, reference.mean, reference.name, f"{label}, {name}")
    except UsageError as error:
        log(str(error))
        return text
    return text + f"\n![{label}, {name}](curves/{file.name})\n"


def _items_section(out: Path, each: StudyTable, items: Items, log: Callable[[str], None]) -> str:
    title = f"{each.label}, {each.fold.name}"
    text = f"#### Single {each.fold.kind.items} of {each.fold.name}\n\n{items_markdown(items)}"
    file = out / "curves" / f"{slug(each.label, each.fold.name)}_items.png"
    try:
        draw_items(file, items, title)
    except UsageError as error:
        log(str(error))
        return text
    return text + f"\n![{title}, item by item](curves/{file.name})\n"


def _summary(
    label: str,
    own: Sequence[StudyTable],
    found: Sequence[Table],
    mean: Table | None,
    curves: Mapping[str, list[Point]],
) -> dict[str, Any]:
    return {
        "name": label,
        "kind": own[0].measure.kind,
        "folds": {e.fold.name: t.to_dict() for e, t in zip(own, found, strict=True)},
        "mean_over_folds": None if mean is None else mean.to_dict(),
        "curves": {
            name: {
                "points": [point_dict(point) for point in points],
                "pays_from": {
                    method: pays_from(points, method)
                    for method in dict.fromkeys(point.method for point in points)
                },
            }
            for name, points in curves.items()
        },
    }
