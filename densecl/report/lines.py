"""Lines over a common axis: label-efficiency and threshold curves.

The drawing is SVG in percent of the room there is and its text is HTML, see ``bars``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from densecl.report.axes import padded, percent, place, tick, tick_text, ticks
from densecl.report.element import Markup, tag
from densecl.report.palette import SERIES

MARKERS = (
    "M-3.6,0a3.6,3.6 0 1 0 7.2,0a3.6,3.6 0 1 0 -7.2,0z",
    "M-3.3,-3.3h6.6v6.6h-6.6z",
    "M0,-4.2l4,7.2h-8z",
    "M0,-4.6l4.2,4.6l-4.2,4.6l-4.2,-4.6z",
    "M0,4.2l4,-7.2h-8z",
    "M-4,-1.2h2.8v-2.8h2.4v2.8h2.8v2.4h-2.8v2.8h-2.4v-2.8h-2.8z",
)
DASHES = ("", "7 4", "2 3")


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
        name: in the legend.
        points: (x, y), by ascending x.
        protocol: hash of the protocol that they were measured by.
        spread: further points, drawn faintly: the single runs.
        reference: drawn as the row that others are compared with.
        slot: which colour, marker and dash, so that a row looks alike in every chart.
    """

    name: str
    points: Sequence[tuple[float, float]]
    protocol: str
    spread: Sequence[tuple[float, float]] = field(default=())
    reference: bool = False
    slot: int = 0


def lines(
    series: Sequence[Series],
    caption: str,
    xlabel: str,
    ylabel: str,
    *,
    log: bool = False,
    xmarks: Sequence[tuple[float, str]] = (),
) -> Markup | None:
    """Lines over a common axis; None where there is no point.

    Args:
        series: in the legend's order.
        caption: of the figure.
        xlabel, ylabel: of the axes.
        log: logarithmic x; all of them are > 0.
        xmarks: (x, text) where the axis is marked; () = at round numbers.

    Raises:
        ValueError: a line without a protocol, or lines of two.
    """
    hashes = {one.protocol for one in series}
    if "" in hashes or len(hashes) > 1:
        raise ValueError(f"{caption}: lines of protocols {sorted(hashes)} in one chart")
    every = [p for one in series for p in (*one.points, *one.spread)]
    if not every:
        return None
    scale = math.log if log else float
    xs, ys = [scale(x) for x, _ in every], [y for _, y in every]
    left, right = padded(min(xs), max(xs), 0.04)
    low, high = padded(min(ys), max(ys), 0.08)
    marks = [(scale(x), text) for x, text in xmarks]
    if not marks:
        chosen = ticks(left, right, 6)
        marks = [(x, tick_text(x, chosen)) for x in chosen]
    levels = ticks(low, high, 5)
    grid = [
        tag(
            "line", x1="0", x2="100%", y1=place(y, high, low), y2=place(y, high, low), class_="rule"
        )
        for y in levels
    ]

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return (scale(point[0]) - left) / (right - left), (high - point[1]) / (high - low)

    drawn = [_line(one, [at(p) for p in one.points], [at(p) for p in one.spread]) for one in series]
    names = ", ".join(one.name for one in series)
    plot = tag("svg", grid, drawn, role="img", aria_label=f"{caption}. Lines: {names}.")
    ys_text = [tick(y, place(y, high, low), "top", tick_text(y, levels)) for y in levels]
    xs_text = [tick(x, place(x, left, right), "left", text) for x, text in marks]
    return tag(
        "figure",
        tag("figcaption", caption),
        legend(series),
        tag(
            "div",
            tag("div", ylabel, class_="ylabel"),
            tag("div", ys_text, class_="ys", aria_hidden="true"),
            plot,
            tag("div", xs_text, class_="xs", aria_hidden="true"),
            tag("div", xlabel, class_="xlabel"),
            class_="plot",
        ),
        class_="lines",
    )


def _line(
    one: Series, points: Sequence[tuple[float, float]], spread: Sequence[tuple[float, float]]
) -> Markup:
    path = "M" + "L".join(f"{x * 1000:.1f},{y * 1000:.1f}" for x, y in points)
    stroke = tag("path", d=path, class_="stroke", stroke_dasharray=_dash(one))
    scaled = tag("svg", stroke, viewBox="0 0 1000 1000", preserveAspectRatio="none")
    faint = [tag("circle", cx=percent(x), cy=percent(y), r="1.8", class_="run") for x, y in spread]
    every = max(1, math.ceil(len(points) / 6))
    first = one.slot * every // SERIES if every > 1 else 0
    marked = [_marker(one, percent(x), percent(y)) for x, y in points[first::every]]
    return tag("g", scaled if points else None, faint, marked, class_=_slot(one))


def legend(series: Sequence[Series]) -> Markup:
    """Names with their colour, dash and marker."""
    entries = []
    for one in series:
        rule = tag(
            "line", x1="0", x2="30", y1="6", y2="6", class_="stroke", stroke_dasharray=_dash(one)
        )
        sample = tag("svg", rule, _marker(one, "15", "6"), class_=_slot(one), aria_hidden="true")
        entries.append(tag("li", sample, one.name))
    return tag("ul", entries, class_="legend")


def _marker(one: Series, x: str, y: str) -> Markup:
    shape = tag("path", d=MARKERS[one.slot % len(MARKERS)], class_="marker")
    return tag("svg", shape, x=x, y=y, overflow="visible")


def _slot(one: Series) -> str:
    return "series reference" if one.reference else f"series s{one.slot % SERIES}"


def _dash(one: Series) -> str:
    return "4 3" if one.reference else DASHES[one.slot // SERIES % len(DASHES)]
