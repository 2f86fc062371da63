"""Differences to the reference as bars with whiskers.

The drawing is SVG in percent of the room there is and its text is HTML, so that it is as legible
on a phone as on paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from densecl.report.axes import percent, place, tick, tick_text, ticks
from densecl.report.element import Markup, join, tag
from densecl.report.glyphs import glyph
from densecl.report.number import Number

REACH = 3.0
"""An interval that reaches further than so many times the largest difference is cut off, with an
arrow: one row of two pairs must not press all others flat."""


@dataclass(frozen=True)
class Bar:
    """A row of a chart of differences.

    Attributes:
        name: of the row.
        kind: ``control`` or "".
        value: the difference.
        interval: its ends, or None.
        verdict: of the difference.
    """

    name: str
    kind: str
    value: Number
    interval: tuple[Number, Number] | None
    verdict: str


def differences(bars: Sequence[Bar], caption: str, sides: tuple[str, str]) -> Markup:
    """Bars from zero, with whiskers; to the left what is below zero.

    Args:
        bars: in order.
        caption: of the figure.
        sides: what lies to the left of zero and to the right, as ("worse", "better").

    Raises:
        ValueError: the differences come from more than one table.
    """
    if len({bar.value.source for bar in bars}) > 1:
        raise ValueError(f"{caption}: bars of two tables in one chart")
    low, high = extent(bars)
    rows = [_bar(bar, low, high) for bar in bars]
    marks = ticks(low, high, 5)
    axis = tag(
        "div",
        tag(
            "div",
            [tick(mark, place(mark, low, high), "left", tick_text(mark, marks)) for mark in marks],
            class_="xs",
        ),
        tag("div", *(tag("span", side) for side in sides), class_="sides"),
        class_="axis",
        aria_hidden="true",
    )
    listed = tag("ul", rows, class_="bars")
    return tag("figure", tag("figcaption", caption), listed, axis, class_="differences")


def extent(bars: Sequence[Bar]) -> tuple[float, float]:
    """Ends of the axis: zero, every difference, and the intervals as far as ``REACH``."""
    values = [bar.value.value or 0.0 for bar in bars if bar.value.known]
    ends = [end.value or 0.0 for bar in bars if bar.interval for end in bar.interval if end.known]
    furthest = max((abs(value) for value in values), default=0.0)
    within = max((abs(end) for end in ends), default=0.0)
    nearest = min(
        (max(abs(e.value or 0.0) for e in b.interval) for b in bars if b.interval), default=0
    )
    reach = min(within, max(REACH * furthest, nearest))
    ends = [max(-reach, min(reach, end)) for end in ends]
    low, high = min(0.0, *values, *ends, 0.0), max(0.0, *values, *ends, 0.0)
    room = (high - low or 1.0) * 0.06
    return low - room, high + room


def _bar(bar: Bar, low: float, high: float) -> Markup:
    zero = place(0.0, low, high)
    axis = tag("line", x1=zero, x2=zero, y1="0", y2="100%", class_="zero")
    parts = []
    if bar.value.known:
        left, right = sorted((0.0, bar.value.value or 0.0))
        parts.append(
            tag(
                "rect",
                x=place(left, low, high),
                width=percent((right - left) / (high - low)),
                y="-7",
                height="14",
                class_="bar",
            )
        )
    if bar.interval and all(end.known for end in bar.interval):
        parts += _whisker(*(end.value or 0.0 for end in bar.interval), low=low, high=high)
    middle = tag("svg", parts, y="50%", overflow="visible")
    drawn = tag("svg", axis, middle, aria_hidden="true", focusable="false")
    value = tag("span", glyph(bar.verdict), str(bar.value), class_="value")
    said = tag("span", f"{bar.verdict}, " if bar.verdict else "", class_="unseen")
    between = f" ({bar.interval[0]} to {bar.interval[1]})" if bar.interval else ""
    whole = tag("span", between, class_="unseen")
    name = tag("span", bar.name, class_="name")
    kinds = f"{bar.verdict} {bar.kind}".strip()
    return tag("li", name, drawn, join(said, value, whole), class_=kinds)


def _whisker(start: float, end: float, *, low: float, high: float) -> list[Markup]:
    shown = [max(low, min(high, x)) for x in (start, end)]
    first, last = (place(x, low, high) for x in shown)
    parts = [tag("line", x1=first, x2=last, y1="0", y2="0", class_="whisker")]
    for given, x, text in ((start, shown[0], first), (end, shown[1], last)):
        if given == x:
            parts.append(tag("line", x1=text, x2=text, y1="-4.5", y2="4.5", class_="whisker"))
        else:
            path = "M7,-4l-6,4l6,4" if given < x else "M-7,-4l6,4l-6,4"
            arrow = tag("path", d=path, class_="whisker arrow")
            parts.append(tag("svg", arrow, x=text, overflow="visible"))
    return parts
