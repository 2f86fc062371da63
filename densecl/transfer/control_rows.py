"""The control rows of a table, made from its first checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densecl.errors import UsageError
from densecl.transfer.cells import data_fingerprint, digest, init_fingerprint
from densecl.transfer.controls import permuted_within_layers, scratch_long_steps
from densecl.transfer.identity import ROW
from densecl.transfer.kind import Kind
from densecl.transfer.protocol_file import ProtocolFile
from densecl.transfer.study import RowSpec
from densecl.transfer.task import Task
from densecl.weights import read_weights

REESTIMATED = "random, batch norm re-estimated"
PERMUTED = ", permuted"

Weights = Callable[[int], dict[str, Tensor]]
"""Seed -> state of a backbone."""


@dataclass
class Shared:
    """Weights of control rows that several tables start from; they are made when first needed.

    Attributes:
        states: hash of all that decides random weights with re-estimated statistics -> weights.
        permuted: files of a row -> their permuted weights.
    """

    states: dict[str, Weights] = field(default_factory=dict)
    permuted: dict[tuple[tuple[int, Path], ...], Weights] = field(default_factory=dict)


@dataclass(frozen=True)
class Controls:
    """Makes the control rows of a table.

    Attributes:
        kind, protocol, task: of the table.
        name, files: of its first checkpoint: pretraining seed -> weight file.
        train: the labelled data set, None where none is learned from.
        log: takes why a row is missing.
        load: from a file to a backbone; None = the kind's.
        shared: keeps weights between tables, and spares making them where the results are known;
            None = each table makes its own.
    """

    kind: Kind
    protocol: ProtocolFile
    task: Task
    name: str
    files: Mapping[int, Path]
    train: Any
    log: Callable[[str], None]
    load: Callable[[Path], nn.Module] | None = None
    shared: Shared | None = None

    def rows(self, names: Sequence[str]) -> Iterator[RowSpec]:
        """The rows of these controls, as far as they can be made.

        Raises:
            UsageError: a control that the kind does not have.
        """
        for name in names:
            if name not in self.kind.controls:
                raise UsageError(
                    f"control {name!r}", needed="one of " + ", ".join(self.kind.controls)
                )
            row = self._row(name)
            if row is not None:
                yield row

    def _row(self, control: str) -> RowSpec | None:
        if control == "scratch-long":
            return self._scratch_long(next(iter(self.files.values())))
        if control == "batchnorm":
            return self._reestimated()
        if control == "permuted":
            return self._permuted()
        return self.kind.control(control, self.task, self.train)

    def _reestimated(self) -> RowSpec | None:
        if "unlabelled" not in self.protocol.data:
            self.log("no batchnorm row: the protocol names no unlabelled data")
            return None

        def unlabelled() -> Any:
            return self.protocol.dataset("unlabelled")

        if self.shared is None:
            weights = self.kind.random_reestimated(self.task, unlabelled)
            return RowSpec(REESTIMATED, init=weights)
        decides = _input_of(self.task.to_dict()) | {
            "settings": {k: v for k, v in self.task.to_dict().items() if k in ("crop", "resize")},
            "data": data_fingerprint(unlabelled()),
            "torch": torch.__version__,
        }
        key = digest(decides)
        if key not in self.shared.states:
            self.shared.states[key] = self.kind.random_reestimated(self.task, unlabelled)
        return RowSpec(
            REESTIMATED,
            init=self.shared.states[key],
            # decided by these alone, so that it need not be computed to be looked up
            fingerprint=lambda seed: f"batchnorm:{key}:{seed}",
        )

    def _permuted(self) -> RowSpec:
        name, load = f"{self.name}{PERMUTED}", self.load or self.kind.load
        if self.shared is None:
            return RowSpec(name, init=permuted(self.files, load))
        fingerprints = {path: init_fingerprint(path) for path in set(self.files.values())}
        key = tuple(self.files.items())
        return RowSpec(
            name,
            init=self.shared.permuted.setdefault(key, permuted(self.files, load)),
            fingerprint=lambda seed: f"permuted:{fingerprints[self.files[seed]]}:{seed}",
        )

    def _scratch_long(self, path: Path) -> RowSpec | None:
        if not self.task.steps:
            return None  # a run on frozen features has no steps to add to
        data = read_weights(path).data
        spent = self.kind.pretraining_cost(data) if data.get("kind") == "pretrain" else None
        if spent is None:
            self.log(f"no scratch-long row: {self.name} does not say what its pretraining spent")
            return None
        each = self.kind.step_cost(self.task, self.train)
        if each is None:
            self.log("no scratch-long row: the cost of a step is not known")
            return None
        steps = scratch_long_steps(self.task.steps, spent, each)
        return RowSpec("scratch-long", steps=steps, notes=f"with the compute of {self.name} added")


def _input_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Backbone and input among the settings of a run, wherever they stand."""
    found = {name: value for name, value in settings.items() if name in ROW}
    for name, value in settings.items():
        if isinstance(value, Mapping) and name not in ROW:
            kept = {*ROW, "resize"}
            found |= {f"{name}.{k}": v for k, v in value.items() if k in kept}
    return found


def permuted(files: Mapping[int, Path], load: Callable[[Path], nn.Module]) -> Weights:
    """The weights of each seed's file, permuted within layers."""

    @cache
    def weights(seed: int) -> dict[str, Tensor]:
        return permuted_within_layers(load(files[seed]).state_dict(), seed)

    return weights
