"""Scores of single items in the order of the data: a drive, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densecl.files import read_json
from densecl.studies.curve import new_axes, save
from densecl.transfer.table import Table

LISTED = 24
"""Most items that a Markdown table lists."""


@dataclass(frozen=True)
class Items:
    """Scores of the items of a table.

    Attributes:
        names: of the items, in order.
        scores: row -> score of each item, mean over the row's runs; NaN where none has one.
        spread: row -> lowest and highest of the runs, of each item.
        title: of the score.
        split: that the items are of.
    """

    names: tuple[str, ...]
    scores: Mapping[str, Sequence[float]]
    spread: Mapping[str, Sequence[tuple[float, float]]]
    title: str
    split: str


def read_items(folder: Path, table: Table) -> Items | None:
    """What a table's runs wrote of single items; None where they wrote nothing.

    Args:
        folder: of the table's files.
        table: its rows are taken.
    """
    value = read_json(folder / "items.json")
    if not isinstance(value, Mapping) or not value.get("rows"):
        return None
    column = table.columns[0]
    rows = {row.name: value["rows"].get(row.name) or {} for row in table.rows}
    runs = [items for pairs in rows.values() for items in pairs.values()]
    names = tuple(dict.fromkeys(name for items in runs for name in items))
    scores: dict[str, list[float]] = {}
    spread: dict[str, list[tuple[float, float]]] = {}
    for row, pairs in rows.items():
        found = [
            _known((items.get(name) for items in pairs.values()), column.key) for name in names
        ]
        if any(found):
            scores[row] = [math.fsum(own) / len(own) if own else math.nan for own in found]
            spread[row] = [(min(own), max(own)) if own else (math.nan, math.nan) for own in found]
    if len(names) < 2 or not scores:
        return None
    return Items(names, scores, spread, column.title, str(value.get("split") or ""))


def _known(items: Iterable[Any], key: str) -> list[float]:
    values = [item.get(key) for item in items if isinstance(item, Mapping)]
    return [float(value) for value in values if value is not None and math.isfinite(value)]


def items_markdown(items: Items) -> str:
    """Rows down, items across; of many items what their chart shows in one sentence."""
    lead = f"{items.title} of each item of {items.split}, mean over the row's runs"
    if len(items.names) > LISTED:
        return f"{lead}: {len(items.names)} items, drawn below.\n"
    lines = [f"{lead}.", "", "| row | " + " | ".join(items.names) + " |"]
    lines.append("|" + "---|" * (1 + len(items.names)))
    for row, scores in items.scores.items():
        shown = ["-" if math.isnan(score) else f"{score:.3f}" for score in scores]
        lines.append(f"| {row} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def draw_items(path: Path, items: Items, title: str) -> Path:
    """A picture: a line a row over the items, a band from the lowest to the highest run.

    Args:
        path: a .png.
        items: from ``read_items``.
        title: of the picture.

    Raises:
        UsageError: matplotlib is not installed.
    """
    axes = new_axes(9.6)
    places = range(len(items.names))
    for row, scores in items.scores.items():
        (line,) = axes.plot(places, scores, marker="." if len(places) < 50 else "", label=row)
        low, high = zip(*items.spread[row], strict=True)
        axes.fill_between(places, low, high, color=line.get_color(), alpha=0.1, linewidth=0)
    if len(places) <= LISTED:
        axes.set_xticks(places, items.names, rotation=45, ha="right")
    axes.set(xlabel=f"item of {items.split}, in order", ylabel=items.title, title=title)
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return save(axes, path)
