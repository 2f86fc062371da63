"""Study files: which methods are pretrained on what, and how their worth is measured."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from densecl.engine.config import find_config, parse_overrides
from densecl.engine.names import unknown_name
from densecl.errors import UsageError
from densecl.studies.kind import FINETUNE, PROBE, StudyKind
from densecl.studies.of_images import PICTURES
from densecl.transfer.protocol_file import DEFAULTS as PROTOCOL_DEFAULTS

VERSION = 1
UNLABELLED = "unlabelled"
PARTS = (UNLABELLED, "train", "val", "test")
REFERENCES = {FINETUNE: "scratch", PROBE: "random init"}
"""Name of the row that differences are taken to."""
SCALED = ("schedule.warmup_steps",)

_STUDY: dict[str, Any] = {
    "version": VERSION,
    "rows": None,
    "folds": None,
    "protocols": None,
    "seeds": (0, 1, 2),
    "budgets": None,
    "unlabelled": None,
    "labelled": None,
    "files": {},
    "data_root": None,
    "demo": False,
}
_ROW = ("name", "pretrain", "options", "reads", "scaled", "budgets", "notes")
_FOLD = ("name", *PARTS, "readings", "transductive")
_SHARED = ("name", "type", "rows", "budgets", "controls", "every", "curve")
_OF_PROTOCOL_FILES = {*PROTOCOL_DEFAULTS, FINETUNE, "learning_rates"} - {
    *("version", "data", "data_root", "seeds")
}
_FIELDS = {
    FINETUNE: {*_SHARED, "file", *_OF_PROTOCOL_FILES},
    PROBE: {*_SHARED, "fractions", "subset_seeds", "blocks", "decays", "selection", "pairing"},
}
_SET_BY_THE_STUDY = ("data", "seed", "work_dir", "schedule.max_steps", "schedule.max_epochs")
_NAME = re.compile(r"[\w .,%+()@/-]+")
_FILE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class MethodRow:
    """A pretraining method as the study runs it.

    Attributes:
        name: of the row.
        pretrain: name or path of a pretraining config.
        options: its overrides, dotted field -> value.
        reads: which of the fold's readings of the unlabelled data it is trained on.
        scaled: fields counted in steps, which shrink and grow with the budget; the warm-up is
            always among them.
        budgets: pretraining steps, ascending; empty = the study's, or the config's own.
        notes: free text for the table.
    """

    name: str
    pretrain: str
    options: Mapping[str, Any] = field(default_factory=dict)
    reads: str = UNLABELLED
    scaled: tuple[str, ...] = SCALED
    budgets: tuple[int, ...] = ()
    notes: str = ""


@dataclass(frozen=True)
class FoldConfig:
    """One way to part the data.

    Attributes:
        name: of the fold.
        data: part -> data set config, paths resolved; without ``test``, scores are of ``val``.
        transductive: scored images may be among the unlabelled ones, and the table says so.
        readings: name -> data set config: what is unlabelled, read in other ways, as pairs of
            scans for instance.
    """

    name: str
    data: Mapping[str, dict[str, Any]]
    transductive: bool = False
    readings: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    def section(self, part: str) -> dict[str, Any]:
        """The data set config of a part, or of a reading."""
        return self.data[part] if part in self.data else self.readings[part]


@dataclass(frozen=True)
class Measure:
    """A protocol: one table for each fold and label fraction.

    Attributes:
        name: of the protocol.
        kind: ``finetune`` or ``probe``.
        settings: the other fields, those of its protocol file included.
        rows: names of the rows that take part.
        budgets: those that take part; empty = all.
        controls: control rows.
        every: label every so many images instead of a drawn share; None = draw.
        curve: draw the budget curve.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]
    rows: tuple[str, ...]
    budgets: tuple[int, ...]
    controls: tuple[str, ...]
    every: int | None = None
    curve: bool = True

    @property
    def reference(self) -> str:
        """Name of the reference row."""
        return REFERENCES[self.kind]


@dataclass(frozen=True)
class StudyConfig:
    """A study that was read and checked.

    Attributes:
        name: of the file.
        rows, folds, protocols: see their classes.
        seeds: of pretraining, fine-tuning and random weights.
        demo: too small to mean anything.
        folder: of the file; configs of rows are looked up there too.
        kind: of data.
    """

    name: str
    rows: tuple[MethodRow, ...]
    folds: tuple[FoldConfig, ...]
    protocols: tuple[Measure, ...]
    seeds: tuple[int, ...]
    demo: bool = False
    folder: Path | None = None
    kind: StudyKind = PICTURES


def read_study(
    source: str | Path,
    overrides: Sequence[str] = (),
    data_root: Path | None = None,
    methods: Sequence[str] = (),
    *,
    kind: StudyKind = PICTURES,
) -> StudyConfig:
    """Read a study file, or a shipped one by name, and check every field.

    Args:
        source: path or name.
        overrides: ``key=value`` strings, as for pretraining configs.
        data_root: folder that relative paths of data sets start from; replaces the file's.
        methods: names of rows; the others are left out. Empty = all.
        kind: of data.

    Raises:
        UsageError: an unknown file, field, row, data set or version; a name twice; a part missing.
    """
    path = find_config(source, kind.domain)
    config = Config.fromfile(str(path), lazy_import=False)
    config.merge_from_dict(parse_overrides(list(overrides)))
    given = {k: v for k, v in config.to_dict().items() if not k.startswith("_")}
    where = path.name
    _known(where, given, _STUDY)
    full = {**_STUDY, **given}
    if full["version"] != VERSION:
        raise UsageError(f"{where}: version = {full['version']}", needed=f"version {VERSION}")
    root = data_root or (Path(full["data_root"]) if full["data_root"] else None)
    budgets = _whole(f"{where}: budgets", full["budgets"] or ())
    listed = _listed(where, "rows", full["rows"])
    names = [each["name"] for _, each in listed]
    for name in methods:
        if name not in names:
            raise unknown_name(f"{where}: row {name!r}", name, names)
    read = [
        _row(each, at, budgets, kind)
        for at, each in listed
        if not methods or each["name"] in methods
    ]
    rows = tuple(_with_files(row, where, full["files"]) for row in read)
    templates = {name: full[name] or kind.templates[name] for name in ("unlabelled", "labelled")}
    folds = [
        _fold(each, at, templates, root, kind)
        for at, each in _listed(where, "folds", full["folds"])
    ]
    _check_readings(where, rows, folds)
    protocols = _listed(where, "protocols", full["protocols"])
    return StudyConfig(
        name=path.stem,
        rows=rows,
        folds=tuple(folds),
        protocols=tuple(_measure(each, at, rows, names, kind) for at, each in protocols),
        seeds=_whole(f"{where}: seeds", full["seeds"], low=0, empty=False, ascending=False),
        demo=bool(full["demo"]),
        folder=path.parent,
        kind=kind,
    )


def _listed(where: str, key: str, value: Any) -> list[tuple[str, dict[str, Any]]]:
    """(place, section) of each section of a list; names are there, plain and not used twice."""
    if not isinstance(value, (list, tuple)) or not value:
        raise UsageError(f"{where}: {key} = {value!r}", needed="a list of dict(name=..., ...)")
    sections, seen = [], set()
    for index, section in enumerate(value):
        at = f"{where}: {key}[{index}]"
        if not isinstance(section, Mapping):
            raise UsageError(f"{at} = {section!r}", needed="dict(name=..., ...)")
        name = section.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UsageError(
                f"{at}.name = {name!r}", needed="letters, digits, blanks and .,%+-()@/"
            )
        if name in seen:
            raise UsageError(f"{where}: {key} holds {name!r} twice", needed="each name once")
        seen.add(name)
        sections.append((f"{where}: {key} {name!r}", dict(section)))
    return sections


def _known(where: str, given: Iterable[str], known: Iterable[str]) -> None:
    options = list(known)
    for key in given:
        if key not in options:
            raise unknown_name(f"{where}: {key}", key, options)


def _row(given: dict[str, Any], at: str, budgets: tuple[int, ...], kind: StudyKind) -> MethodRow:
    _known(at, given, _ROW)
    if not isinstance(given.get("pretrain"), str):
        raise UsageError(f"{at}: pretrain = {given.get('pretrain')!r}", needed="a config's name")
    options = dict(given.get("options", {}))
    for key in options:
        if any(key == each or key.startswith(f"{each}.") for each in _SET_BY_THE_STUDY):
            raise UsageError(
                f"{at}: options sets {key}",
                needed="what the row changes in its config",
                fix="data, seeds and budgets are fields of the study",
            )
    taken = {*REFERENCES.values(), "scratch-long", RANDOM_REESTIMATED, *kind.reserved}
    if given["name"] in taken or given["name"].endswith(PERMUTED):
        raise UsageError(f"{at}: the name is that of a control row", fix="choose another name")
    return MethodRow(
        name=given["name"],
        pretrain=given["pretrain"],
        options=options,
        reads=given.get("reads", UNLABELLED),
        scaled=(*SCALED, *given.get("scaled", ())),
        budgets=_whole(f"{at}: budgets", given.get("budgets") or ()) or budgets,
        notes=given.get("notes", ""),
    )


def _with_files(row: MethodRow, where: str, files: Mapping[str, str | None]) -> MethodRow:
    """The row with the paths of the study's files where its options say ``{name}``."""
    options = dict(row.options)
    for key, value in options.items():
        found = _FILE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            continue
        name = found.group(1)
        if name not in files:
            raise unknown_name(f"{where}: row {row.name!r}: {key} = {value!r}", name, list(files))
        path = None if files[name] is None else Path(str(files[name])).expanduser()
        if path is None or not path.is_file():
            raise UsageError(
                f"{where}: row {row.name!r} needs files.{name}, "
                + ("which is not given" if path is None else f"and there is no {path}"),
                fix=f"--cfg-options files.{name}=FILE, or leave the row out",
            )
        options[key] = str(path)
    return replace(row, options=options)


def _check_readings(where: str, rows: Sequence[MethodRow], folds: Sequence[FoldConfig]) -> None:
    for row, fold in itertools.product(rows, folds):
        known = [UNLABELLED, *fold.readings]
        if row.reads not in known:
            raise unknown_name(f"{where}: row {row.name!r}: reads", row.reads, known)


RANDOM_REESTIMATED, PERMUTED = "random, batch norm re-estimated", ", permuted"


def _fold(
    given: dict[str, Any],
    at: str,
    templates: Mapping[str, Any],
    root: Path | None,
    kind: StudyKind,
) -> FoldConfig:
    _known(at, given, _FOLD)
    data = {}
    for part in PARTS:
        section = given.get(part)
        if section is None:
            if part != "test":
                raise UsageError(f"{at}: no {part} list", needed="unlabelled, train and val")
            continue
        template = templates["unlabelled" if part == "unlabelled" else "labelled"]
        section = {**template, "path": section} if isinstance(section, str) else section
        data[part] = kind.transfer.resolve(section, root, f"{at}: {part}")
        path = data[part].get("path")
        if path is not None and not Path(path).is_file():
            raise UsageError(
                f"{at}: there is no {part} list {path}",
                fix="write it, or say with --data-root where the lists lie",
            )
    readings = {}
    for name, section in (given.get("readings") or {}).items():
        if name in PARTS:
            raise UsageError(f"{at}: readings.{name}", needed="another name than a part's")
        readings[name] = kind.transfer.resolve(section, root, f"{at}: readings.{name}")
    return FoldConfig(given["name"], data, bool(given.get("transductive", False)), readings)


def _measure(
    given: dict[str, Any],
    at: str,
    rows: Sequence[MethodRow],
    known: Sequence[str],
    data: StudyKind,
) -> Measure:
    """A protocol; ``known`` are the study's rows, ``rows`` those of them that are run."""
    kind = given.get("type")
    if kind not in REFERENCES:
        raise UsageError(f"{at}: type = {kind!r}", needed="'finetune' or 'probe'")
    own = data.probe_fields if kind == PROBE else ()
    _known(at, given, {*_FIELDS[kind], *own, *data.transfer.fields})
    for name in given.get("rows") or ():
        if name not in known:
            raise unknown_name(f"{at}: row {name!r}", name, known)
    wanted = given.get("rows") or known
    chosen = tuple(row.name for row in rows if row.name in wanted)
    controls = tuple(given.get("controls", data.controls[kind]))
    _known(f"{at}: controls", controls, data.controls[kind])
    every = given.get("every")
    if every is not None and "fractions" in given:
        raise UsageError(f"{at}: every and fractions", needed="one of the two")
    if every is not None and (not isinstance(every, int) or every < 1):
        raise UsageError(f"{at}: every = {every!r}", needed="an integer >= 1")
    budgets = _whole(f"{at}: budgets", given.get("budgets") or ())
    tried = {steps for row in rows for steps in row.budgets}
    if tried and not tried >= set(budgets):
        raise UsageError(f"{at}: budgets {budgets}", needed=f"some of {sorted(tried)}")
    settings = {key: value for key, value in given.items() if key not in _SHARED}
    if "file" in settings:
        settings = _replaced(_read_protocol_fields(settings.pop("file"), data), settings)
    return Measure(
        given["name"], kind, settings, chosen, budgets, controls, every, given.get("curve", True)
    )


def _replaced(fields: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with those given in their place; of a section, only the fields that it gives."""
    found = dict(fields)
    for name, value in given.items():
        old = found.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _replaced(old, value)
        found[name] = value
    return found


def _read_protocol_fields(source: str, kind: StudyKind) -> dict[str, Any]:
    """Fields of a protocol file but its data and seeds; label subsets go with the study's seeds."""
    path = find_config(source, kind.domain)
    given = Config.fromfile(str(path), lazy_import=False).to_dict()
    kept = (_OF_PROTOCOL_FILES | {"version", *kind.transfer.fields}) - {"subset_seeds"}
    return {key: given[key] for key in given if key in kept}


def _whole(
    where: str, value: Any, *, low: int = 1, empty: bool = True, ascending: bool = True
) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    good = all(isinstance(n, int) and not isinstance(n, bool) and n >= low for n in numbers)
    if not good or len(set(numbers)) != len(numbers) or not (numbers or empty):
        raise UsageError(f"{where} = {value!r}", needed=f"integers >= {low}, each once")
    return tuple(sorted(numbers)) if ascending else numbers
