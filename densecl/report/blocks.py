"""Tables, code and folds of the page."""

from __future__ import annotations

from densecl.report.element import Markup, join, tag
from densecl.report.glyphs import verdict
from densecl.report.number import Cell, Grid, Interval, Number, Verdict
from densecl.report.palette import SHADES


def table(grid: Grid) -> Markup:
    """A table in a box of its own that scrolls where it is too wide."""
    head = [
        tag(
            "th",
            tag("span", h.text),
            _small(h.note),
            scope="col",
            class_=_align(h.align == "number"),
        )
        for h in grid.headings
    ]
    rows = []
    for kind, cells in grid.lines():
        first = tag("th", _inner(cells[0]), scope="row")
        rest = [
            tag("td", _inner(cell), class_=_class(cell, heading.align == "number"))
            for cell, heading in zip(cells[1:], grid.headings[1:], strict=True)
        ]
        rows.append(tag("tr", first, rest, class_=kind or None))
    drawn = tag(
        "table",
        tag("caption", grid.caption),
        tag("thead", tag("tr", head)),
        tag("tbody", rows),
        class_=grid.style,
    )
    box = tag("div", drawn, class_="scroll", role="group", aria_label=grid.caption, tabindex="0")
    return join(box, tag("p", " ".join(grid.notes), class_="notes") if grid.notes else None)


def _small(text: str) -> Markup | None:
    return tag("small", text) if text else None


def _align(number: bool) -> str | None:
    return "number" if number else None


def _class(cell: Cell, number: bool) -> str | None:
    shade = getattr(cell, "shade", None)
    named = ["number"] if number else []
    if isinstance(cell, Number) and cell.known and shade is not None:
        named.append(f"h{round(shade * SHADES)}")
    return " ".join(named) or None


def _inner(cell: Cell) -> Markup:
    if isinstance(cell, Verdict):
        return verdict(cell)
    if isinstance(cell, Number | Interval):
        return join(str(cell))
    text = tag("code", cell.text) if cell.code else join(cell.text)
    if cell.link:
        text = tag("a", text, href=f"#{cell.link}")
    return join(text, " " if cell.note else None, _small(cell.note))


def code(text: str, title: str) -> Markup:
    """Text to copy."""
    button = tag(
        "button", "Copy", type="button", class_="copy", hidden=True, aria_label=f"Copy: {title}"
    )
    bar = tag("div", tag("span", title), button, class_="bar")
    shown = tag("pre", tag("code", text), tabindex="0", role="group", aria_label=title)
    return tag("div", bar, shown, class_="code")


def fold(title: str, *children: Markup) -> Markup:
    """What only some readers want."""
    return tag("details", tag("summary", title), *children)
