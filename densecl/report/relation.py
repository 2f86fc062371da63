"""Do alignment and uniformity predict what transfer makes of a row? Rank correlations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from densecl.report.number import DASH, Cell, Grid, Heading, Interval, Number, Source, Text
from densecl.report.record import COMPARED, REFERENCE, Evaluation, Protocol, Result, finite
from densecl.report.words import run_title

if TYPE_CHECKING:
    from densecl.diagnostics.relation import Relation

MEASURES, ALIGNMENT, UNIFORMITY = "measures", "alignment", "uniformity_all"
TRANSFER = ("finetune", "detection", "probe", "retrieval")
"""Runs that a measure of the frozen features may predict."""
LEAST = 4
"""Checkpoints below which ranks mean nothing."""
TITLE = "Do the measures predict transfer?"

Point = tuple[str, int]
"""(row, pretraining seed); the reference is the row ""."""


def relation(evaluation: Evaluation) -> Grid | None:
    """One column a table of transfer; None without measures of four checkpoints.

    A checkpoint is a pretraining run: a row given and a seed, or the reference's random weights of
    a seed. Controls are none.
    """
    measured = next(_measured(evaluation), None)
    if measured is None:
        return None
    from densecl.diagnostics.relation import NAME, relate

    names, alignment, uniformity = measured
    found: list[tuple[Protocol, Result, Relation]] = []
    for protocol in evaluation.protocols:
        for result in protocol.results if protocol.run in TRANSFER else ():
            if not (result.shown and result.main.better == "higher"):
                continue
            transfer = _points(result, result.main.key, evaluation.compared)
            known = transfer.keys() & alignment.keys() & uniformity.keys()
            if len(known) >= LEAST:
                columns = (_named(each) for each in (alignment, uniformity, transfer))
                found.append((protocol, result, relate(*columns)))
    if not found:
        return None
    headings = [Heading("correlation with transfer")]
    headings += [_heading(protocol, result) for protocol, result, _ in found]
    both = [(r, Source(f"{names} {p.protocol_hash}", p.source.table)) for _, p, r in found]
    rows: list[list[Cell]] = []
    for key, title in (
        ("rho", "of both ranks together (1 = they predict it)"),
        ("partial_alignment", "of alignment, uniformity held fixed (useful: negative)"),
        ("partial_uniformity", "of uniformity, alignment held fixed (useful: negative)"),
    ):
        rows.append([Text(title), *(_number(getattr(r, key), source) for r, source in both)])
        rows.append([Text("95 % interval"), *(_interval(r, key, source) for r, source in both)])
    rows.append([Text("checkpoints"), *(Text(str(r.checkpoints)) for r, _ in both)])
    notes = (
        f"Spearman's, {NAME}: this project's own definition. A checkpoint is a pretraining run of"
        " a row, or random weights; intervals are of a bootstrap over the checkpoints, which takes"
        " runs of one row as independent, though they are alike.",
    )
    caption = "Rank correlation of alignment and uniformity with transfer"
    return Grid(caption, headings, rows, notes=notes)


def _measured(
    evaluation: Evaluation,
) -> Iterator[tuple[str, dict[Point, float], dict[Point, float]]]:
    """Hash, alignment and uniformity of each table that has both."""
    for protocol in evaluation.protocols:
        for result in protocol.results if protocol.run == MEASURES else ():
            keys = {column.key for column in result.columns}
            if result.shown and {ALIGNMENT, UNIFORMITY} <= keys:
                compared = evaluation.compared
                columns = (_points(result, key, compared) for key in (ALIGNMENT, UNIFORMITY))
                yield (result.protocol_hash, *columns)  # type: ignore[misc]


def _points(result: Result, key: str, compared: list[str]) -> dict[Point, float]:
    """Checkpoint -> mean over the label subsets of its seed."""
    scores: dict[Point, list[float]] = {}
    for score in result.of_kind(REFERENCE, COMPARED):
        name = "" if score.kind == REFERENCE else score.name
        if name and name not in compared:
            continue
        for (seed, _), value in zip(score.pairs, score.runs[key], strict=False):
            if (number := finite(value)) is not None:
                scores.setdefault((name, seed), []).append(number)
    return {point: sum(values) / len(values) for point, values in scores.items()}


def _named(points: dict[Point, float]) -> dict[str, float]:
    return {f"{name} {seed}": value for (name, seed), value in points.items()}


def _heading(protocol: Protocol, result: Result) -> Heading:
    named = ", ".join(filter(None, [protocol.name, result.name]))
    return Heading(run_title(protocol.run), "number", named)


def _number(value: float, source: Source) -> Number:
    return Number(finite(value), source, digits=2, signed=True)


def _interval(found: Relation, key: str, source: Source) -> Cell:
    low, high = (finite(end) for end in found.intervals[key])
    if low is None or high is None:
        return Text(DASH)
    return Interval(_number(low, source), _number(high, source))
