"""The rows of an evaluation: weight files that were opened and found whole, and refused ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import nn

from densecl.engine.config import parse_overrides
from densecl.engine.names import unknown_name
from densecl.errors import UsageError
from densecl.transfer.initialisation import Init
from densecl.transfer.kind import Kind
from densecl.transfer.weight_file import Told, WeightFile

RANDOM = "random"
RANDOM_ROW = "random, other seeds"
OTHER_SEEDS = 1000
"""Added to a seed for random weights that differ from the reference's."""
NAMELESS = ("last", "best", "latest", "backbone", "checkpoint", "model")
"""Stems that say nothing: a row is then named after the folder."""


@dataclass(frozen=True)
class Refused:
    """What is not in the tables.

    Attributes:
        name: of a row or a protocol.
        reason: why, and what to do.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"refused {self.name}: {self.reason}"


@dataclass(frozen=True)
class EvaluatedRow:
    """A row that was given.

    Attributes:
        name: of the row.
        files: one, or one for each pretraining seed.
        told: what is said of them beside what they say.
    """

    name: str
    files: tuple[WeightFile, ...]
    told: Told

    def by_seed(self, seeds: Sequence[int]) -> dict[int, WeightFile]:
        """Pretraining seed -> file.

        Raises:
            UsageError: neither one file nor as many as seeds.
        """
        files = self.files * len(seeds) if len(self.files) == 1 else self.files
        if len(files) != len(seeds):
            raise UsageError(
                f"row {self.name!r} has {len(files)} files for {len(seeds)} pretraining seeds",
                needed="one file, or one for each of the protocol's seeds",
                fix=f"--cfg-options seeds={list(range(len(files)))}".replace(" ", ""),
            )
        return dict(zip(seeds, files, strict=True))

    def init(self, file: WeightFile) -> Init:
        """What runs start from: the file, or the weights that are meant in it."""
        return file.load().state_dict() if self.told.of_weights else file.path

    def fingerprint(self, file: WeightFile) -> str:
        """Of these weights, known without reading them again."""
        if not self.told.of_weights:
            return file.fingerprint
        return f"{file.fingerprint}, branch {file.branch}, {file.words}"


def parse_rows(options: Sequence[str]) -> tuple[dict[str, list[Path]], list[str]]:
    """``[NAME=]FILE`` arguments.

    Several files under one stated name are the pretraining seeds of that row, in order.

    Args:
        options: as on the command line; ``random`` or ``NAME=random`` is a row of random weights.

    Returns:
        Name -> files, and the names of random rows.

    Raises:
        UsageError: two files without a name of their own come to the same one.
    """
    files: dict[str, list[Path]] = {}
    randoms, unnamed = [], set()
    for option in options:
        name, separator, value = option.rpartition("=")
        if value == RANDOM:
            randoms.append(name or RANDOM_ROW)
            continue
        path = Path(value)
        if not separator:
            name = path.parent.name if path.stem in NAMELESS and path.parent.name else path.stem
            if name in files:
                raise UsageError(
                    f"{files[name][0]} and {path} are both called {name!r}",
                    fix=f"name them: {name}-1={files[name][0]} {name}-2={path}",
                )
            unnamed.add(name)
        elif name in unnamed:
            raise UsageError(f"two rows are called {name!r}", fix="name every file: NAME=FILE")
        files.setdefault(name, []).append(path)
    twice = [name for name in randoms if name in files or randoms.count(name) > 1]
    if twice:
        raise UsageError(f"two rows are called {twice[0]!r}", needed="each name once")
    return files, randoms


def parse_told(options: Sequence[str], names: Sequence[str]) -> dict[str, Told]:
    """``NAME.KEY=VALUE`` arguments: what is said of a row's files.

    Raises:
        UsageError: no such row, or no such thing to say.
    """
    known = [item.name for item in fields(Told)]
    told: dict[str, dict[str, Any]] = {}
    for option, value in parse_overrides(options).items():
        name = next((n for n in names if option.startswith(f"{n}.")), None)
        if name is None:
            raise UsageError(
                f"--tell {option}",
                needed="NAME.KEY=VALUE with one of the rows " + ", ".join(names),
            )
        key, _, below = option.removeprefix(f"{name}.").partition(".")
        if key not in known or (below and key != "backbone"):
            raise unknown_name(f"--tell {option}", key, known)
        own = told.setdefault(name, {})
        if key == "backbone" and below:
            own.setdefault(key, {})[below] = value
        else:
            own[key] = tuple(map(float, value)) if isinstance(value, (list, tuple)) else value
    return {name: Told(**told.get(name, {})) for name in names}


def open_rows(
    given: Mapping[str, Sequence[Path]],
    told: Mapping[str, Told],
    kind: Kind,
    log: Callable[[str], None],
    *,
    show_key_map: bool = False,
) -> tuple[list[EvaluatedRow], list[Refused]]:
    """Open every file, print a line of it, and leave out the rows that cannot be trusted.

    Args:
        given: name -> files.
        told: name -> what is said of them.
        kind: of data.
        log: takes the lines.
        show_key_map: print which entry of a file fills which tensor.
    """
    rows, refused = [], []
    known: dict[str, str] = {}
    for name, paths in given.items():
        try:
            files = tuple(kind.inspect(path, told[name]) for path in paths)
        except UsageError as error:
            refused.append(Refused(name, str(error)))
            log(str(refused[-1]))
            continue
        for file in files:
            log(f"{name}: {in_a_line(file, told[name])}")
            for note in file.notes:
                log(f"    {note}")
            twin = known.setdefault(file.weights, f"{name} ({file.path})")
            if twin != f"{name} ({file.path})":
                log(f"    the same weights as {twin}: two rows of one network")
            if show_key_map:
                log(key_map_lines(file))
        rows.append(EvaluatedRow(name, files, told[name]))
    return rows, refused


def in_a_line(file: WeightFile, told: Told) -> str:
    """What was recognised in a file."""
    filled, wanted = file.tensors
    parts = [f"layout {file.layout}", f"branch {file.branch}"]
    if file.method:
        parts.insert(0, file.method)
    parts.append(f"{filled} of {wanted} tensors")
    for name, value in file.input.items():
        value = getattr(told, name, None) if value is None else value
        shown = "unknown" if value is None else _short(value)
        parts.append(f"{name.replace('_', ' ')} {shown}")
    return f"{', '.join(parts)}; {file.words} ({file.path})"


def key_map_lines(file: WeightFile) -> str:
    """Entry of the file -> tensor of the backbone, a line each."""
    if not file.key_map:
        return "    entries of this layout do not map one to one"
    return "\n".join(f"    {theirs} -> {ours}" for theirs, ours in file.key_map)


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_short, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def loader(rows: Sequence[EvaluatedRow]) -> Callable[[Path], nn.Module]:
    """From a path of these rows to the backbone that is meant in it."""
    files = {file.path: file for row in rows for file in row.files}
    return lambda path: files[path].load()
