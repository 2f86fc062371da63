"""From checkpoints and a protocol file to finished tables: rows, controls, label subsets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densecl.engine.device import pick_device
from densecl.errors import UsageError
from densecl.transfer.control_rows import Controls
from densecl.transfer.identity import Identity
from densecl.transfer.kind import Checkpoints, Kind
from densecl.transfer.of_images import PICTURES
from densecl.transfer.protocol_file import ProtocolFile
from densecl.transfer.run import prepare, run_cells, write_table
from densecl.transfer.study import Protocol, RowSpec, Study
from densecl.transfer.subsets import Subset, draw_for, write_subset
from densecl.transfer.table import ALL, Table
from densecl.transfer.task import Task


@dataclass
class PlannedTable:
    """A table that is ready to run.

    Attributes:
        protocol, identity: what its numbers are of.
        fraction: of the labels; 1 where none are learned from.
        folder: gets cells, table and label subsets.
        study: its rows and runs.
        test: opens the test split, None = scores stay on validation.
        demo: mark it as too small to mean anything.
    """

    protocol: ProtocolFile
    identity: Identity
    fraction: float
    folder: Path
    study: Study
    test: Callable[[], Any] | None
    demo: bool = False

    @property
    def share(self) -> str:
        """The fraction in words; ``all`` where no labels are learned from."""
        return share_of(self.protocol, self.fraction)

    def run(
        self,
        max_hours: float | None = None,
        log: Callable[[str], None] = print,
        refuse: Callable[[str, UsageError], None] | None = None,
    ) -> Table:
        """Run what is missing and write the table; see ``run_cells``."""
        self.write_subsets()
        run_cells(self.study, max_hours, log, refuse)
        return self.write(log)

    def write_subsets(self) -> None:
        """The label subsets, as the files that every row of the table uses."""
        if not self.protocol.learns:
            return
        of = {"blocks": self.protocol.blocks, "of": len(self.study.train or ())}
        for subset in dict.fromkeys(subset for _, subset in self.study.pairs):
            notes = {"fraction": self.fraction, **of}
            write_subset(self.folder / "subsets" / f"{subset.name}.txt", subset, notes)

    def write(self, log: Callable[[str], None] = print) -> Table:
        """The table of the runs that are done."""
        labelled: Any = self.study.val if self.study.train is None else self.study.train
        return write_table(
            self.study,
            self.folder,
            test=self.test,
            world_version=str(getattr(labelled, "version", "")),
            demo=self.demo,
            rate=self.protocol.rate,
            share=self.share,
            classes=tuple(getattr(labelled, "classes", None) or ()),
            identity=self.identity,
            log=log,
        )


def transfer_tables(
    protocol: ProtocolFile,
    checkpoints: Checkpoints,
    out: Path,
    *,
    kind: Kind = PICTURES,
    controls: Sequence[str] | None = None,
    fractions: Sequence[float] | None = None,
    test: bool = True,
    max_hours: float | None = None,
    device: str = "auto",
    demo: bool = False,
    log: Callable[[str], None] = print,
) -> dict[float, Table]:
    """Run one table for each label fraction: scratch, the controls, the checkpoints.

    Args:
        protocol: what all rows share.
        checkpoints: row name -> pretraining seed -> weight file. Control rows are made from the
            first row's.
        out: one folder a fraction is made in it, with cells, table and label subsets.
        kind: what the table is of.
        controls: names from ``kind.controls``; None = all of them.
        fractions: of the labels; None = the protocol's.
        test: read the test split once the table is complete, if the protocol names one.
        max_hours: for each table.
        device: ``auto`` takes a GPU if there is one.
        demo: mark the tables as too small to mean anything.
        log: takes progress lines.

    Returns:
        Fraction -> table; the one table of runs that learn from no labels stands under 1.

    Raises:
        UsageError: no checkpoint, rows with different backbones, or bad files.
    """
    if not checkpoints:
        raise UsageError("no checkpoint", needed="at least one row to compare with scratch")
    data = open_parts(protocol, test)
    task = kind.task(protocol, checkpoints, num_classes(data), device)
    name, files = next(iter(checkpoints.items()))
    maker = Controls(kind, protocol, task, name, files, data.get("train"), log)
    rows = [RowSpec(reference_of(task))]
    rows += maker.rows(kind.controls if controls is None else controls)
    rows += [
        RowSpec(name, init=dict(files), notes=single_run(list(files.values())))
        for name, files in checkpoints.items()
    ]
    planned = plan_tables(
        protocol, task, rows, out, data, fractions=fractions, test=test, device=device, demo=demo
    )
    tables = {}
    for each in planned:
        table = tables[each.fraction] = each.run(max_hours, log)
        kind.finish(rows, table, each.folder, data["val"], log)
    return tables


def plan_tables(
    protocol: ProtocolFile,
    task: Task,
    rows: Sequence[RowSpec],
    out: Path,
    data: dict[str, Any],
    *,
    fractions: Sequence[float] | None = None,
    test: bool = True,
    device: str = "auto",
    demo: bool = False,
) -> Iterator[PlannedTable]:
    """The tables of one protocol and one backbone, checked, of which nothing is run yet.

    Args:
        protocol, task: from ``kind.task_for``.
        rows: among them the reference.
        out: gets a folder for each table.
        data: from ``open_parts``.
        fractions, test, device, demo: see ``transfer_tables``.

    Raises:
        UsageError: see ``run_table``.
    """
    shared = Protocol(
        task,
        protocol.learning_rates,
        reference=reference_of(task),
        selection=protocol.selection if protocol.rate else "all",  # type: ignore[arg-type]
        pairing=protocol.pairing if protocol.learns else "product",  # type: ignore[arg-type]
    )
    train, val = data.get("train"), data["val"]
    identity = protocol.identity(task, data)
    for fraction in (fractions or protocol.fractions) if protocol.learns else (1.0,):
        folder = out / share_of(protocol, fraction).replace("%", "pct")
        study = prepare(
            rows,
            shared,
            _subsets(protocol, train, fraction),
            protocol.seeds,
            folder,
            train=train,
            val=val,
            device=pick_device(device),
        )
        opened = (lambda: data["test"]) if test and "test" in data else None
        yield PlannedTable(protocol, identity, fraction, folder, study, opened, demo)


def share_of(protocol: ProtocolFile, fraction: float) -> str:
    """A label fraction in words."""
    return f"{fraction * 100:g}%" if protocol.learns else ALL


def reference_of(task: Task) -> str:
    """Name of the row that differences are taken to."""
    return "scratch" if task.steps else "random"


def single_run(files: Sequence[Path]) -> str:
    """What to say of a row whose one file serves all seeds; empty otherwise."""
    if len(files) > 1 and len(set(files)) == 1:
        return "one pretraining run, whose spread is not in the interval"
    return ""


def open_parts(protocol: ProtocolFile, test: bool = True) -> dict[str, Any]:
    """Part -> data set, of those that decide the protocol's numbers.

    Args:
        protocol: names them.
        test: the test split will be read; else it may be missing.
    """
    data: dict[str, Any] = {}
    for part in ("train", "val", "test"):
        if part not in protocol.data:
            continue
        try:
            data[part] = protocol.dataset(part)
        except UsageError:
            if part != "test" or test:
                raise
    return data


def num_classes(data: dict[str, Any]) -> int:
    """Of labelled data; 0 where they have no classes."""
    return len(getattr(data.get("train", data["val"]), "classes", None) or ())


def _subsets(protocol: ProtocolFile, train: Any, fraction: float) -> list[Subset]:
    if not protocol.learns:
        items = () if train is None else tuple(train.name(i) for i in range(len(train)))
        return [Subset(ALL, items)]
    return draw_for(train, [fraction], protocol.subset_seeds, blocks=protocol.blocks)[fraction]
