"""What a number is of: everything that decides it beside the weights, under one hash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from densecl.transfer.cells import digest
from densecl.transfer.columns import columns_of
from densecl.transfer.task import Task

if TYPE_CHECKING:
    from densecl.transfer.study import Study

VERSION = 1
"""Of the protocols this code runs; raised when one of them comes to mean other numbers."""

ROW = frozenset({"backbone", "mean", "std", "channel_order", "voxels"})
"""Settings of a run that belong to the weights and their input, not to the protocol."""
INSIDE = ("input", "probe")
"""Settings that hold such settings."""


@dataclass(frozen=True)
class Identity:
    """A protocol as far as it decides numbers.

    Attributes:
        name: of the protocol, for people: two names of one content are one protocol.
        run: what is done with the weights: ``finetune``, ``probe``, ``retrieval``, ...
        version: see ``VERSION``.
        decides: settings, fingerprints of the data, classes, seeds, grid; plain values.
    """

    name: str
    run: str
    version: int
    decides: Mapping[str, Any]

    @cached_property
    def hash(self) -> str:
        """20 hex digits; one number never stands beside one of another hash."""
        return digest(self._content())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the hash among them."""
        return {"name": self.name, "hash": self.hash, **self._content()}

    def __str__(self) -> str:
        return f"{self.name}, version {self.version}, hash {self.hash}"

    def _content(self) -> dict[str, Any]:
        return {"run": self.run, "version": self.version, **self.decides}

    def differences(self, other: Identity) -> list[str]:
        """Dotted names of what differs; empty where the hashes are equal."""
        return list(_differing(self._content(), other._content()))


def _differing(one: Any, other: Any, path: str = "") -> Iterator[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}):
            below = f"{path}.{key}" if path else str(key)
            if key not in one or key not in other:
                yield below
            else:
                yield from _differing(one[key], other[key], below)
    elif digest(one) != digest(other):
        yield path


def settings_of(task: Task) -> dict[str, Any]:
    """The settings of a run without those of the weights and without what the grid changes."""
    settings = task.to_dict()
    grid = set(_differing(task.at(1.0).to_dict(), task.at(2.0).to_dict()))
    kept = {}
    for name, value in settings.items():
        if name in ROW or name in grid:
            continue
        if name in INSIDE and isinstance(value, Mapping):
            own = ROW | {path.partition(".")[2] for path in grid if path.startswith(f"{name}.")}
            value = {key: inner for key, inner in value.items() if key not in own}
        kept[name] = value
    return kept


def identity_of(study: Study) -> Identity:
    """Of a table that was made without a protocol file."""
    protocol = study.protocol
    task = protocol.spec
    train, val = study.data
    return Identity(
        "without a file",
        type(task).__name__,
        VERSION,
        {
            "settings": settings_of(task),
            "columns": [column.key for column in columns_of(task)],
            "data": {"train": train, "val": val},
            "pairs": [[seed, digest(subset.items)] for seed, subset in study.pairs],
            "grid": list(protocol.learning_rates),
            "selection": protocol.selection,
        },
    )
