"""Run a suite over rows: plan everything, then fill in what is missing, table by table."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from densecl.errors import UsageError
from densecl.evaluation.pace import Pace
from densecl.evaluation.record import Record
from densecl.evaluation.rows import OTHER_SEEDS, EvaluatedRow, Refused, loader
from densecl.evaluation.suite import Suite
from densecl.files import read_json, write_json
from densecl.transfer.cells import digest
from densecl.transfer.control_rows import Controls, Shared
from densecl.transfer.kind import Kind
from densecl.transfer.protocol_file import TASK, ProtocolFile, read_protocol
from densecl.transfer.run import clock
from densecl.transfer.study import RowSpec
from densecl.transfer.table import Table
from densecl.transfer.tables import (
    PlannedTable,
    num_classes,
    open_parts,
    plan_tables,
    reference_of,
    single_run,
)
from densecl.viz.tile import write_png
from densecl.weights.architecture import in_words

PICTURES, OF = "pictures", "of.json"


@dataclass(frozen=True)
class Settings:
    """How an evaluation is run.

    Attributes:
        kind: of data.
        out: folder of everything.
        controls: names of control rows; None = all that the kind has.
        test: read the test splits of finished tables.
        device: ``auto``, ``cpu`` or ``cuda``.
        data_root: folder that relative paths of data sets start from.
        overrides: ``key=value`` for the protocols; one that names a section is for protocols of
            that run alone.
        max_hours: stop before a run that would not fit.
        log: takes progress lines.
        command: (protocol or None) -> the command line that makes its tables, or everything.
    """

    kind: Kind
    out: Path
    controls: Sequence[str] | None = None
    test: bool = True
    device: str = "auto"
    data_root: Path | None = None
    overrides: Sequence[str] = ()
    max_hours: float | None = None
    log: Callable[[str], None] = print
    command: Callable[[str | None], str] = lambda protocol: ""


@dataclass
class Evaluation:
    """An evaluation on its way.

    Attributes:
        settings: how it is run.
        record: what it is of; it grows.
        tables: all planned tables, in order.
    """

    settings: Settings
    record: Record
    tables: list[PlannedTable] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Every run of every planned table is done."""
        return all(table.study.count() == table.study.total() for table in self.tables)

    def refuse(self, name: str, error: Exception) -> None:
        """Leave a row or a protocol out, and say so."""
        reason = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        refused = Refused(name, reason)
        if refused not in self.record.refused:
            self.record.refused.append(refused)
            self.settings.log(str(refused))


def plan(
    suite: Suite,
    rows: Sequence[EvaluatedRow],
    randoms: Sequence[str],
    refused: Sequence[Refused],
    settings: Settings,
) -> Evaluation:
    """Open the data, group the rows, set up every table; nothing is run.

    Args:
        suite: which protocols.
        rows: given ones that are whole.
        randoms: names of rows of random weights of the first row's backbone.
        refused: rows that are not.
        settings: how to run.

    Raises:
        UsageError: an override of a section that no protocol of the suite has.
    """
    record = Record(
        settings.out, suite.name, settings.command(None), rows, list(refused), randoms=randoms
    )
    evaluation = Evaluation(settings, record)
    shared, kind = Shared(), settings.kind
    check_overrides(settings.overrides, kind, suite)
    for source in suite.protocols:
        name = Path(source).name.removesuffix(".py")
        try:
            options = fitting(settings.overrides, source, kind, settings.data_root)
            protocol = read_protocol(source, options, settings.data_root, kind=kind)
            for row in rows:
                row.by_seed(protocol.seeds)
            tables = _plan_protocol(evaluation, protocol, rows, randoms, shared)
        except (UsageError, ModuleNotFoundError) as error:
            evaluation.refuse(f"protocol {name}", error)
            continue
        record.protocols.append((protocol, tables))
        evaluation.tables += [table for _, _, table in tables]
    return evaluation


def _plan_protocol(
    evaluation: Evaluation,
    protocol: ProtocolFile,
    rows: Sequence[EvaluatedRow],
    randoms: Sequence[str],
    shared: Shared,
) -> list[tuple[str, str, PlannedTable]]:
    """(title, command, table) of a protocol: for each backbone with its input and label share."""
    settings = evaluation.settings
    data = open_parts(protocol, settings.test)
    groups = _groups(evaluation, protocol, rows)
    planned = []
    for position, (known, members) in enumerate(groups):
        task = settings.kind.task_for(protocol, known, num_classes(data), settings.device)
        name, files = members[0].name, members[0].by_seed(protocol.seeds)
        maker = Controls(
            settings.kind,
            protocol,
            task,
            name,
            {seed: file.path for seed, file in files.items()},
            data.get("train"),
            settings.log,
            load=loader(members),
            shared=shared,
        )
        specs = [RowSpec(reference_of(task))]
        chosen = settings.controls
        specs += maker.rows(settings.kind.controls if chosen is None else chosen)
        if position == 0:
            specs += [_random_row(settings.kind, each, known) for each in randoms]
        specs += [_row(each, protocol.seeds) for each in members]
        title = in_words(known["backbone"]) if len(groups) > 1 else ""
        place = settings.out / protocol.name
        place = place / f"backbone{position + 1}" if title else place
        for table in plan_tables(
            protocol, task, specs, place, data, test=settings.test, device=settings.device
        ):
            planned.append((title, settings.command(protocol.name), table))
    return planned


def _groups(
    evaluation: Evaluation, protocol: ProtocolFile, rows: Sequence[EvaluatedRow]
) -> list[tuple[dict[str, Any], list[EvaluatedRow]]]:
    """Rows of one backbone and input together: they share a table and its reference.

    A row whose files differ among themselves, or whose input nobody tells, is refused.
    """
    groups: dict[str, tuple[dict[str, Any], list[EvaluatedRow]]] = {}
    for row in rows:
        try:
            found = [evaluation.settings.kind.known_for(f, row.told, protocol) for f in row.files]
            if any(digest(each) != digest(found[0]) for each in found):
                raise UsageError(
                    f"the files of row {row.name!r} differ in backbone or input",
                    needed="the pretraining seeds of one row to be of one network",
                    fix="give them as rows of their own",
                )
        except UsageError as error:
            evaluation.refuse(row.name, error)
            continue
        groups.setdefault(digest(found[0]), (found[0], []))[1].append(row)
    if not groups:
        raise UsageError("no row is left", fix="see why the rows were refused")
    return list(groups.values())


def _row(row: EvaluatedRow, seeds: Sequence[int]) -> RowSpec:
    files = row.by_seed(seeds)
    return RowSpec(
        row.name,
        init=lambda seed: row.init(files[seed]),
        fingerprint=lambda seed: row.fingerprint(files[seed]),
        notes=single_run([file.path for file in files.values()]),
    )


def _random_row(kind: Kind, name: str, known: Mapping[str, Any]) -> RowSpec:
    """Random weights of other seeds than the reference's: a row without any gain."""
    of = digest(known)
    return RowSpec(
        name,
        init=lambda seed: kind.random(known, seed + OTHER_SEEDS).state_dict(),
        fingerprint=lambda seed: f"random:{of}:{seed + OTHER_SEEDS}",
        notes="random weights of other seeds than the reference's",
    )


def check_overrides(overrides: Sequence[str], kind: Kind, suite: Suite) -> None:
    """Refuse an override of a section that no protocol of the suite has.

    Raises:
        UsageError: naming it.
    """
    sections = {_section(option) for option in overrides} & {*kind.runs, TASK}
    if not sections:
        return
    runs = set()
    for source in suite.protocols:
        try:
            runs.add(read_protocol(source, kind=kind).run)
        except UsageError:
            return  # it is refused by name later
    for section in sorted(sections - runs):
        raise UsageError(
            f"--cfg-options {section}....: no protocol of {suite.name!r} has that section",
            needed="one of " + ", ".join(sorted(runs)),
        )


def fitting(overrides: Sequence[str], source: str, kind: Kind, data_root: Path | None) -> list[str]:
    """The overrides that are meant for a protocol: those of other runs' sections are not."""
    run = read_protocol(source, (), data_root, kind=kind).run
    others = {*kind.runs, TASK} - {run}
    return [option for option in overrides if _section(option) not in others]


def _section(option: str) -> str:
    return option.partition("=")[0].partition(".")[0]


def describe(evaluation: Evaluation, pace: Pace) -> None:
    """Print what is planned and how far it is."""
    log = evaluation.settings.log
    for table in evaluation.tables:
        study = table.study
        done, total = study.count(), study.total()
        place = table.folder.relative_to(evaluation.settings.out)
        names = " | ".join(row.name for row in study.rows)
        log(f"{place}: {done} of {total} runs done; protocol {table.identity.hash}\n    {names}")
    log(pace.left(evaluation.tables))


def run(evaluation: Evaluation) -> None:
    """Fill in what is missing; every table is written as soon as it is run."""
    settings, record = evaluation.settings, evaluation.record
    began, pace = time.monotonic(), Pace()
    record.write()
    for number, table in enumerate(evaluation.tables, 1):
        place = table.folder.relative_to(settings.out)
        settings.log(
            f"\n[{number} of {len(evaluation.tables)}] {place}: {table.study.count()} of"
            f" {table.study.total()} runs done; {pace.left(evaluation.tables[number - 1 :])}"
        )
        hours = settings.max_hours
        if hours is not None:
            hours = max(0.0, hours - (time.monotonic() - began) / 3600)
        try:
            found = table.run(hours, settings.log, evaluation.refuse)
            settings.log(f"\n{found.to_markdown()}")
            _draw(evaluation, table, found)
        except Exception as error:  # one protocol's failure must not cost the others' hours
            evaluation.refuse(f"protocol {place}", error)
            if not isinstance(error, UsageError):
                settings.log(traceback.format_exc())
        pace.learn(table)
        table.study.release()
        record.write()
    settings.log(f"{clock(time.monotonic() - began)} in all")


def _draw(evaluation: Evaluation, table: PlannedTable, found: Table) -> None:
    """The pictures of a finished table, unless they are there already."""
    if not found.complete:
        return
    folder = table.folder / PICTURES
    runs = [[row.name, sorted(row.scores.items())] for row in found.rows]
    of = digest([table.identity.hash, found.split, runs])
    if read_json(folder / OF) == of:
        return
    scored = table.test() if found.split == "test" and table.test else table.study.val
    try:
        drawn = evaluation.settings.kind.pictures(table.study, found, scored)
    except Exception as error:  # the numbers stand without pictures
        evaluation.settings.log(f"no pictures of {table.folder}: {type(error).__name__}: {error}")
        return
    for stem, picture in drawn.items():
        write_png(folder / f"{stem}.png", picture)
    if drawn:
        write_json(folder / OF, of)
