"""From checkpoints and a protocol file to finished tables: rows, controls, label subsets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from densecl.engine.device import pick_device
from densecl.errors import UsageError
from densecl.transfer.controls import permuted_within_layers, scratch_long_steps
from densecl.transfer.kind import Checkpoints, Kind
from densecl.transfer.of_images import PICTURES
from densecl.transfer.protocol_file import ProtocolFile
from densecl.transfer.run import run_table
from densecl.transfer.study import Protocol, RowSpec
from densecl.transfer.subsets import Subset, draw_for, write_subset
from densecl.transfer.table import Table
from densecl.transfer.task import Task
from densecl.weights import read_weights


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

    Raises:
        UsageError: no checkpoint, rows with different backbones, or bad files.
    """
    if not checkpoints:
        raise UsageError("no checkpoint", needed="at least one row to compare with scratch")
    train, val = protocol.dataset("train"), protocol.dataset("val")
    spec = kind.task(protocol, checkpoints, len(train.classes), device)
    maker = _Controls(kind, checkpoints, spec, protocol, train, log)
    reference = "scratch" if spec.steps else "random"
    rows = [RowSpec(reference), *maker.rows(kind.controls if controls is None else controls)]
    rows += [RowSpec(name, init=dict(files)) for name, files in checkpoints.items()]
    shared = Protocol(
        spec,
        protocol.learning_rates,
        reference=reference,
        selection=protocol.selection,  # type: ignore[arg-type]
        pairing=protocol.pairing,  # type: ignore[arg-type]
    )
    place = pick_device(device)
    tables = {}
    for fraction in fractions or protocol.fractions:
        folder = out / f"{fraction * 100:g}pct"
        tables[fraction] = run_table(
            rows,
            shared,
            _listed_subsets(protocol, train, fraction, folder),
            protocol.seeds,
            folder,
            train=train,
            val=val,
            test=(lambda: protocol.dataset("test")) if test and "test" in protocol.data else None,
            max_hours=max_hours,
            world_version=str(getattr(train, "version", "")),
            demo=demo,
            rate=protocol.rate,
            device=place,
            log=log,
        )
        kind.finish(rows, tables[fraction], folder, val, log)
    return tables


def _listed_subsets(
    protocol: ProtocolFile, train: Any, fraction: float, folder: Path
) -> list[Subset]:
    """The label subsets, written out as the files that every row of the table uses."""
    drawn = draw_for(train, [fraction], protocol.subset_seeds, blocks=protocol.blocks)[fraction]
    for subset in drawn:
        notes = {"fraction": fraction, "blocks": protocol.blocks, "of": len(train)}
        write_subset(folder / "subsets" / f"{subset.name}.txt", subset, notes)
    return drawn


@dataclass(frozen=True)
class _Controls:
    """Makes the control rows of a table from its first checkpoint."""

    kind: Kind
    checkpoints: Checkpoints
    task: Task
    protocol: ProtocolFile
    train: Any
    log: Callable[[str], None]

    def rows(self, names: Sequence[str]) -> Iterator[RowSpec]:
        for name in names:
            if name not in self.kind.controls:
                raise UsageError(
                    f"control {name!r}", needed="one of " + ", ".join(self.kind.controls)
                )
            row = self._row(name)
            if row is not None:
                yield row

    def _row(self, control: str) -> RowSpec | None:
        name, files = next(iter(self.checkpoints.items()))
        if control == "scratch-long":
            return self._scratch_long(name, next(iter(files.values())))
        if control == "batchnorm":
            if "unlabelled" not in self.protocol.data:
                self.log("no batchnorm row: the protocol names no unlabelled data")
                return None
            weights = self.kind.random_reestimated(
                self.task, lambda: self.protocol.dataset("unlabelled")
            )
            return RowSpec("random, batch norm re-estimated", init=weights)
        if control == "permuted":
            return RowSpec(f"{name}, permuted", init=_permuted(files, self.kind.load))
        return self.kind.control(control, self.task, self.train)

    def _scratch_long(self, name: str, path: Path) -> RowSpec | None:
        if not self.task.steps:
            return None  # a probe has no steps to add to
        data = read_weights(path).data
        spent = self.kind.pretraining_cost(data) if data.get("kind") == "pretrain" else None
        if spent is None:
            self.log(f"no scratch-long row: {name} does not say what its pretraining spent")
            return None
        each = self.kind.step_cost(self.task, self.train)
        steps = scratch_long_steps(self.task.steps, spent, each)
        return RowSpec("scratch-long", steps=steps, notes=f"with the compute of {name} added")


def _permuted(
    files: Mapping[int, Path], load: Callable[[Path], nn.Module]
) -> Callable[[int], dict[str, Tensor]]:
    @cache
    def weights(seed: int) -> dict[str, Tensor]:
        return permuted_within_layers(load(files[seed]).state_dict(), seed)

    return weights
