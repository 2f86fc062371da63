"""Measured numbers, which are shown with their protocol or not at all.

A number that was measured is a ``Number``: it cannot be made without the hash of the protocol it
was measured by, a table's cell takes no bare float, and a table refuses a column whose numbers
come from more than one table of one protocol.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
THIN = "\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True)
class Source:
    """The table that a number stands in.

    Attributes:
        protocol: hash of the protocol.
        table: which of its tables: label share, backbone.

    Raises:
        ValueError: there is no hash.
    """

    protocol: str
    table: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.protocol, str) or not self.protocol.strip():
            raise ValueError("a number without the hash of its protocol is not shown")


@dataclass(frozen=True)
class Number:
    """A measured number.

    Attributes:
        value: None, NaN and infinities are shown as a dash.
        source: where it was measured.
        digits: after the point.
        signed: with a sign even where it is positive.
        shade: 0 to 1, how dark the cell behind it is; None = not at all.
    """

    value: float | None
    source: Source
    digits: int = 3
    signed: bool = False
    shade: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.source, Source):
            raise TypeError(f"the source of a number is a Source, not {self.source!r}")

    @property
    def known(self) -> bool:
        """There is a finite value."""
        return self.value is not None and math.isfinite(self.value)

    def __str__(self) -> str:
        if self.value is None or not math.isfinite(self.value):
            return DASH
        text = f"{abs(self.value):.{self.digits}f}"
        if self.value == 0 or (float(text) == 0 and not self.signed):
            return text
        # a signed number that rounds to zero keeps its sign: it says on which side an end lies
        return (MINUS if self.value < 0 else "+" if self.signed else "") + text


@dataclass(frozen=True)
class Interval:
    """Both ends of an interval, which come from one source.

    Raises:
        ValueError: they do not.
    """

    low: Number
    high: Number

    def __post_init__(self) -> None:
        if self.low.source != self.high.source:
            raise ValueError("the ends of an interval come from two tables")

    @property
    def source(self) -> Source:
        """Of both ends."""
        return self.low.source

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


@dataclass(frozen=True)
class Verdict:
    """A word of ``WORDS``, or another one that judges nothing.

    Attributes:
        word: shown.
        note: why, where it needs saying.
    """

    word: str
    note: str = ""

    WORDS = ("better", "worse", "inconclusive")

    def __str__(self) -> str:
        return f"{self.word} ({self.note})" if self.note else self.word


@dataclass(frozen=True)
class Text:
    """Words, names, settings, counts: whatever was not measured.

    Attributes:
        text: shown.
        code: set like code.
        link: id of a place in the report.
        note: small print after it.
    """

    text: str
    code: bool = False
    link: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.note})" if self.note else self.text


Cell = Text | Number | Interval | Verdict
Align = Literal["text", "number"]


@dataclass(frozen=True)
class Heading:
    """Of a column.

    Attributes:
        text: shown.
        align: as text or as numbers.
        note: small print below it.
    """

    text: str
    align: Align = "text"
    note: str = ""


@dataclass
class Grid:
    """A table that can be shown: each column's numbers come from one source.

    Attributes:
        caption: what it shows.
        headings: of the columns.
        rows: their cells; the first one names the row.
        kinds: of each row: ``reference``, ``control`` or ``""``.
        style: ``plain``, or ``heat`` for many narrow shaded columns.
        notes: lines below it.

    Raises:
        TypeError: a cell is a bare value.
        ValueError: rows of unequal length, or numbers of two sources in one column.
    """

    caption: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]
    kinds: Sequence[str] = ()
    style: Literal["plain", "heat"] = "plain"
    notes: Sequence[str] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.headings):
                raise ValueError(
                    f"{self.caption}: {len(row)} cells under {len(self.headings)} headings"
                )
        for heading, column in zip(self.headings, self.columns(), strict=True):
            for cell in column:
                if not isinstance(cell, Cell):
                    raise TypeError(f"{self.caption}, {heading.text}: {cell!r} has no protocol")
            sources = {cell.source for cell in column if isinstance(cell, Number | Interval)}
            if len(sources) > 1:
                named = " and ".join(sorted(f"{s.protocol} {s.table}".strip() for s in sources))
                raise ValueError(
                    f"{self.caption}: numbers of {named} cannot stand in one column"
                    f" ({heading.text!r})"
                )

    def columns(self) -> Iterator[tuple[Any, ...]]:
        """Cells of each column."""
        return (tuple(row[k] for row in self.rows) for k in range(len(self.headings)))

    def lines(self) -> Iterator[tuple[str, Sequence[Cell]]]:
        """Kind and cells of each row."""
        kinds = self.kinds or [""] * len(self.rows)
        return zip(kinds, self.rows, strict=True)
