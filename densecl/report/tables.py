"""The tables of a report, for the page and for Markdown alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from densecl.report.number import DASH, Cell, Grid, Heading, Interval, Number, Text, Verdict
from densecl.report.record import (
    CONTROL,
    MISSING,
    REFERENCE,
    STALE,
    UNFINISHED,
    Evaluation,
    Protocol,
    Result,
    Score,
    finite,
)
from densecl.report.words import difference_of, interval_of, run_title, sentence, table_notes
from densecl.transfer.columns import Column

RATES = {"lr": "learning rate", "decay": "weight decay"}
STATES = {MISSING: "not run", STALE: "out of date"}
ITEMS_SHOWN = 40


def verdicts(evaluation: Evaluation) -> Grid | None:
    """Tables down, compared rows across, verdicts alone; None where nothing is compared."""
    names = evaluation.compared
    rows: list[list[Cell]] = []
    for number, protocol in enumerate(evaluation.protocols, 1):
        for result in protocol.results:
            by = result.by if result.by != DASH else ""
            note = ", ".join(filter(None, [by, protocol.name, result.name]))
            where = protocol_id(number, protocol)
            head = Text(run_title(protocol.run), link=where, note=note)
            rows.append([head, *_judged(result, names), _controls(result)])
    if not names or not rows:
        return None
    headings = [Heading("what is measured"), *map(Heading, names)]
    headings.append(Heading("controls that are better"))
    return Grid("Verdicts on the difference to the reference", headings, rows)


def _judged(result: Result, names: Sequence[str]) -> list[Cell]:
    by_name = {score.name: score for score in result.scores}
    found: list[Cell] = []
    for name in names:
        if result.state in (MISSING, STALE):
            found.append(Text(STATES[result.state]))
        elif name not in by_name:
            found.append(Text(DASH))
        else:
            found.append(verdict_of(by_name[name], result, short=True))
    return found


def _controls(result: Result) -> Cell:
    controls = result.of_kind(CONTROL)
    if not controls or not result.judged:
        return Text(DASH)
    return Text(", ".join(s.name for s in controls if s.verdict == "better") or "none")


def verdict_of(score: Score, result: Result, *, short: bool = False) -> Cell:
    """The verdict of a row, and why it is none."""
    if score.kind == REFERENCE:
        return Text("reference")
    if not result.judged:
        return Text("described" if short else DASH)
    if not score.verdict:
        return Text(DASH)
    note = ""
    if score.interval is None and not short:
        known = finite(score.difference) is not None
        note = "one pair" if known else "no pair"
    if result.state == UNFINISHED and short:
        note = "unfinished"
    return Verdict(score.verdict, note)


def protocol_id(number: int, protocol: Protocol) -> str:
    """Of its section: readable, and unique by its number."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in protocol.name.lower())
    return f"p{number}-{kept}".rstrip("-")


def loaded(evaluation: Evaluation) -> Grid | None:
    """What was loaded for each row; None without a record of it."""
    if not evaluation.rows:
        return None
    fields = ("method", "layout", "branch", "coverage")
    headings = [Heading("row"), *map(Heading, fields), Heading("input"), Heading("fingerprint")]
    rows: list[list[Cell]] = [
        [
            Text(plain(row.get("name"))),
            *(Text(plain(row.get(name))) for name in fields),
            Text(input_said(row.get("input"))),
            Text(plain(row.get("fingerprint")), code=True),
        ]
        for row in evaluation.rows
    ]
    return Grid("What each row was loaded from", headings, rows)


def input_said(value: Any) -> str:
    """Channel order, mean and std in one line."""
    if not isinstance(value, Mapping):
        return plain(value)
    return (
        "; ".join(f"{key.replace('_', ' ')} {plain(item)}" for key, item in value.items()) or DASH
    )


def plain(value: Any) -> str:
    """A setting as text."""
    if value is None or value == "" or value == {} or value == []:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    return str(value)


def results(result: Result) -> Grid:
    """Scores, differences, intervals, verdicts, further columns."""
    main, rest = result.main, result.columns[1:]
    rates = any(score.data.get("lr") is not None for score in result.scores)
    headings = [Heading("row"), Heading(main.heading, "number", _which(main))]
    if result.judged:
        headings += [
            Heading(f"difference to {result.reference}", "number"),
            Heading(f"{result.level} interval", "number"),
            Heading("verdict"),
        ]
    headings += [Heading(column.heading, "number", _which(column)) for column in rest]
    if rates:
        rate = str(result.data.get("rate", "lr"))
        headings.append(Heading(RATES.get(rate, rate), "number"))
    headings.append(Heading("n", "number"))
    rows: list[list[Cell]] = []
    for score in result.scores:
        row: list[Cell] = [Text(score.name), result.number(score.means[main.key], main)]
        if result.judged:
            row += [*_compared(score, result), verdict_of(score, result)]
        row += [result.number(score.means[column.key], column) for column in rest]
        if rates:
            row.append(_rate(score))
        row.append(Text(str(len(score.pairs) or len(score.runs[main.key]))))
        rows.append(row)
    kinds = [score.kind for score in result.scores]
    caption = sentence(f"{main.title} of each row") + (f", {result.name}" if result.name else "")
    return Grid(caption, headings, rows, kinds, notes=table_notes(result))


def _which(column: Column) -> str:
    return {"lower": "lower is better", "none": "describes"}.get(column.better, "")


def _compared(score: Score, result: Result) -> list[Cell]:
    if score.kind == REFERENCE:
        return [Text(DASH), Text(DASH)]
    ends = interval_of(score, result)
    return [difference_of(score, result), Interval(*ends) if ends else Text(DASH)]


def _rate(score: Score) -> Text:
    rate = finite(score.data.get("lr"))
    if rate is None:
        return Text(DASH)
    return Text(f"{rate:g}" + "*" * bool(score.data.get("lr_at_edge")))


def efficiency(group: Sequence[Result]) -> Grid:
    """Means of the first column at each label share; a share's numbers stand in its own column."""
    names = list(dict.fromkeys(score.name for result in group for score in result.scores))
    kinds = {score.name: score.kind for result in group for score in result.scores}
    headings = [Heading("row"), *(Heading(result.share_title, "number") for result in group)]
    rows: list[list[Cell]] = []
    for name in names:
        row: list[Cell] = [Text(name)]
        for result in group:
            score = next((s for s in result.scores if s.name == name), None)
            mean = None if score is None else score.means[result.main.key]
            row.append(result.number(mean, result.main))
        rows.append(row)
    caption = sentence(f"{group[0].main.title} at each share of the labels")
    return Grid(caption, headings, rows, [kinds[name] for name in names])


def by_class(result: Result) -> Grid | None:
    """IoU or average precision of each class; None where the runs have neither."""
    scores = [score for score in result.scores if score.by_class]
    if not scores:
        return None
    names = result.classes
    headings = [Heading("row"), *(Heading(name, "number") for name in names)]
    rows: list[list[Cell]] = []
    for score in scores:
        own = [*score.by_class, *[None] * (len(names) - len(score.by_class))]
        rows.append([Text(score.name), *(_shaded(result, v, v, 2) for v in own)])
    kinds = [score.kind for score in scores]
    what = "IoU" if any(score.data.get("iou") for score in scores) else "Average precision"
    return Grid(f"{what} of each class", headings, rows, kinds, "heat")


def _shaded(result: Result, value: float | None, shade: float | None, digits: int) -> Number:
    inside = None if shade is None else min(1.0, max(0.0, shade))
    return result.number(value, digits=digits, shade=inside)


def confusions(result: Result) -> list[tuple[str, Grid]]:
    """Row name -> confusion matrix in percent of each true class."""
    found = []
    names = result.classes
    for score in result.scores:
        matrix = score.data.get("confusion")
        if not matrix:
            continue
        rows: list[list[Cell]] = []
        for name, counts in zip(names, matrix, strict=False):
            total = math.fsum(finite(value) or 0.0 for value in counts)
            shares = [(finite(v) or 0.0) / total if total else None for v in counts]
            cells = [_shaded(result, None if s is None else 100 * s, s, 0) for s in shares]
            rows.append([Text(name), *cells])
        headings = [Heading("truth"), *(Heading(name, "number") for name in names)]
        caption = f"Confusion matrix of {score.name}: percent of each true class, by prediction"
        found.append((score.name, Grid(caption, headings, rows, style="heat")))
    return found


def single_items(result: Result) -> Grid | None:
    """The first column's score of each item, means over the pairs; None without items."""
    key = result.main.key
    scored = {name: _item_means(pairs, key) for name, pairs in result.items.items()}
    scored = {name: means for name, means in scored.items() if means}
    names = list(dict.fromkeys(item for means in scored.values() for item in means))
    if not names:
        return None
    headings = [Heading("item"), *(Heading(name, "number") for name in scored)]
    rows: list[list[Cell]] = [
        [Text(item), *(result.number(means.get(item)) for means in scored.values())]
        for item in names[:ITEMS_SHOWN]
    ]
    left = len(names) - ITEMS_SHOWN
    notes = [f"{left} more in items.json."] if left > 0 else []
    return Grid(sentence(f"{result.main.title} of single items"), headings, rows, notes=notes)


def _item_means(pairs: Mapping[str, Any], key: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for items in pairs.values():
        for item, scores in items.items():
            value = finite(scores.get(key) if isinstance(scores, Mapping) else scores)
            if value is not None:
                found.setdefault(item, []).append(value)
    return {item: math.fsum(values) / len(values) for item, values in found.items()}


def every_run(result: Result) -> Grid | None:
    """The first column's score of each pair; None where there is one run a row at most."""
    pairs = list(dict.fromkeys(pair for score in result.scores for pair in score.pairs))
    if len(pairs) < 2:
        return None
    headings = [Heading("row")]
    headings += [Heading(f"seed {seed}", "number", subset) for seed, subset in pairs]
    rows: list[list[Cell]] = []
    for score in result.scores:
        runs = dict(zip(score.pairs, score.runs[result.main.key], strict=False))
        rows.append([Text(score.name), *(result.number(runs.get(pair)) for pair in pairs)])
    kinds = [score.kind for score in result.scores]
    return Grid(sentence(f"{result.main.title} of every run"), headings, rows, kinds)


def search(result: Result) -> Grid | None:
    """What each row's rate was chosen from; None where there was no choice."""
    grids = {s.name: s.data.get("lr_validation") or {} for s in result.scores}
    rates = sorted({rate for grid in grids.values() for rate in grid}, key=float)
    if len(rates) < 2:
        return None
    kind = RATES.get(str(result.data.get("rate", "lr")), "rate")
    headings = [
        Heading("row"),
        *(Heading(rate, "number") for rate in rates),
        Heading("chosen", "number"),
    ]
    rows: list[list[Cell]] = [
        [
            Text(score.name),
            *(result.number(grids[score.name].get(rate)) for rate in rates),
            _rate(score),
        ]
        for score in result.scores
    ]
    kinds = [score.kind for score in result.scores]
    caption = f"The same search for every row: {result.main.title} on validation at each {kind}"
    return Grid(caption, headings, rows, kinds)


def refused(evaluation: Evaluation) -> Grid | None:
    """Rows and protocols that were not run, and why."""
    if not evaluation.refused:
        return None
    rows = [[Text(name), Text(reason)] for name, reason in evaluation.refused]
    return Grid("What was left out, and why", [Heading("refused"), Heading("reason")], rows)


def provenance(evaluation: Evaluation) -> Grid | None:
    """State, runs and hash of every table; None without a protocol."""
    rows: list[list[Cell]] = []
    for protocol in evaluation.protocols:
        for result in protocol.results:
            done, total = result.cells
            head = Text(protocol.name, note=result.name)
            runs = f"{done} of {total}" if total else DASH
            split = str(result.data.get("split") or DASH)
            named = (protocol.version or DASH, STATES.get(result.state, result.state), runs, split)
            rows.append([head, *map(Text, named), Text(result.protocol_hash, code=True)])
    headings = map(Heading, ("protocol", "version", "state", "runs", "split", "hash"))
    return Grid("Every table", list(headings), rows) if rows else None
