"""The budget curve: what a method is worth after so many steps, and from when on it pays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densecl.errors import UsageError
from densecl.files import write_atomically
from densecl.transfer.table import Table


@dataclass(frozen=True)
class Point:
    """One method at one budget.

    Attributes:
        method: the row.
        steps: of pretraining.
        mean: mIoU over the pairs.
        difference: to the reference, mean over the pairs.
        interval: of the difference; None with fewer than two pairs.
        verdict: better, worse or inconclusive.
        count: number of pairs.
    """

    method: str
    steps: int
    mean: float
    difference: float
    interval: tuple[float, float] | None
    verdict: str
    count: int


def curve_points(table: Table, budgets: Mapping[str, tuple[str, int]]) -> list[Point]:
    """The points of a table, by method and ascending budget.

    Args:
        table: with a row for each method at each budget.
        budgets: row -> (method, steps).
    """
    points = []
    for row in table.rows:
        if row.name not in budgets or not row.scores:
            continue
        found = table.difference(row)
        assert found is not None
        method, steps = budgets[row.name]
        points.append(
            Point(
                method,
                steps,
                row.mean,
                found.mean,
                found.interval,
                found.verdict or "-",
                found.count,
            )
        )
    methods = list(dict.fromkeys(method for method, _ in budgets.values()))
    return sorted(points, key=lambda point: (methods.index(point.method), point.steps))


def pays_from(points: Sequence[Point], method: str) -> int | None:
    """The smallest budget from which on the interval lies above the reference, at every budget.

    None where it does not at the largest budget.
    """
    start = None
    for point in sorted((p for p in points if p.method == method), key=lambda p: -p.steps):
        if point.verdict != "better":
            break
        start = point.steps
    return start


def statements(points: Sequence[Point], reference: str) -> list[str]:
    """One sentence a method."""
    sentences = []
    for method in dict.fromkeys(point.method for point in points):
        start = pays_from(points, method)
        own = [point for point in points if point.method == method]
        tried = ", ".join(str(point.steps) for point in own)
        better = ", ".join(str(point.steps) for point in own if point.verdict == "better")
        if start is None and better:
            said = f"clear of {reference} at {better} steps, but not at the largest budget"
            said += f" (tried: {tried})"
        elif start is None:
            said = f"not clear of {reference} within the budgets tried ({tried} steps)"
        else:
            said = f"starts to pay at {start} steps: from there on its interval is clear of"
            said += f" {reference} (tried: {tried})"
        sentences.append(f"{method}: {said}.")
    return sentences


def curve_markdown(points: Sequence[Point], reference: str, level: float = 0.95) -> str:
    """The points as a table, and the statements."""
    header = [
        "method",
        "steps",
        "mIoU",
        f"difference to {reference}",
        f"{level * 100:g} % interval",
    ]
    lines = ["| " + " | ".join([*header, "verdict", "n"]) + " |", "|" + "---|" * 7]
    for point in points:
        low_high = "-"
        if point.interval is not None:
            low_high = f"[{point.interval[0]:+.3f}, {point.interval[1]:+.3f}]"
        difference = "-" if math.isnan(point.difference) else f"{point.difference:+.3f}"
        cells = [point.method, f"{point.steps}", f"{point.mean:.3f}", difference, low_high]
        lines.append("| " + " | ".join([*cells, point.verdict, str(point.count)]) + " |")
    return "\n".join([*lines, "", *(f"- {text}" for text in statements(points, reference))]) + "\n"


def draw_curve(
    path: Path, points: Sequence[Point], reference: float, name: str, title: str
) -> Path:
    """A picture: mIoU against pretraining steps, the interval of the difference as a band.

    Args:
        path: a .png.
        points: from ``curve_points``.
        reference: mIoU of the reference row.
        name: of the reference row.
        title: of the picture.

    Raises:
        UsageError: matplotlib is not installed.
    """
    axes = new_axes()
    axes.axhline(reference, color="black", linestyle="--", linewidth=1, label=name)
    for method in dict.fromkeys(point.method for point in points):
        own = [point for point in points if point.method == method]
        steps = [point.steps for point in own]
        (line,) = axes.plot(steps, [point.mean for point in own], marker="o", label=method)
        known = [point for point in own if point.interval is not None]
        axes.fill_between(
            [point.steps for point in known],
            [reference + point.interval[0] for point in known if point.interval],
            [reference + point.interval[1] for point in known if point.interval],
            color=line.get_color(),
            alpha=0.15,
            linewidth=0,
        )
    every = sorted({point.steps for point in points})
    axes.set_xscale("log")
    axes.set_xticks(every, [str(steps) for steps in every])
    axes.minorticks_off()
    axes.set(xlabel="pretraining steps", ylabel="mIoU", title=title)
    axes.legend(frameon=False)
    return save(axes, path)


def new_axes(width: float = 6.4) -> Any:
    """Axes of a figure of their own.

    Args:
        width: inches.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "no curve is drawn: matplotlib is not installed", fix="pip install 'densecl[viz]'"
        ) from error
    figure = Figure(figsize=(width, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def save(axes: Any, path: Path) -> Path:
    """Write the figure of axes as a .png."""
    write_atomically(path, lambda temporary: axes.figure.savefig(temporary, dpi=120, format="png"))
    return path


def point_dict(point: Point) -> dict[str, Any]:
    """Plain values; NaN becomes None."""
    return {
        "method": point.method,
        "steps": point.steps,
        "miou_mean": point.mean,
        "difference": None if math.isnan(point.difference) else point.difference,
        "interval": None if point.interval is None else list(point.interval),
        "verdict": point.verdict,
        "n": point.count,
    }
