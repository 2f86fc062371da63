"""Run a whole transfer table: every cell cached, resumable, the test split read at the end.

A table is rows x (pretraining seed, label subset) pairs x learning rates. Each run is scored on
validation; when all are done, each row's learning rate is chosen there, and the chosen runs, only
they, are scored on the test split in one pass.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from densecl.errors import UsageError
from densecl.files import read_json, write_atomically, write_json
from densecl.transfer.cells import Cell, CellStore, data_fingerprint, digest
from densecl.transfer.identity import Identity, identity_of
from densecl.transfer.selection import Items, Selection
from densecl.transfer.statistics import Pair
from densecl.transfer.study import Protocol, RowSpec, Study, plain
from densecl.transfer.subsets import Subset
from densecl.transfer.table import Row, Table, mean_by_class, mean_curves, summed_confusion


def run_table(
    rows: Sequence[RowSpec],
    protocol: Protocol,
    subsets: Sequence[Subset],
    seeds: Sequence[int],
    out_dir: str | Path,
    *,
    train: Items | None,
    val: Items,
    test: Items | Callable[[], Items] | None = None,
    max_hours: float | None = None,
    resume: bool = True,
    world_version: str = "",
    demo: bool = False,
    rate: str | None = None,
    device: str | torch.device = "cpu",
    log: Callable[[str], None] = print,
) -> Table:
    """Run what is missing of a table and return it; it is also written into ``out_dir``.

    Args:
        rows: the rows, among them the protocol's reference.
        protocol: what all rows share.
        subsets: label subsets of ``train``; the same for every row.
        seeds: pretraining seeds; also the seed of head, crops and dropout, so that the rows of
            a pair differ in their starting weights alone.
        out_dir: gets ``cells/``, ``summary.json``, ``table.md`` and, where runs score single items,
            ``items.json``.
        train, val: labelled data sets; no ``train`` where the runs learn from no labels.
        test: the test split, or a function that opens it; it is touched when the table is
            complete and not before. None scores on validation.
        max_hours: stop before a run that would not fit, leaving an unfinished table.
        resume: use finished runs found in ``out_dir``; False repeats all.
        world_version: version of generated data.
        demo: mark the table as too small to mean anything.
        rate: what the grid is of; None = as the runs tell.
        device: where to run.
        log: takes progress lines.

    Raises:
        UsageError: rows without the reference, a name twice, no pair, an empty grid, missing
            weights or a subset of other data; all before the first run.
    """
    study = prepare(
        rows,
        protocol,
        subsets,
        seeds,
        out_dir,
        train=train,
        val=val,
        resume=resume,
        device=device,
    )
    run_cells(study, max_hours, log)
    about: dict[str, Any] = {"world_version": world_version, "demo": demo, "rate": rate}
    return write_table(study, Path(out_dir), test=test, log=log, **about)


def prepare(
    rows: Sequence[RowSpec],
    protocol: Protocol,
    subsets: Sequence[Subset],
    seeds: Sequence[int],
    out_dir: str | Path,
    *,
    train: Items | None,
    val: Items,
    resume: bool = True,
    device: str | torch.device = "cpu",
) -> Study:
    """A checked table on its way, of which nothing is run yet; see ``run_table``."""
    check_rows(rows, protocol)
    pairs = protocol.pairs(seeds, subsets)
    store = CellStore(Path(out_dir) / "cells")
    study = Study(rows, protocol, pairs, train, val, store, device, resume)
    _check_inputs(study)
    return study


def write_table(
    study: Study,
    out: Path,
    *,
    test: Items | Callable[[], Items] | None = None,
    world_version: str = "",
    demo: bool = False,
    rate: str | None = None,
    share: str = "",
    classes: Sequence[str] = (),
    identity: Identity | None = None,
    pretraining_seconds: Mapping[str, float] | None = None,
    log: Callable[[str], None] = print,
) -> Table:
    """The table of the runs that are done, with the test split if they all are.

    Args:
        study: the table.
        out: gets ``summary.json``, ``table.md`` and the ledger of test reads.
        test, world_version, demo, log: see ``run_table``.
        rate: what the grid is of; None = as the runs tell.
        share: of the labels, for titles.
        classes: names, where the runs score classes.
        identity: of the protocol; None = as far as the runs tell.
        pretraining_seconds: row -> what its weights cost, where the rows do not say it.
    """
    finished, protocol = study.count(), study.protocol
    rate = study.rate if rate is None else rate
    held_out: dict[str, dict[str, Any]] = {}
    reads = 0
    if finished == study.total() and test is not None:
        dataset = test() if callable(test) else test
        held_out, reads = _read_test(study, dataset, out, log)
    table = Table(
        rows=[_row(study, row, held_out) for row in study.rows],
        reference=protocol.reference,
        protocol=_protocol_dict(study, rate),
        split="test" if held_out else "validation",
        cells=(finished, study.total()),
        test_reads=reads,
        world_version=world_version,
        demo=demo,
        level=protocol.level,
        rate=rate,
        columns=study.columns,
        share=share,
        classes=tuple(classes),
        identity=identity or identity_of(study),
    )
    for row in table.rows:
        row.pretraining_seconds += (pretraining_seconds or {}).get(row.name, 0.0)
    table.seconds = {
        "finetuning": math.fsum(row.seconds for row in table.rows),
        "pretraining": math.fsum(row.pretraining_seconds for row in table.rows),
    }
    write_json(out / "summary.json", table.to_dict())
    if items := _items(study, held_out):
        write_json(out / "items.json", {"split": table.split, "rows": items})
    markdown = table.to_markdown()
    write_atomically(
        out / "table.md", lambda temporary: temporary.write_text(markdown, encoding="utf-8")
    )
    return table


def check_rows(rows: Sequence[RowSpec], protocol: Protocol) -> None:
    """Refuse rows without the reference or with a name twice, and an empty grid.

    Raises:
        UsageError: any of them.
    """
    names = [row.name for row in rows]
    if len(set(names)) != len(names):
        raise UsageError(f"row names {names}", needed="each name once")
    if protocol.reference not in names:
        raise UsageError(
            f"no row is named {protocol.reference!r}, which differences are taken to",
            needed=f"one of {names}",
            fix="add the scratch row, or set the protocol's reference",
        )
    if not protocol.learning_rates:
        raise UsageError("the grid of learning rates is empty", fix="give at least one rate")


def _check_inputs(study: Study) -> None:
    """Everything a run will read is there, before the first one starts."""
    names = [(seed, subset.name) for seed, subset in study.pairs]
    if not names:
        raise UsageError("no (pretraining seed, label subset) pair", fix="give at least one each")
    if len(set(names)) != len(names):
        raise UsageError(
            f"(pretraining seed, label subset) pairs {names}",
            needed="each pair once; subsets of different content need different names",
        )
    for pair in study.pairs:
        if study.train is not None:
            pair[1].indices(study.train)
        for row in study.rows:
            study.cell(row, pair, study.protocol.learning_rates[0])


def run_cells(
    study: Study,
    max_hours: float | None = None,
    log: Callable[[str], None] = print,
    refuse: Callable[[str, UsageError], None] | None = None,
) -> bool:
    """Run missing cells, pair by pair so that early stops leave whole pairs.

    Args:
        study: the table.
        max_hours: stop before a run that would not fit.
        log: takes progress lines.
        refuse: takes the name of a row whose weights turn out to be unfit in its first run, and
            why; the row is then left out of the study. Without it, or if the row is the
            reference, the error is raised.

    Returns:
        Whether all are done.
    """
    began, total = time.monotonic(), study.total()
    done, fresh = 0, 0
    for position, pair in enumerate(study.pairs):
        for row in list(study.rows):
            for lr in study.rates(row, position) or ():
                cell = study.cell(row, pair, lr)
                if study.result(cell) is not None:
                    done += 1
                    continue
                elapsed = time.monotonic() - began
                each = elapsed / fresh if fresh else 0.0
                if max_hours is not None and elapsed + each > max_hours * 3600:
                    log(f"stopped at the time limit: {done} of {total} cells")
                    return False
                try:
                    study.run(row, pair, cell)
                except UsageError as error:
                    if refuse is None or row.name == study.protocol.reference:
                        raise
                    study.rows = [other for other in study.rows if other is not row]
                    total = study.total()
                    refuse(row.name, error)
                    break
                done, fresh = done + 1, fresh + 1
                elapsed = time.monotonic() - began
                left = elapsed / fresh * (total - done)
                said = _said(study, cell, lr)
                log(
                    f"[{done}/{total}] {row.name}, seed {pair[0]}, {pair[1].name}{said}"
                    f" ({elapsed / fresh:.1f} s a run, {clock(left)} left)"
                )
    return True


def _said(study: Study, cell: Cell, lr: float) -> str:
    """What a progress line says of a run."""
    result = study.results[cell.key()]
    first, score = study.columns[0], study.score(result)
    number = "-" if score is None else f"{score:.{first.digits}f}"
    said = f", {study.rate} {lr:g}" if study.rate else ""
    said += f": val {first.title} {number}"
    if cell.spec.steps:
        said += f", features loaded to within {result['feature_difference']:.1g}"
    return said


def clock(seconds: float) -> str:
    """A duration for people."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s"


def _chosen(study: Study, row: RowSpec) -> list[tuple[tuple[int, Subset], Cell]]:
    """A row's finished runs at its chosen learning rate."""
    choice = study.choice(row)
    if choice is None:
        return []
    cells = [
        (pair, study.cell(row, pair, choice.lr))
        for pair in study.pairs
        if study.ready(row, pair[0])
    ]
    return [(pair, cell) for pair, cell in cells if study.result(cell) is not None]


def _read_test(
    study: Study, dataset: Items, out: Path, log: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], int]:
    """Score the chosen runs on the test split in one pass.

    Returns:
        cell key -> result; and how many tables of this folder have read the split.
    """
    chosen = [(row, *each) for row in study.rows for each in _chosen(study, row)]
    data = data_fingerprint(dataset)
    table = digest([data, sorted(cell.key() for _, _, cell in chosen)])
    ledger = out / "test_reads.json"
    reads: list[str] = read_json(ledger) or []
    if table not in reads:
        # written before the read: an interrupted pass that is taken up again is the same read
        reads.append(table)
        write_json(ledger, reads)
    results: dict[str, dict[str, Any]] = {}
    waiting = []
    for row, pair, cell in chosen:
        known = study.store.test_result(cell, data) if study.resume else None
        if known is None:
            waiting.append((row, pair, cell))
        else:
            results[cell.key()] = known
    began, selections = time.monotonic(), {}
    for done, (row, pair, cell) in enumerate(waiting, 1):
        own = row.name if row.task else ""
        if own not in selections:
            selections[own] = cell.spec.select(dataset)
        result = _score(study, row, pair, cell, selections[own])
        study.store.save_test_result(cell, data, result)
        results[cell.key()] = result
        each = (time.monotonic() - began) / done
        log(
            f"[test {done}/{len(waiting)}] {row.name}, seed {pair[0]}, {pair[1].name}"
            f" ({each:.1f} s a run, {clock(each * (len(waiting) - done))} left)"
        )
    for row, (position, pair) in itertools.product(study.rows, enumerate(study.pairs)):
        for lr in study.rates(row, position) or ():
            cell = study.cell(row, pair, lr)
            if cell.key() not in results:
                study.store.drop_weights(cell)
    log(f"test split: {len(chosen)} runs scored")
    return results, len(reads)


def _score(
    study: Study, row: RowSpec, pair: tuple[int, Subset], cell: Cell, items: Selection
) -> dict[str, Any]:
    """Result of a finished run on other items; repeats the run if its weights were not kept."""
    weights = study.store.weights(cell)
    if weights is None:
        trained = study.run(row, pair, cell)
    else:
        init = row.init_for(pair[0])
        trained = cell.spec.restore(weights, init, seed=pair[0], device=study.device)
    result = cell.spec.score(trained, items, study.device)
    on_validation = study.results[cell.key()]
    if on_validation["diverged"]:
        # what was trained has no weights worth scoring: it keeps the scores of a diverged run
        result |= {column.key: on_validation.get(column.key) for column in study.columns}
    return plain(result)


def _row(study: Study, row: RowSpec, held_out: dict[str, dict[str, Any]]) -> Row:
    """A row of the table; scores are the test split's where it has been read."""
    chosen = _chosen(study, row)
    runs = [study.results[cell.key()] for _, cell in chosen]
    scored = [held_out.get(cell.key(), run) for (_, cell), run in zip(chosen, runs, strict=True)]
    pairs: list[Pair] = [(seed, subset.name) for (seed, subset), _ in chosen]
    numbers: dict[str, dict[Pair, float]] = {
        column.key: {
            pair: result[column.key]
            for pair, result in zip(pairs, scored, strict=True)
            if result.get(column.key) is not None
        }
        for column in study.columns
    }
    first, *others = study.columns
    done = {
        study.cell(row, pair, lr).key(): result
        for position, pair in enumerate(study.pairs)
        for lr in study.rates(row, position) or ()
        if (result := study.finished(row, pair, lr)) is not None
    }
    return Row(
        name=row.name,
        scores=numbers[first.key],
        choice=study.choice(row),
        more={column.key: numbers[column.key] for column in others},
        iou=mean_by_class(scored, "iou"),
        ap=mean_by_class(scored, "ap_per_class"),
        confusion=summed_confusion(scored),
        curves=mean_curves(scored),
        steps=study.spec(row, 0.0).steps,
        diverged=sum(run["diverged"] for run in runs),
        feature_difference=max((run["feature_difference"] for run in runs), default=0.0),
        seconds=math.fsum(math.fsum(run["seconds"].values()) for run in done.values()),
        pretraining_seconds=row.pretraining_seconds,
        notes=row.notes,
        trained=(chosen[0][1].spec, study.store.weights_path(chosen[0][1])) if chosen else None,
    )


def _items(study: Study, held_out: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Row -> pair -> item -> scores, where the runs scored single items."""
    found: dict[str, dict[str, Any]] = {}
    for row in study.rows:
        for (seed, subset), cell in _chosen(study, row):
            result = held_out.get(cell.key(), study.results[cell.key()])
            if "items" in result:
                found.setdefault(row.name, {})[f"seed{seed}, {subset.name}"] = result["items"]
    return found


def _protocol_dict(study: Study, rate: str) -> dict[str, Any]:
    protocol = study.protocol
    spec = protocol.spec.to_dict()
    spec.pop("lr", None)
    return {
        {"lr": "finetune", "decay": "probe"}.get(rate, "run"): spec,
        "learning_rates": list(protocol.learning_rates) if rate else [],
        "selection": protocol.selection,
        "pairing": protocol.pairing,
        "pairs": [[seed, subset.name] for seed, subset in study.pairs],
        "subset_sizes": {subset.name: len(subset.items) for _, subset in study.pairs},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
