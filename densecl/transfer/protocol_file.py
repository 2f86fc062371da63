"""Protocol files: everything a transfer table's rows share, written down and versioned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from densecl.engine.config import config_text, find_config, parse_overrides
from densecl.engine.names import unknown_name
from densecl.errors import UsageError
from densecl.transfer.cells import data_fingerprint
from densecl.transfer.columns import columns_of
from densecl.transfer.identity import VERSION, Identity, settings_of
from densecl.transfer.kind import GRIDS, Kind, Run
from densecl.transfer.of_images import PICTURES
from densecl.transfer.study import NO_GRID
from densecl.transfer.task import Task

PARTS = ("train", "val", "test", "unlabelled")
DEFAULTS: dict[str, Any] = {
    "version": VERSION,
    "data": None,
    "data_root": None,
    "fractions": (0.1,),
    "subset_seeds": (0, 1, 2),
    "seeds": (0, 1, 2),
    "blocks": None,
    "selection": "first",
    "pairing": "zip",
}
"""Fields of a protocol of any kind of data, beside the section of its run and its grid."""
TASK = "task"
"""Section of a run that is not ours: ``dict(type="module:Class", ...)``."""
LEARNING = ("fractions", "subset_seeds", "blocks", "selection", "pairing")
"""Those that mean nothing where no label is learned from."""


@dataclass(frozen=True)
class ProtocolFile:
    """A protocol that was read and checked.

    Attributes:
        name: of the file, for titles and folders.
        kind: of data.
        run: what is done with the weights: a name of ``kind.runs``, or ``task``.
        how: the same, in full.
        settings: fields of the run's task that the file gives.
        data: part -> data set config, paths resolved.
        sources: the same as the file gives it.
        fields: what only this kind of data has.
        learning_rates: the grid, of a probe that of weight decays; (0,) where there is none.
        fractions: label fractions, one table each.
        subset_seeds, seeds: of the label subsets and of pretraining.
        blocks: temporal blocks of the subsets, or "sequence", see ``draw_for``.
        selection, pairing: see ``Protocol``.
    """

    name: str
    data: dict[str, dict[str, Any]]
    learning_rates: tuple[float, ...]
    fractions: tuple[float, ...]
    subset_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    blocks: int | str | None
    selection: str
    pairing: str
    run: str
    how: Run
    settings: dict[str, Any] = field(default_factory=dict)
    kind: Kind = PICTURES
    fields: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def finetune(self) -> dict[str, Any]:
        """Fields of a fine-tuning run; none where it is another run."""
        return self.settings if self.run == "finetune" else {}

    @property
    def probe(self) -> dict[str, Any] | None:
        """Fields of a probe; None where it is another run."""
        return self.settings if self.run == "probe" else None

    @property
    def rate(self) -> str:
        """What the grid is of: ``lr``, ``decay``, or "": there is none."""
        return self.how.rate

    @property
    def learns(self) -> bool:
        """Whether runs learn from labels, on shares of the part ``train``."""
        return self.how.learns

    def dataset(self, part: str) -> Any:
        """Build one of the data sets: ``train``, ``val``, ``test`` or ``unlabelled``."""
        return self.kind.domain.datasets.build(dict(self.data[part]))

    def text(self) -> str:
        """All fields that hold, as the text of a protocol file."""
        fields: dict[str, Any] = {"version": VERSION, "data": self.sources or self.data}
        own = {"type": self.how.home} if self.run == TASK else {}
        fields |= {self.run: own | self.settings, **self.fields}
        if self.rate:
            fields[GRIDS[self.rate][0]] = self.learning_rates
        fields["seeds"] = self.seeds
        if self.learns:
            fields |= {name: getattr(self, name) for name in LEARNING}
        return config_text(fields)

    def identity(self, task: Task, datasets: Mapping[str, Any]) -> Identity:
        """What the protocol's numbers are of.

        The label share is left out: tables of several shares are of one protocol. Paths are too:
        data count by content.

        Args:
            task: the run, from ``kind.task_for``.
            datasets: part -> the data set, of every part.
        """
        data = {
            part: {"content": data_fingerprint(dataset), **_without_paths(self.sources.get(part))}
            for part, dataset in datasets.items()
        }
        decides: dict[str, Any] = {
            "settings": settings_of(task),
            "columns": [column.key for column in columns_of(task)],
            "data": data,
            "seeds": list(self.seeds),
            **self.fields,
        }
        if self.rate:
            decides["grid"] = list(self.learning_rates)
        if self.learns:
            decides |= {
                name: _listed(getattr(self, name)) for name in LEARNING if name != "fractions"
            }
        run = self.how.home if self.run == TASK else self.run
        return Identity(self.name, run, VERSION, decides)


def _without_paths(section: Mapping[str, Any] | None) -> dict[str, Any]:
    """A data set's config without what differs from machine to machine."""
    return {
        name: value
        for name, value in (section or {}).items()
        if not (isinstance(value, str) and Path(value).is_absolute())
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def read_protocol(
    source: str | Path,
    overrides: list[str] | tuple[str, ...] = (),
    data_root: Path | None = None,
    *,
    kind: Kind = PICTURES,
) -> ProtocolFile:
    """Read a protocol file, or a shipped one by name, and check every field.

    Args:
        source: path or name.
        overrides: ``key=value`` strings, as for pretraining configs.
        data_root: folder that relative paths of data sets start from; replaces the file's.
        kind: of data.

    Raises:
        UsageError: an unknown file, field, version or data set, or a missing part.
    """
    path = find_config(source, kind.domain)
    config = Config.fromfile(str(path))
    config.merge_from_dict(parse_overrides(list(overrides)))
    return check_protocol(path.stem, config.to_dict(), data_root, kind=kind)


def check_protocol(
    name: str,
    given: Mapping[str, Any],
    data_root: Path | None = None,
    *,
    kind: Kind = PICTURES,
) -> ProtocolFile:
    """Check the fields of a protocol and fill in defaults.

    Args:
        name: of the protocol, for messages, titles and folders.
        given: the fields of a protocol file; those that begin with ``_`` are passed over.
        data_root: folder that relative paths of data sets start from; replaces the field's.
        kind: of data.

    Raises:
        UsageError: an unknown field, version or data set, or a missing part.
    """
    run = _run(name, given, kind)
    section = dict(given.get(run) or {})
    how = _own_run(name, section, given, kind) if run == TASK else kind.runs[run]
    known = fields_of(kind)
    for key in given:
        if key not in known and not key.startswith("_"):
            raise unknown_name(f"{name}: {key}", key, known)
    full = {**DEFAULTS, **kind.fields, **{k: v for k, v in given.items() if k in known}}
    if full["version"] != VERSION:
        raise UsageError(
            f"{name}: version = {full['version']}",
            needed=f"version {VERSION}",
            fix="use the release that wrote the protocol: numbers of two versions do not compare",
        )
    fields = _fields(name, run, how)
    for key in section:
        if key not in fields:
            raise unknown_name(f"{name}: {run}.{key}", key, fields)
    own = {key: full[key] for key in kind.fields}
    kind.check(name, own)
    root = data_root or (Path(full["data_root"]) if full["data_root"] else None)
    needed = ("train", "val") if how.learns else ("val",)
    sources, data = _data(name, full["data"], root, kind, needed)
    return ProtocolFile(
        name=name,
        kind=kind,
        run=run,
        how=how,
        settings=_tuples(section),
        data=data,
        sources=sources,
        fields=own,
        learning_rates=_grid(name, how, given),
        fractions=_numbers(name, "fractions", full["fractions"]),
        subset_seeds=tuple(full["subset_seeds"]),
        seeds=tuple(full["seeds"]),
        blocks=full["blocks"],
        selection=_one_of(name, "selection", full["selection"], ("all", "first")),
        pairing=_one_of(name, "pairing", full["pairing"], ("product", "zip")),
    )


def fields_of(kind: Kind) -> set[str]:
    """What a protocol file may hold at the top: one of the runs' sections, and the rest."""
    grids = {GRIDS[run.rate][0] for run in kind.runs.values() if run.rate}
    return {*DEFAULTS, *kind.fields, *kind.runs, TASK, *grids}


def _run(name: str, given: Mapping[str, Any], kind: Kind) -> str:
    """The run that a protocol names by its section; the first of the kind where it names none."""
    named = [run for run in (*kind.runs, TASK) if given.get(run) is not None]
    first = next(iter(kind.runs))
    if len(named) > 1 and first in named and not given[first]:
        named.remove(first)  # it is meant where nothing is named, and says nothing here
    if len(named) > 1:
        raise UsageError(
            f"{name}: {' and '.join(named)}", needed="one of them: two make two tables"
        )
    return named[0] if named else first


def _own_run(name: str, section: dict[str, Any], given: Mapping[str, Any], kind: Kind) -> Run:
    """The run of a task that is not ours; its ``type`` is taken out of the section."""
    home = section.pop("type", None)
    if not isinstance(home, str) or ":" not in home:
        raise UsageError(f"{name}: task.type = {home!r}", needed="'module:Class' of a task")
    return kind.own_run(home, learns="train" in (given.get("data") or {}))


def _fields(name: str, section: str, run: Run) -> frozenset[str]:
    try:
        return run.fields()
    except (ModuleNotFoundError, AttributeError) as error:
        raise UsageError(
            f"{name}: the run {section!r}, {run.home}, cannot be imported: {error}",
            fix="install what is missing, or put the module on PYTHONPATH",
        ) from error


def _grid(name: str, run: Run, given: Mapping[str, Any]) -> tuple[float, ...]:
    if not run.rate:
        return NO_GRID
    key, default = GRIDS[run.rate]
    return _numbers(name, key, given.get(key, default))


def _data(
    name: str, given: Any, root: Path | None, kind: Kind, needed: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The parts as given, and with their paths below ``root``."""
    if not isinstance(given, Mapping):
        raise UsageError(f"{name}: data = {given!r}", needed="dict(train=..., val=..., test=...)")
    for part in given:
        if part not in PARTS:
            raise unknown_name(f"{name}: data.{part}", part, PARTS)
    for part in needed:
        if part not in given:
            raise UsageError(f"{name}: data.{part} is missing", needed="a data set")
    resolved = {
        part: kind.resolve(section, root, f"{name}: data.{part}") for part, section in given.items()
    }
    return {part: dict(section) for part, section in given.items()}, resolved


def _tuples(section: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in section.items()}


def _numbers(name: str, field: str, value: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(float(v) for v in value)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or min(numbers) <= 0:
        raise UsageError(f"{name}: {field} = {value!r}", needed="a list of numbers > 0")
    return numbers


def _one_of(name: str, field: str, value: Any, options: tuple[str, ...]) -> str:
    if value not in options:
        raise UsageError(f"{name}: {field} = {value!r}", needed=" or ".join(options))
    return value
