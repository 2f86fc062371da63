"""Protocol files: everything a transfer table's rows share, written down and versioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mmengine.config import Config

from densecl.engine.config import find_config, parse_overrides
from densecl.engine.names import registered, unknown_name
from densecl.errors import UsageError
from densecl.registry import DATASETS
from densecl.transfer.finetuning import FinetuneSpec

VERSION = 1
PATHS = ("images", "labels", "root", "path", "annotation", "names")
"""Arguments of data sets that are looked up under ``data_root``."""
PARTS = ("train", "val", "test", "unlabelled")
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
GIVEN = ("backbone", "num_classes", "lr", "mean", "std", "channel_order")
"""Fields of a fine-tuning run that come from the checkpoint, the data or the grid."""


@dataclass(frozen=True)
class ProtocolFile:
    """A protocol that was read and checked.

    Attributes:
        name: of the file, for titles and folders.
        data: part -> data set config, paths resolved.
        finetune: fields of ``FinetuneSpec``.
        learning_rates: the grid.
        fractions: label fractions, one table each.
        subset_seeds, seeds: of the label subsets and of pretraining.
        blocks: temporal blocks of the subsets, see ``draw_subsets``.
        selection, pairing: see ``Protocol``.
    """

    name: str
    data: dict[str, dict[str, Any]]
    finetune: dict[str, Any]
    learning_rates: tuple[float, ...]
    fractions: tuple[float, ...]
    subset_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    blocks: int | None
    selection: str
    pairing: str

    def dataset(self, part: str) -> Any:
        """Build one of the data sets: ``train``, ``val``, ``test`` or ``unlabelled``."""
        return DATASETS.build(dict(self.data[part]))


def read_protocol(
    source: str | Path, overrides: list[str] | tuple[str, ...] = (), data_root: Path | None = None
) -> ProtocolFile:
    """Read a protocol file, or a shipped one by name, and check every field.

    Args:
        source: path or name.
        overrides: ``key=value`` strings, as for pretraining configs.
        data_root: folder that relative paths of data sets start from; replaces the file's.

    Raises:
        UsageError: an unknown file, field, version or data set, or a missing part.
    """
    path = find_config(source)
    config = Config.fromfile(str(path))
    config.merge_from_dict(parse_overrides(list(overrides)))
    given = config.to_dict()
    for key in given:
        if key not in DEFAULTS and not key.startswith("_"):
            raise unknown_name(f"{path.name}: {key}", key, DEFAULTS)
    full = {**DEFAULTS, **{key: given[key] for key in given if key in DEFAULTS}}
    if full["version"] != VERSION:
        raise UsageError(
            f"{path.name}: version = {full['version']}",
            needed=f"version {VERSION}",
            fix="use the release that wrote the protocol: numbers of two versions do not compare",
        )
    known = {item.name for item in fields(FinetuneSpec)} - set(GIVEN)
    for key in full["finetune"]:
        if key not in known:
            raise unknown_name(f"{path.name}: finetune.{key}", key, known)
    root = data_root or (Path(full["data_root"]) if full["data_root"] else None)
    return ProtocolFile(
        name=path.stem,
        data=_data(path, full["data"], root),
        finetune=_tuples(full["finetune"]),
        learning_rates=_numbers(path, "learning_rates", full["learning_rates"]),
        fractions=_numbers(path, "fractions", full["fractions"]),
        subset_seeds=tuple(full["subset_seeds"]),
        seeds=tuple(full["seeds"]),
        blocks=full["blocks"],
        selection=_one_of(path, "selection", full["selection"], ("all", "first")),
        pairing=_one_of(path, "pairing", full["pairing"], ("product", "zip")),
    )


def _data(path: Path, given: Any, root: Path | None) -> dict[str, dict[str, Any]]:
    if not isinstance(given, Mapping):
        raise UsageError(
            f"{path.name}: data = {given!r}", needed="dict(train=..., val=..., test=...)"
        )
    for part in given:
        if part not in PARTS:
            raise unknown_name(f"{path.name}: data.{part}", part, PARTS)
    for part in ("train", "val"):
        if part not in given:
            raise UsageError(f"{path.name}: data.{part} is missing", needed="a labelled data set")
    resolved = {}
    for part, section in given.items():
        section = dict(section)
        registered(DATASETS, section.get("type"), f"{path.name}: data.{part}.type")
        for key in PATHS:
            value = section.get(key)
            if root is not None and isinstance(value, str) and not Path(value).is_absolute():
                section[key] = str(root / value)
        resolved[part] = section
    return resolved


def _tuples(section: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in section.items()}


def _numbers(path: Path, name: str, value: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(float(v) for v in value)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or min(numbers) <= 0:
        raise UsageError(f"{path.name}: {name} = {value!r}", needed="a list of numbers > 0")
    return numbers


def _one_of(path: Path, name: str, value: Any, options: tuple[str, ...]) -> str:
    if value not in options:
        raise UsageError(f"{path.name}: {name} = {value!r}", needed=" or ".join(options))
    return value
