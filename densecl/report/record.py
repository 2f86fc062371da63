"""What an evaluation found, as plain objects that are whole or say what is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from densecl.report.number import DASH, Number, Source
from densecl.transfer.columns import MIOU, Column

DONE, UNFINISHED, MISSING, STALE = "done", "unfinished", "missing", "stale"
REFERENCE, CONTROL, COMPARED = "reference", "control", ""


@dataclass(frozen=True)
class Score:
    """A row of a table.

    Attributes:
        name: of the row.
        kind: ``REFERENCE``, ``CONTROL`` or ``COMPARED``.
        means: column key -> mean.
        runs: column key -> score of each pair.
        pairs: (pretraining seed, label subset) of each run.
        difference: of the first column to the reference.
        interval: of the difference, or None.
        verdict: better, worse, inconclusive, reference, or "" where there is none.
        data: the row as it was read.
    """

    name: str
    kind: str
    means: dict[str, float | None]
    runs: dict[str, list[float | None]]
    pairs: list[tuple[int, str]]
    difference: float | None
    interval: tuple[float, float] | None
    verdict: str
    data: dict[str, Any]

    @property
    def by_class(self) -> list[float | None]:
        """IoU of each class, or average precision; empty where the runs have neither."""
        found = self.data.get("iou") or self.data.get("ap_per_class") or []
        return [finite(value) for value in found]


@dataclass(frozen=True)
class Picture:
    """A picture of a table.

    Attributes:
        path: of the file.
        title: above it.
        caption: what it shows; may be empty.
    """

    path: Path
    title: str
    caption: str = ""


@dataclass
class Result:
    """A table of a protocol: one label share, one backbone.

    Attributes:
        share: as the record says it.
        title: of the backbone where a protocol has tables of several, else "".
        folder: of the table's files.
        command: that repeats it.
        protocol_hash: of the protocol it belongs to.
        state: ``DONE``, ``UNFINISHED``, ``MISSING`` (no file) or ``STALE`` (made by another
            protocol than the record names).
        columns: what it is scored by; the first carries differences and verdicts.
        scores: the rows.
        data: ``summary.json`` as it was read.
        items: row -> pair -> item -> scores.
        pictures: of the table.
    """

    share: str
    title: str
    folder: Path
    command: str
    protocol_hash: str
    state: str = MISSING
    columns: tuple[Column, ...] = (MIOU,)
    scores: list[Score] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    items: dict[str, Any] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)

    @property
    def source(self) -> Source:
        """Of its numbers."""
        return Source(
            self.protocol_hash, " ".join(part for part in (self.title, self.share) if part)
        )

    @property
    def shown(self) -> bool:
        """There are numbers."""
        return self.state in (DONE, UNFINISHED) and bool(self.scores)

    @property
    def main(self) -> Column:
        """The column of the verdicts."""
        return self.columns[0]

    @property
    def by(self) -> str:
        """Title of that column; a dash where nothing says it."""
        return DASH if self.state in (MISSING, STALE) else self.main.title

    @property
    def judged(self) -> bool:
        """The first column has verdicts."""
        return self.main.better != "none"

    @property
    def reference(self) -> str:
        """Name of the row that differences are taken to."""
        return str(self.data.get("reference", "scratch"))

    @property
    def demo(self) -> bool:
        """Too small to mean anything."""
        return bool(self.data.get("demo"))

    @property
    def cells(self) -> tuple[int, int]:
        """(finished, all) runs."""
        cells = self.data.get("cells") or {}
        return int(cells.get("done", 0)), int(cells.get("total", 0))

    @property
    def level(self) -> str:
        """Coverage of the intervals, in words."""
        return f"{float(self.data.get('level') or 0.95) * 100:g} %"

    @property
    def fraction(self) -> float | None:
        """The label share as a number, where it is one."""
        return fraction_of(self.share)

    @property
    def share_title(self) -> str:
        """The label share in words; "" where it says nothing."""
        fraction = self.fraction
        if fraction is None:
            return "" if self.share in ("", "all") else self.share
        return "all labels" if fraction == 1 else f"{fraction * 100:g} % of the labels"

    @property
    def name(self) -> str:
        """Of the table within its protocol; "" where it is the only one of its kind."""
        return ", ".join(part for part in (self.title, self.share_title) if part)

    @property
    def classes(self) -> list[str]:
        """Names of the classes; numbered where the table does not name them."""
        count = max((len(score.by_class) for score in self.scores), default=0)
        for score in self.scores:
            count = max(count, len(score.data.get("confusion") or []))
        named = self.data.get("classes") or (self.data.get("protocol") or {}).get("classes") or []
        return [str(named[k]) if k < len(named) else f"class {k}" for k in range(count)]

    def number(self, value: Any, column: Column | None = None, **options: Any) -> Number:
        """A number of this table; digits are those of the column, the first one where none is."""
        digits = (column or self.main).digits
        return Number(finite(value), self.source, **{"digits": digits, **options})

    def of_kind(self, *kinds: str) -> list[Score]:
        """Rows of some kinds."""
        return [score for score in self.scores if score.kind in kinds]


@dataclass
class Protocol:
    """A protocol and its tables.

    Attributes:
        name: of its file.
        run: what is done, as ``finetune`` or ``retrieval``.
        version: of the protocol.
        hash: over everything that decides a number.
        text: the effective protocol.
        results: its tables.
    """

    name: str
    run: str
    version: str
    hash: str
    text: str
    results: list[Result]

    def curves(self) -> list[list[Result]]:
        """Tables of one backbone at two or more label shares, by ascending share."""
        groups: dict[tuple[str, str], list[Result]] = {}
        for result in self.results:
            if result.fraction is not None and result.shown:
                groups.setdefault((result.title, result.protocol_hash), []).append(result)
        ordered = [sorted(group, key=lambda r: r.fraction or 0.0) for group in groups.values()]
        return [group for group in ordered if len({r.fraction for r in group}) > 1]


@dataclass
class Evaluation:
    """Everything that a report shows.

    Attributes:
        folder: it was read from.
        suite: name of the suite.
        command: that repeats it.
        versions: of what it ran on.
        rows: what was loaded, as the record says it.
        refused: (name, reason) of what was not.
        protocols: in order.
    """

    folder: Path
    suite: str
    command: str
    versions: dict[str, str]
    rows: list[dict[str, Any]]
    refused: list[tuple[str, str]]
    protocols: list[Protocol]

    @property
    def results(self) -> list[Result]:
        """All tables."""
        return [result for protocol in self.protocols for result in protocol.results]

    @property
    def compared(self) -> list[str]:
        """Names of the rows that were given, in order; of the tables where the record has none."""
        if self.rows:
            return list(dict.fromkeys(str(row.get("name", "")) for row in self.rows))
        names = (s.name for result in self.results for s in result.of_kind(COMPARED))
        return list(dict.fromkeys(names))


def fraction_of(share: str) -> float | None:
    """A label share as a number in (0, 1]; None where it is none.

    Understands what tables are filed under: ``0.05``, ``5pct``, ``5 %``.
    """
    match = re.fullmatch(r"([0-9.]+(?:e-?\d+)?)\s*(pct|%)?", share.strip())
    try:
        value = float(match[1]) if match else math.nan
    except ValueError:
        return None
    if match and match[2]:
        value = round(value / 100, 10)
    return value if 0 < value <= 1 else None


def finite(value: Any) -> float | None:
    """A number, or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def counted(values: Sized, noun: str) -> str:
    """Such as "1 table" and "3 tables"."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{len(values)} {noun if len(values) == 1 else plural}"
