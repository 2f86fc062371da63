"""Protocol files: everything a transfer table's rows share, written down and versioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from densecl.engine.config import find_config, parse_overrides
from densecl.engine.names import unknown_name
from densecl.errors import UsageError
from densecl.transfer.kind import Kind
from densecl.transfer.of_images import PICTURES

VERSION = 1
PARTS = ("train", "val", "test", "unlabelled")
FINETUNE, PROBE = "finetune", "probe"
DEFAULTS: dict[str, Any] = {
    "version": VERSION,
    "data": None,
    "data_root": None,
    "finetune": {},
    "learning_rates": (0.01, 0.03),
    "fractions": (0.1,),
    "subset_seeds": (0, 1, 2),
    "seeds": (0, 1, 2),
    "blocks": None,
    "selection": "first",
    "pairing": "zip",
}
"""Fields of a protocol of any kind of data."""
PROBE_DEFAULTS: dict[str, Any] = {"probe": None, "decays": (1e-4,)}
"""Further ones where a protocol may be of a frozen probe."""


@dataclass(frozen=True)
class ProtocolFile:
    """A protocol that was read and checked.

    Attributes:
        name: of the file, for titles and folders.
        kind: of data.
        data: part -> data set config, paths resolved.
        finetune: fields of the kind's ``FinetuneSpec``.
        probe: fields of its probe, or None: the protocol fine-tunes.
        fields: what only this kind of data has.
        learning_rates: the grid; of a probe that of weight decays.
        fractions: label fractions, one table each.
        subset_seeds, seeds: of the label subsets and of pretraining.
        blocks: temporal blocks of the subsets, or "sequence", see ``draw_for``.
        selection, pairing: see ``Protocol``.
    """

    name: str
    data: dict[str, dict[str, Any]]
    finetune: dict[str, Any]
    learning_rates: tuple[float, ...]
    fractions: tuple[float, ...]
    subset_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    blocks: int | str | None
    selection: str
    pairing: str
    kind: Kind = PICTURES
    probe: dict[str, Any] | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> str:
        """What the grid is of."""
        return "lr" if self.probe is None else "decay"

    def dataset(self, part: str) -> Any:
        """Build one of the data sets: ``train``, ``val``, ``test`` or ``unlabelled``."""
        return self.kind.domain.datasets.build(dict(self.data[part]))


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
    defaults = {**DEFAULTS, **kind.fields}
    if PROBE in kind.sections:
        defaults |= PROBE_DEFAULTS
    for key in given:
        if key not in defaults and not key.startswith("_"):
            raise unknown_name(f"{name}: {key}", key, defaults)
    full = {**defaults, **{key: given[key] for key in given if key in defaults}}
    if full["version"] != VERSION:
        raise UsageError(
            f"{name}: version = {full['version']}",
            needed=f"version {VERSION}",
            fix="use the release that wrote the protocol: numbers of two versions do not compare",
        )
    probes = full.get(PROBE) is not None
    if probes and full[FINETUNE]:
        raise UsageError(f"{name}: finetune and probe", needed="one of them: two make two tables")
    for section, known in kind.sections.items():
        for key in full[section] or ():
            if key not in known:
                raise unknown_name(f"{name}: {section}.{key}", key, known)
    own = {key: full[key] for key in kind.fields}
    kind.check(name, own)
    root = data_root or (Path(full["data_root"]) if full["data_root"] else None)
    grid = "decays" if probes else "learning_rates"
    return ProtocolFile(
        name=name,
        kind=kind,
        data=_data(name, full["data"], root, kind),
        finetune=_tuples(full[FINETUNE]),
        probe=_tuples(full[PROBE]) if probes else None,
        fields=own,
        learning_rates=_numbers(name, grid, full[grid]),
        fractions=_numbers(name, "fractions", full["fractions"]),
        subset_seeds=tuple(full["subset_seeds"]),
        seeds=tuple(full["seeds"]),
        blocks=full["blocks"],
        selection=_one_of(name, "selection", full["selection"], ("all", "first")),
        pairing=_one_of(name, "pairing", full["pairing"], ("product", "zip")),
    )


def _data(name: str, given: Any, root: Path | None, kind: Kind) -> dict[str, dict[str, Any]]:
    if not isinstance(given, Mapping):
        raise UsageError(f"{name}: data = {given!r}", needed="dict(train=..., val=..., test=...)")
    for part in given:
        if part not in PARTS:
            raise unknown_name(f"{name}: data.{part}", part, PARTS)
    for part in ("train", "val"):
        if part not in given:
            raise UsageError(f"{name}: data.{part} is missing", needed="a labelled data set")
    return {
        part: kind.resolve(section, root, f"{name}: data.{part}") for part, section in given.items()
    }


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
