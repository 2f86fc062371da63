"""The page: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from densecl.report import tables, words
from densecl.report.blocks import code, fold, table
from densecl.report.element import Markup, join, tag
from densecl.report.glyphs import verdict
from densecl.report.number import Grid, Verdict
from densecl.report.palette import stylesheet
from densecl.report.pictures import Packed
from densecl.report.record import CONTROL, REFERENCE, Evaluation
from densecl.report.relation import TITLE, relation
from densecl.report.section import ProtocolSection


def page(evaluation: Evaluation, pictures: Mapping[Path, Packed]) -> str:
    """The whole page.

    Args:
        evaluation: what it shows.
        pictures: those that could be packed.
    """
    folder = files("densecl.report")
    style = stylesheet() + "\n" + (folder / "page.css").read_text(encoding="utf-8")
    script = (folder / "page.js").read_text(encoding="utf-8")
    title = words.title_of(evaluation)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(style)),
        tag("script", Markup(script)),
    )
    sections = _sections(evaluation, pictures)
    body = tag(
        "body",
        tag("a", "Skip to the report", href="#report", class_="skip"),
        _header(evaluation, title),
        tag(
            "div",
            _contents(sections),
            tag("main", (s for _, _, s in sections), id="report"),
            class_="body",
        ),
        _footer(),
        tag("p", id="said", class_="unseen", role="status"),
    )
    return "<!doctype html>\n" + tag("html", head, "\n", body, lang="en") + "\n"


Section = tuple[str, str, Markup]
"""(id, name in the contents, section)."""


def _sections(evaluation: Evaluation, pictures: Mapping[Path, Packed]) -> list[Section]:
    found = [_summary(evaluation)]
    if refused := tables.refused(evaluation):
        found.append(_section("refused", "Refused", table(refused)))
    slots = _slots(evaluation)
    for number, protocol in enumerate(evaluation.protocols, 1):
        shown = ProtocolSection(protocol, tables.protocol_id(number, protocol), slots, pictures)
        found.append((shown.id, words.run_title(protocol.run), shown.section()))
    if grid := relation(evaluation):
        found.append(_section("relation", TITLE, table(grid)))
    if grid := tables.loaded(evaluation):
        found.append(_section("rows", "What was loaded", _loaded(evaluation, grid)))
    found.append(_section("again", "To repeat it", _again(evaluation)))
    found.append(_section("reading", "How to read it", _reading()))
    return found


def _section(identity: str, name: str, *children: Markup) -> Section:
    return identity, name, tag("section", tag("h2", name), children, id=identity)


def _header(evaluation: Evaluation, title: str) -> Markup:
    said = [f"suite {evaluation.suite}" if evaluation.suite else None]
    said += [f"{k} {v}" for k, v in evaluation.versions.items() if k in ("densecl", "code")]
    toggle = tag("button", "Dark", id="theme", type="button", hidden=True, aria_pressed="false")
    return tag(
        "header",
        tag("div", tag("p", " · ".join(filter(None, said)), class_="kicker"), toggle, class_="bar"),
        tag("h1", title),
    )


def _contents(sections: Sequence[Section]) -> Markup:
    seen = [name for _, name, _ in sections]
    entries = []
    for identity, name, _ in sections:
        note = None
        if seen.count(name) > 1:
            note = tag("small", identity.partition("-")[2].replace("-", " "))
        entries.append(tag("li", tag("a", name, " " if note else None, note, href=f"#{identity}")))
    inner = tag("details", tag("summary", "Contents"), tag("ol", entries), open=True, id="contents")
    return tag("nav", inner, aria_label="Contents")


def _footer() -> Markup:
    said = "Made from the files of one evaluation; each number stands with its protocol's hash."
    return tag("footer", tag("p", said))


def _summary(evaluation: Evaluation) -> Section:
    marks = [tag("li", mark) for mark in words.marks(evaluation)]
    grid = tables.verdicts(evaluation)
    findings = []
    for number, protocol in enumerate(evaluation.protocols, 1):
        for result in protocol.results:
            name = ", ".join(filter(None, [words.run_title(protocol.run), result.name]))
            link = tag("a", name, href=f"#{tables.protocol_id(number, protocol)}")
            by = tag(
                "small",
                f"{result.by}, protocol {protocol.name} ",
                tag("code", result.protocol_hash),
            )
            findings.append(tag("li", tag("h3", link), tag("p", words.finding(result)), by))
    return _section(
        "summary",
        "Findings",
        tag("p", words.overview(evaluation), class_="lead"),
        tag("ul", marks, class_="mark") if marks else Markup(),
        join(None if grid is None else table(grid)),
        tag("ul", findings, class_="findings") if findings else Markup(),
    )


def _loaded(evaluation: Evaluation, grid: Grid) -> Markup:
    more = []
    for row in evaluation.rows:
        fields = [(k.replace("_", " "), v) for k, v in row.items() if k not in ("name", "key_map")]
        listed = [(k, tables.input_said(v) if k == "input" else tables.plain(v)) for k, v in fields]
        pairs = [join(tag("dt", key), tag("dd", value)) for key, value in listed]
        parts = [tag("dl", pairs, class_="fields")]
        key_map = row.get("key_map")
        if isinstance(key_map, list | tuple) and key_map:
            text = "\n".join(
                " -> ".join(map(str, k)) if isinstance(k, list | tuple) else str(k) for k in key_map
            )
            parts.append(code(text, f"Key map, {len(key_map)} names"))
        elif key_map:
            parts.append(tag("p", f"Key map: {tables.plain(key_map)}."))
        more.append(fold(f"{tables.plain(row.get('name'))}: all that is known", *parts))
    return join(table(grid), more)


def _again(evaluation: Evaluation) -> Markup:
    parts = []
    if evaluation.command:
        parts.append(code(evaluation.command, "The whole evaluation"))
    if grid := tables.provenance(evaluation):
        parts.append(table(grid))
    if evaluation.versions:
        pairs = [join(tag("dt", k), tag("dd", v)) for k, v in evaluation.versions.items()]
        parts += [tag("h3", "Versions"), tag("dl", pairs, class_="fields")]
    return join(parts)


def _reading() -> Markup:
    pairs = [join(tag("dt", term), tag("dd", text)) for term, text in words.READING]
    shapes = [tag("li", verdict(Verdict(word))) for word in Verdict.WORDS]
    return join(tag("ul", shapes, class_="legend"), tag("dl", pairs, class_="reading"))


def _slots(evaluation: Evaluation) -> dict[str, int]:
    """Row -> place in the palette, the same in every chart: compared rows first."""
    names = list(evaluation.compared)
    for kind in (CONTROL, REFERENCE):
        names += [s.name for result in evaluation.results for s in result.of_kind(kind)]
    return {name: k for k, name in enumerate(dict.fromkeys(names))}
