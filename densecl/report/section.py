"""The page's section of one protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from densecl.report import tables, words
from densecl.report.bars import Bar, differences
from densecl.report.blocks import code, fold, table
from densecl.report.element import Markup, join, tag
from densecl.report.lines import Series, lines
from densecl.report.pictures import Packed
from densecl.report.record import REFERENCE, Picture, Protocol, Result, Score, finite

PICTURES_SHOWN = 24
"""Of one table; the others stay in its folder."""


class ProtocolSection:
    """Charts, tables, pictures and provenance of one protocol.

    Args:
        protocol: what is shown.
        identity: id of the section.
        slots: row -> colour, marker and dash.
        pictures: those that could be packed.
    """

    def __init__(
        self,
        protocol: Protocol,
        identity: str,
        slots: Mapping[str, int],
        pictures: Mapping[Path, Packed],
    ) -> None:
        self.protocol, self.id, self.slots, self.pictures = protocol, identity, slots, pictures

    def section(self) -> Markup:
        """All of it."""
        protocol = self.protocol
        does = words.RUNS.get(protocol.run, ("", ""))[1]
        pairs = [("protocol", protocol.name), ("version", protocol.version)]
        facts = [join(key, " ", tag("b", value)) for key, value in pairs if value]
        facts.append(join("hash ", tag("code", protocol.hash)))
        parts = [
            tag("h2", words.run_title(protocol.run)),
            tag("p", [tag("span", fact) for fact in facts], class_="facts"),
            tag("p", does) if does else None,
            [self.efficiency(group) for group in protocol.curves()],
            [self.result(result) for result in protocol.results],
            self.again(),
        ]
        return tag("section", *parts, id=self.id)

    def again(self) -> Markup | None:
        """What repeats the section's numbers."""
        named = {
            result.command: ", ".join(filter(None, ["Command", result.name]))
            for result in self.protocol.results
            if result.command
        }
        parts = [code(command, name) for command, name in named.items()]
        if self.protocol.text:
            parts.append(code(self.protocol.text, f"Protocol {self.protocol.name}"))
        return fold("Command and protocol", *parts) if parts else None

    def result(self, result: Result) -> Markup:
        """One table with what belongs to it."""
        parts: list[Markup | None] = []
        if len(self.protocol.results) > 1 or result.name:
            parts.append(tag("h3", result.name or "all"))
        if marks := words.table_marks(result):
            parts.append(tag("ul", [tag("li", mark) for mark in marks], class_="mark"))
        if not result.shown:
            return join(parts)
        parts += [
            self.bars(result),
            table(tables.results(result)),
            self.curves(result),
            self.gallery(result),
        ]
        if grid := tables.by_class(result):
            parts.append(table(grid))
        matrices = [table(grid) for _, grid in tables.confusions(result)]
        if matrices:
            parts.append(fold("Confusion matrices", *matrices))
        folded = (
            ("Single items", tables.single_items(result)),
            ("Every run", tables.every_run(result)),
            ("How the rate was chosen", tables.search(result)),
        )
        parts += [fold(title, table(grid)) for title, grid in folded if grid]
        return join(parts)

    def bars(self, result: Result) -> Markup | None:
        """Differences to the reference; None where there is none to draw."""
        if not result.judged:
            return None
        found = [
            Bar(
                score.name,
                score.kind,
                words.difference_of(score, result),
                words.interval_of(score, result),
                score.verdict,
            )
            for score in result.scores
            if score.kind != REFERENCE and score.difference is not None
        ]
        if not found:
            return None
        sides = ("worse", "better") if result.main.better == "higher" else ("better", "worse")
        caption = (
            f"Difference to {result.reference} in {result.main.title}, {result.level} interval"
        )
        return differences(found, caption, (f"← {sides[0]}", f"{sides[1]} →"))

    def efficiency(self, group: Sequence[Result]) -> Markup:
        """Scores over label shares: lines of the means, dots of the runs, and their table."""
        key = group[0].main.key
        series = []
        for name in dict.fromkeys(score.name for result in group for score in result.scores):
            points, spread = [], []
            for result in group:
                score = next((s for s in result.scores if s.name == name), None)
                share = result.fraction or 0.0
                if score is None:
                    continue
                if (mean := score.means[key]) is not None:
                    points.append((share, mean))
                spread += [(share, value) for value in score.runs[key] if value is not None]
            if points:
                series.append(self._series(name, points, spread, group[0]))
        marks = [(r.fraction or 0.0, f"{(r.fraction or 0.0) * 100:g} %") for r in group]
        title = words.sentence(f"{group[0].main.title} against the share of the labels")
        title += f", {group[0].title}" if group[0].title else ""
        wide = marks[-1][0] / marks[0][0] >= 4
        drawn = lines(
            series, title, "share of the labels", group[0].main.title, log=wide, xmarks=marks
        )
        return join(drawn, table(tables.efficiency(group)))

    def curves(self, result: Result) -> Markup:
        """Curves that the runs carry, those of one name in one chart."""
        names: dict[str, list[tuple[Score, Mapping[str, object]]]] = {}
        for score in result.scores:
            for name, curve in (score.data.get("curves") or {}).items():
                names.setdefault(name, []).append((score, curve))
        drawn = []
        for name, found in names.items():
            series = [
                self._series(score.name, points, (), result)
                for score, curve in found
                if (points := _points(curve))
            ]
            first = found[0][1]
            xlabel, ylabel = str(first.get("xlabel") or "x"), str(first.get("ylabel") or "")
            title = f"{ylabel or name} against {xlabel}"
            title = title if name == ylabel else f"{name.replace('_', ' ')}: {title}"
            drawn.append(lines(series, words.sentence(title), xlabel, ylabel))
        return join(drawn)

    def _series(
        self,
        name: str,
        points: Sequence[tuple[float, float]],
        spread: Sequence[tuple[float, float]],
        result: Result,
    ) -> Series:
        is_reference, slot = name == result.reference, self.slots.get(name, 0)
        return Series(name, points, result.protocol_hash, spread, is_reference, slot)

    def gallery(self, result: Result) -> Markup | None:
        """Pictures that open large on a click."""
        shown = [(p, self.pictures[p.path]) for p in result.pictures if p.path in self.pictures]
        if not shown:
            return None
        figures = [_figure(picture, packed) for picture, packed in shown[:PICTURES_SHOWN]]
        left = len(result.pictures) - len(figures)
        note = tag("p", f"{left} more in the table's folder.", class_="notes") if left else None
        return join(tag("div", figures, class_="gallery"), note)


def _points(curve: Mapping[str, object]) -> list[tuple[float, float]]:
    xs, ys = curve.get("x"), curve.get("y")
    if not isinstance(xs, list) or not isinstance(ys, list):
        return []
    pairs = ((finite(x), finite(y)) for x, y in zip(xs, ys, strict=False))
    return sorted((x, y) for x, y in pairs if x is not None and y is not None)


def _figure(picture: Picture, packed: Packed) -> Markup:
    text = f"{picture.title}: {picture.caption}" if picture.caption else picture.title
    shown = tag(
        "img", src=packed.uri, alt=text, width=packed.width, height=packed.height, decoding="async"
    )
    button = tag("button", shown, type="button", class_="zoom", aria_label=f"Enlarge: {text}")
    caption = tag("small", picture.caption) if picture.caption else None
    wide = "wide" if packed.width > 1.6 * packed.height else None
    return tag("figure", button, tag("figcaption", picture.title, " ", caption), class_=wide)
