"""The tables of a study: for each fold, protocol and label fraction the rows and their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from densecl.engine.config import plain_config
from densecl.engine.device import pick_device
from densecl.errors import UsageError
from densecl.studies.config import (
    PERMUTED,
    RANDOM_REESTIMATED,
    UNLABELLED,
    Measure,
    StudyConfig,
)
from densecl.studies.folds import Fold
from densecl.studies.kind import FINETUNE
from densecl.studies.pretraining import Pretraining
from densecl.transfer.cells import CellStore, digest
from densecl.transfer.controls import permuted_within_layers, scratch_long_steps
from densecl.transfer.probe import ProbeSpec
from densecl.transfer.protocol_file import ProtocolFile, check_protocol
from densecl.transfer.run import check_rows
from densecl.transfer.study import Protocol, RowSpec, Study
from densecl.transfer.subsets import Subset, draw_for, write_subset
from densecl.transfer.task import Task

Cells = Mapping[tuple[str, int], Mapping[int, Pretraining]]
"""(row, steps) -> seed -> pretraining cell, of one fold."""
RandomStates = dict[str, Callable[[int], Any]]
"""Hash of what decides them -> seed -> random weights with re-estimated statistics."""


@dataclass
class StudyTable:
    """One table on its way.

    Attributes:
        fold, measure: what it is of.
        label: protocol and label share, e.g. ``finetune 5%``.
        study: its rows and runs.
        needs: row -> seed -> the pretraining that it starts from; rows that need none are absent.
        budgets: row -> (method, pretraining steps), of rows that are a method at a budget.
        folder: gets the table and its label subsets.
    """

    fold: Fold
    measure: Measure
    label: str
    study: Study
    needs: dict[str, Mapping[int, Pretraining]]
    budgets: dict[str, tuple[str, int]]
    folder: Path

    @property
    def rate(self) -> str:
        """What the grid is of."""
        return "lr" if self.measure.kind == FINETUNE else "decay"

    def write_subsets(self) -> None:
        """The label subsets as files, one image name a line."""
        notes = {
            "of": len(self.fold.dataset("train")),
            "blocks": self.measure.settings.get("blocks"),
        }
        for subset in dict.fromkeys(subset for _, subset in self.study.pairs):
            write_subset(self.folder / "subsets" / f"{slug(subset.name)}.txt", subset, notes)


def pretrainings(config: StudyConfig, fold: Fold, out: Path, device: str) -> Cells:
    """Every pretraining cell of a fold, each row's largest budget first.

    Raises:
        UsageError: a row's config is unknown or refuses its options.
    """
    found: dict[tuple[str, int], dict[int, Pretraining]] = {}
    for row in config.rows:
        for steps in reversed(row.budgets or (None,)):
            cells = {
                seed: Pretraining(row, fold, seed, steps, out, config.folder, device)
                for seed in config.seeds
            }
            length = next(iter(cells.values())).config["schedule"]["max_steps"]
            if length is None:
                raise UsageError(
                    f"row {row.name!r}: {row.pretrain} counts its length in epochs",
                    needed="steps, so that budgets compare",
                    fix="give budgets=(steps, ...)",
                )
            found[row.name, length] = cells
    return found


def study_tables(
    config: StudyConfig, fold: Fold, cells: Cells, out: Path, device: str
) -> Iterator[StudyTable]:
    """The tables of a fold, one for each protocol and label share.

    Args:
        config: the study.
        fold: the data.
        cells: the fold's pretraining cells.
        out: the study's folder.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UsageError: rows of different backbones, bad settings or subsets.
    """
    random_states: RandomStates = {}
    for measure in config.protocols:
        protocol, task = _task(config, measure, fold, cells, device)
        chosen = [key for key in cells if key[0] in measure.rows]
        chosen = [key for key in chosen if not measure.budgets or key[1] in measure.budgets]
        if not chosen:
            raise UsageError(f"protocol {measure.name!r} has no row at its budgets")
        rows, needs, budgets = _rows(measure, fold, cells, chosen, task, random_states)
        shared = Protocol(
            task,
            protocol.learning_rates,
            reference=measure.reference,
            selection=protocol.selection,  # type: ignore[arg-type]
            pairing="product" if measure.every else protocol.pairing,  # type: ignore[arg-type]
        )
        check_rows(rows, shared)
        for share, subsets in _subsets(measure, protocol, fold.dataset("train")):
            study = Study(
                rows,
                shared,
                shared.pairs(config.seeds, subsets),
                fold.dataset("train"),
                fold.dataset("val"),
                CellStore(out / "cells"),
                pick_device(device),
                resume=True,
            )
            label = f"{measure.name} {share}"
            folder = out / "tables" / slug(fold.name, measure.name, share)
            yield StudyTable(fold, measure, label, study, needs, budgets, folder)


def slug(*names: str) -> str:
    """A file name for names."""
    text = "_".join(names).replace("%", "pct")
    return "".join(c if c.isalnum() or c in "._+-" else "-" for c in text)


def input_of(cell: Pretraining) -> dict[str, Any]:
    """Backbone and input of a pretraining, as fields of a run of transfer."""
    return cell.fold.kind.input_of(plain_config(cell.config), cell.row.name)


def _task(
    config: StudyConfig, measure: Measure, fold: Fold, cells: Cells, device: str
) -> tuple[ProtocolFile, Task]:
    """The checked settings of a protocol on a fold, and the run that they describe."""
    known: dict[str, Any] = {}
    first = ""
    for (name, _), by_seed in cells.items():
        if name not in measure.rows:
            continue
        found = input_of(next(iter(by_seed.values())))
        first, known = (first, known) if known else (name, found)
        if found != known:
            raise UsageError(
                f"rows {first!r} and {name!r} differ in backbone or input:\n  {known}\n  {found}",
                needed="one backbone in one table, so that the rows differ in weights alone",
                fix="name the rows of each protocol in its rows=(...), or make two studies",
            )
    settings = dict(measure.settings)
    settings.setdefault("subset_seeds", config.seeds)
    kind, probe = config.kind, {}
    if measure.kind != FINETUNE:
        probe = {key: settings.pop(key) for key in kind.probe_fields if key in settings}
        settings["learning_rates"] = settings.pop("decays", (ProbeSpec.decay,))
    data = {part: fold.config.data[part] for part in fold.parts}
    given = {**settings, "data": data, "seeds": config.seeds}
    protocol = check_protocol(f"protocol {measure.name!r}", given, kind=kind.transfer)
    if measure.kind == FINETUNE:
        return protocol, kind.finetune(protocol, known, fold.num_classes, device)
    return protocol, kind.probe(protocol, known, fold.num_classes, probe)


def _rows(
    measure: Measure,
    fold: Fold,
    cells: Cells,
    chosen: Sequence[tuple[str, int]],
    task: Task,
    random_states: RandomStates,
) -> tuple[list[RowSpec], dict[str, Mapping[int, Pretraining]], dict[str, tuple[str, int]]]:
    """Reference, controls, then each method at each budget."""
    rows = [RowSpec(measure.reference)]
    needs: dict[str, Mapping[int, Pretraining]] = {}
    budgets: dict[str, tuple[str, int]] = {}
    first = chosen[0]
    for control in measure.controls:
        if control == "scratch-long":
            config = plain_config(next(iter(cells[first].values())).config)
            spent = fold.kind.pretraining_cost(config, first[1])
            each = fold.kind.transfer.step_cost(task, fold.dataset("train"))
            assert each is not None  # a fine-tuning run, by its type
            steps = scratch_long_steps(task.steps, spent, each)
            note = f"with the compute of {first[0]} added"
            rows.append(RowSpec("scratch-long", steps=steps, notes=note))
        elif control == "batchnorm":
            rows.append(_reestimated_row(fold, task, random_states))
        elif control == "permuted":
            name = f"{first[0]}{PERMUTED}"
            needs[name] = cells[first]
            rows.append(_permuted_row(name, cells[first]))
        else:
            rows.append(fold.kind.transfer.control(control, task, fold.dataset("train")))
    largest = {name: max(s for n, s in chosen if n == name) for name, _ in chosen}
    for method, steps in chosen:
        name = method if steps == largest[method] else f"{method}, {steps} steps"
        needs[name], budgets[name] = cells[method, steps], (method, steps)
        notes = next(iter(cells[method, steps].values())).notes
        rows.append(_method_row(name, cells[method, steps], notes))
    return rows, needs, budgets


def _method_row(name: str, cells: Mapping[int, Pretraining], notes: str) -> RowSpec:
    return RowSpec(
        name,
        init=lambda seed: cells[seed].state(),
        fingerprint=lambda seed: cells[seed].fingerprint(),
        notes=notes,
    )


def _permuted_row(name: str, cells: Mapping[int, Pretraining]) -> RowSpec:
    def fingerprint(seed: int) -> str | None:
        found = cells[seed].fingerprint()
        return None if found is None else f"permuted:{found}:{seed}"

    return RowSpec(
        name,
        init=lambda seed: permuted_within_layers(cells[seed].state(), seed),
        fingerprint=fingerprint,
    )


def _reestimated_row(fold: Fold, task: Task, random_states: RandomStates) -> RowSpec:
    """Random weights whose batch norm has seen the fold's unlabelled data."""
    decides, weights = fold.kind.reestimated(
        task, fold.dataset("train"), lambda: fold.dataset(UNLABELLED)
    )
    data = str(fold.dataset(UNLABELLED).fingerprint())
    key = digest([*decides, data, torch.__version__])
    states = random_states.setdefault(key, weights)
    return RowSpec(
        RANDOM_REESTIMATED,
        init=states,
        # decided by these alone, so that it need not be computed to be looked up
        fingerprint=lambda seed: f"batchnorm:{key}:{seed}",
    )


def _subsets(
    measure: Measure, protocol: ProtocolFile, train: Any
) -> Iterator[tuple[str, list[Subset]]]:
    """(share in words, its label subsets)."""
    if measure.every:
        share = f"every {measure.every}"
        items = tuple(train.name(i) for i in range(0, len(train), measure.every))
        yield share, [Subset(share, items)]
        return
    drawn = draw_for(train, protocol.fractions, protocol.subset_seeds, blocks=protocol.blocks)
    for fraction, subsets in drawn.items():
        yield f"{fraction * 100:g}%", subsets
