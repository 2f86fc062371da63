"""The report as Markdown: the same tables and sentences, pictures by their place in the folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from densecl.report import tables, words
from densecl.report.number import Grid, Text
from densecl.report.record import Evaluation, Protocol, Result
from densecl.report.relation import TITLE, relation

SPECIAL = re.compile(r"([\\`*\[\]<>|#]|(?<!\w)_|_(?!\w)|&(?=#?\w+;))")
"""What Markdown would read as markup; an underscore within a word is none."""


def markdown(evaluation: Evaluation) -> str:
    """The whole text."""
    lines = [f"# {safe(words.title_of(evaluation))}", ""]
    for mark in words.marks(evaluation):
        lines += [f"**{safe(mark)}**", ""]
    lines += [safe(words.overview(evaluation)), ""]
    if grid := tables.verdicts(evaluation):
        lines += table(grid)
    for protocol in evaluation.protocols:
        for result in protocol.results:
            name = ", ".join(filter(None, [words.run_title(protocol.run), result.name]))
            by = f"{safe(result.by)}, protocol {safe(protocol.name)}, `{result.protocol_hash}`"
            lines.append(f"- **{safe(name)}** ({by}): {safe(words.finding(result))}")
    if evaluation.results:
        lines.append("")
    if grid := tables.refused(evaluation):
        lines += ["## Refused", "", *table(grid)]
    for protocol in evaluation.protocols:
        lines += _protocol(protocol, evaluation.folder)
    if grid := relation(evaluation):
        lines += [f"## {TITLE}", "", *table(grid)]
    if grid := tables.loaded(evaluation):
        lines += ["## What was loaded", "", *table(grid)]
    lines += [*_again(evaluation), "## How to read it", ""]
    lines += [f"- **{safe(term)}**: {safe(text)}" for term, text in words.READING]
    return "\n".join(lines).rstrip() + "\n"


def _protocol(protocol: Protocol, folder: Path) -> Iterator[str]:
    yield from (f"## {safe(words.run_title(protocol.run))}: {safe(protocol.name)}", "")
    version = f", version {safe(protocol.version)}" if protocol.version else ""
    yield from (f"Protocol {safe(protocol.name)}{version}, hash `{protocol.hash}`.", "")
    if protocol.run in words.RUNS:
        yield from (words.RUNS[protocol.run][1], "")
    for group in protocol.curves():
        yield from table(tables.efficiency(group))
    for result in protocol.results:
        yield from _result(result, folder, named=len(protocol.results) > 1)
    if protocol.text:
        yield from fenced(protocol.text, "python")


def _result(result: Result, folder: Path, *, named: bool) -> Iterator[str]:
    if named or result.name:
        yield from (f"### {safe(result.name or 'all')}", "")
    for mark in words.table_marks(result):
        yield from (f"**{safe(mark)}**", "")
    if not result.shown:
        return
    yield from table(tables.results(result))
    if grid := tables.by_class(result):
        yield from table(grid)
    for _, grid in tables.confusions(result):
        yield from table(grid)
    for found in (tables.single_items(result), tables.every_run(result), tables.search(result)):
        if found:
            yield from table(found)
    for picture in result.pictures:
        try:
            place = picture.path.relative_to(folder).as_posix()
        except ValueError:
            place = picture.path.as_posix()
        yield from (f"![{safe(picture.title)}]({quote(place)})", "")
        if picture.caption:
            yield from (safe(picture.caption), "")


def _again(evaluation: Evaluation) -> Iterator[str]:
    yield from ("## To repeat it", "")
    commands = [evaluation.command, *(result.command for result in evaluation.results)]
    if text := "\n".join(dict.fromkeys(filter(None, commands))):
        yield from fenced(text, "sh")
    if grid := tables.provenance(evaluation):
        yield from table(grid)
    if evaluation.versions:
        said = ", ".join(f"{name} {value}" for name, value in evaluation.versions.items())
        yield from (f"Versions: {safe(said)}.", "")


def table(grid: Grid) -> Iterator[str]:
    """A table with its caption above and its notes below."""
    yield from (f"*{safe(grid.caption)}*", "")
    heads = [h.text + (f" ({h.note})" if h.note else "") for h in grid.headings]
    yield "| " + " | ".join(map(safe, heads)) + " |"
    yield "|" + "|".join("---:" if h.align == "number" else "---" for h in grid.headings) + "|"
    for _, cells in grid.lines():
        shown = [
            f"`{cell.text}`"
            if isinstance(cell, Text) and cell.code and not SPECIAL.search(cell.text)
            else safe(str(cell))
            for cell in cells
        ]
        yield "| " + " | ".join(shown) + " |"
    yield ""
    if grid.notes:
        yield from (safe(" ".join(grid.notes)), "")


def fenced(text: str, language: str) -> Iterator[str]:
    """Code between fences longer than any within it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    yield from (f"{fence}{language}", text.rstrip("\n"), fence, "")


def safe(text: str) -> str:
    """Text on one line that Markdown shows as it is."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))
