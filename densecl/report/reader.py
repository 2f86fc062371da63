"""Read an evaluation folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from densecl.errors import UsageError
from densecl.files import read_json
from densecl.report.record import (
    COMPARED,
    CONTROL,
    DONE,
    REFERENCE,
    STALE,
    UNFINISHED,
    Evaluation,
    Picture,
    Protocol,
    Result,
    Score,
    finite,
)
from densecl.transfer.columns import Column

EVALUATION, SUMMARY, ITEMS, PICTURES = "evaluation.json", "summary.json", "items.json", "pictures"
SCHEMA = 1
DIFFERENCES = ("diff_to_scratch", "diff_to_reference", "difference")
"""Names that tables have given to the difference to the reference."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def read_evaluation(folder: Path) -> Evaluation:
    """Read ``evaluation.json`` and the tables that it names.

    Raises:
        UsageError: no such folder or record, another schema, a field of the wrong kind, or a
            protocol without its hash.
    """
    path = folder / EVALUATION
    data = read_json(path)
    if not isinstance(data, dict):
        held = "is no JSON object" if path.is_file() else "is not there"
        raise UsageError(
            f"{path} {held}",
            needed="a folder that an evaluation was written into",
            fix=f"densecl evaluate CHECKPOINT --out {folder}",
        )
    if data.get("schema") != SCHEMA:
        raise UsageError(
            f"{path}: schema {data.get('schema')!r}",
            needed=f"schema {SCHEMA}",
            fix="read it with the release that wrote it, or repeat the evaluation",
        )
    try:
        rows = [dict(row) for row in data.get("rows") or []]
        names = {str(row.get("name", "")) for row in rows}
        return Evaluation(
            folder,
            suite=str(data.get("suite") or ""),
            command=str(data.get("command") or ""),
            versions={str(k): str(v) for k, v in (data.get("versions") or {}).items()},
            rows=rows,
            refused=[(str(r["name"]), str(r["reason"])) for r in data.get("refused") or []],
            protocols=[_protocol(folder, each, names) for each in data.get("protocols") or []],
        )
    except UsageError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{folder} cannot be read: {type(error).__name__}: {error}") from error


def _protocol(folder: Path, data: Mapping[str, Any], names: set[str]) -> Protocol:
    name, hashed = str(data["name"]), str(data.get("hash") or "").strip()
    if not hashed:
        raise UsageError(
            f"protocol {name!r} of {folder / EVALUATION} has no hash",
            needed="the hash of what decides its numbers: without it none of them is shown",
            fix="repeat the evaluation; finished runs are taken over",
        )
    return Protocol(
        name=name,
        run=str(data.get("run") or ""),
        version=str(data.get("version") or ""),
        hash=hashed,
        text=str(data.get("text") or ""),
        results=[_result(folder, name, hashed, t, names) for t in data.get("tables") or []],
    )


def _result(
    folder: Path, protocol: str, hashed: str, data: Mapping[str, Any], names: set[str]
) -> Result:
    share = "" if data.get("share") is None else str(data["share"])
    result = Result(
        share=share,
        title=str(data.get("title") or ""),
        folder=folder / str(data.get("folder") or Path(protocol) / share),
        command=str(data.get("command") or ""),
        protocol_hash=str(data.get("hash") or hashed),
    )
    summary = read_json(result.folder / SUMMARY)
    if not isinstance(summary, dict):
        return result
    result.data = summary
    made_by = (summary.get("identity") or {}).get("hash") or result.protocol_hash
    if made_by != result.protocol_hash:
        result.state = STALE
        return result
    result.state = DONE if summary.get("complete") else UNFINISHED
    if summary.get("columns"):
        known = Column.__dataclass_fields__
        result.columns = tuple(
            Column(**{k: v for k, v in column.items() if k in known})
            for column in summary["columns"]
        )
    result.scores = [_score(row, result, names) for row in summary.get("rows") or []]
    items = read_json(result.folder / ITEMS)
    if isinstance(items, dict) and isinstance(items.get("rows"), dict):
        result.items = items["rows"]
    result.pictures = _pictures(result.folder)
    return result


def _score(row: Mapping[str, Any], result: Result, names: set[str]) -> Score:
    name = str(row["name"])
    kind = REFERENCE if name == result.reference else COMPARED
    if kind == COMPARED and names and name not in names:
        kind = CONTROL
    runs = {c.key: [finite(v) for v in row.get(f"{c.key}_seeds") or []] for c in result.columns}
    means = {c.key: finite(row.get(f"{c.key}_mean")) for c in result.columns}
    ends = [finite(end) for end in row.get("interval") or []]
    verdict = str(row.get("verdict") or "")
    return Score(
        name=name,
        kind=kind,
        means=means,
        runs=runs,
        pairs=[(int(seed), str(subset)) for seed, subset in row.get("pairs") or []],
        difference=finite(next((row[key] for key in DIFFERENCES if key in row), None)),
        interval=(ends[0], ends[1]) if len(ends) == 2 and None not in ends else None,  # type: ignore[arg-type]
        verdict="reference" if kind == REFERENCE else "" if verdict == "none" else verdict,
        data=dict(row),
    )


def _pictures(folder: Path) -> list[Picture]:
    """In the order of ``pictures.json`` where there is one, then by name with numbers as such."""
    said = read_json(folder / f"{PICTURES}.json")
    said = said if isinstance(said, dict) else {}
    place = {stem: k for k, stem in enumerate(said)}
    files = [p for p in (folder / PICTURES).glob("*") if p.suffix.lower() in SUFFIXES]
    found = []
    for path in sorted(files, key=lambda p: (place.get(p.stem, len(place)), natural(p.name))):
        words = said.get(path.stem)
        words = words if isinstance(words, dict) else {"caption": words or ""}
        title = str(words.get("title") or path.stem.replace("_", " ").strip())
        found.append(Picture(path, title, str(words.get("caption") or "")))
    return found


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sorting key in which ``frame 9`` comes before ``frame 10``."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p.lower()) for p in parts]
