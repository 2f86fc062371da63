from __future__ import annotations

import math
import random

import pytest
from report.structure import Page

from densecl.report.axes import padded, percent, place, tick_text, ticks
from densecl.report.bars import REACH, Bar, differences, extent
from densecl.report.lines import Series, lines
from densecl.report.number import Number, Source

SOURCE = Source("aaaa")


def number(value, source=SOURCE):
    return Number(value, source, signed=True)


def bar(name, value, ends=None, verdict="inconclusive", kind=""):
    return Bar(name, kind, number(value), ends and tuple(map(number, ends)), verdict)


def drawn(bars):
    return Page(differences(bars, "Difference", ("← worse", "better →")))


def share(text):
    assert text.endswith("%")
    return float(text[:-1]) / 100


@pytest.mark.parametrize("seed", range(20))
def test_marks_are_few_round_and_within_the_axis(seed):
    draw = random.Random(seed)
    low = draw.uniform(-10, 10) * 10 ** draw.randint(-4, 4)
    high = low + draw.uniform(0.1, 9) * 10 ** draw.randint(-4, 4)
    marks = ticks(low, high, 5)
    assert 2 <= len(marks) <= 6
    room = 1e-9 * max(abs(low), abs(high))
    assert low - room <= marks[0] < marks[-1] <= high + room
    step = marks[1] - marks[0]
    leading = step / 10 ** math.floor(math.log10(step) + 1e-6)
    assert min(abs(leading - nice) for nice in (1, 2, 5, 10)) < 1e-6
    texts = [tick_text(mark, marks) for mark in marks]
    assert len(set(texts)) == len(marks)
    for text, mark in zip(texts, marks, strict=True):
        assert float(text.replace("−", "-")) == pytest.approx(mark, abs=step * 1e-6)


def test_a_range_of_one_value_gets_room_on_both_sides():
    for value in (0.0, 3.0, -2.0):
        low, high = padded(value, value, 0.1)
        assert low < value < high


def test_places_run_downwards_too():
    assert place(0.25, 0.0, 1.0) == "25.00%"
    assert place(0.25, 1.0, 0.0) == "75.00%"
    assert percent(1 / 3) == "33.33%"


def test_a_bar_begins_at_zero_and_ends_at_its_value():
    bars = [bar("up", 0.2, (0.1, 0.3), "better"), bar("down", -0.1, (-0.15, -0.05), "worse")]
    low, high = extent(bars)
    assert low < -0.15
    assert high > 0.3
    zero = (0 - low) / (high - low)
    up, down = drawn(bars).all("rect")
    width = high - low
    assert share(up.get("x")) == pytest.approx(zero, abs=1e-4)
    assert share(up.get("width")) == pytest.approx(0.2 / width, abs=1e-4)
    assert share(down.get("x")) == pytest.approx((-0.1 - low) / width, abs=1e-4)
    assert share(down.get("x")) + share(down.get("width")) == pytest.approx(zero, abs=2e-4)
    whisker = next(e for e in drawn(bars).all("line") if e.has("whisker"))
    ends = [share(whisker.get(key)) for key in ("x1", "x2")]
    assert ends == pytest.approx([(0.1 - low) / width, (0.3 - low) / width], abs=1e-4)


def test_a_huge_interval_is_cut_off_with_arrows_and_its_ends_are_still_said():
    page = drawn([bar("a", 0.1, (0.08, 0.12), "better"), bar("b", 0.02, (-3.0, 3.0))])
    low, high = extent([bar("a", 0.1, (0.08, 0.12)), bar("b", 0.02, (-3.0, 3.0))])
    assert high <= 0.1 * REACH * 1.2
    assert low >= -0.1 * REACH * 1.2
    arrows = [e for e in page.all("path") if e.has("arrow")]
    assert len(arrows) == 2
    assert "−3.000 to +3.000" in page.all("ul")[0].words()
    whole = drawn([bar("a", 0.1, (-0.05, 0.25))])
    assert not [e for e in whole.all("path") if e.has("arrow")]


def test_intervals_alone_are_shown_whole_where_no_difference_is_large():
    low, high = extent([bar("a", 0.0, (-0.02, 0.02)), bar("b", 0.0, (-0.01, 0.03))])
    assert low <= -0.02
    assert high >= 0.02
    low, high = extent([bar("a", 0.0)])
    assert low < 0 < high


def test_verdicts_show_by_shape_and_words_and_not_by_colour_alone():
    bars = [bar("a", 0.1, None, "better"), bar("b", -0.1, None, "worse"), bar("c", 0.01)]
    rows = drawn(bars).all("li")
    shapes = [next(e for e in row.all("svg") if e.has("glyph")).all("path")[0] for row in rows]
    assert len({shape.get("d") for shape in shapes}) == 3
    for row, word in zip(rows, ("better", "worse", "inconclusive"), strict=True):
        assert row.has(word)
        assert f"{word}, " in row.text
    assert all(e.get("aria-hidden") == "true" for row in rows for e in row.all("svg")[:1])


def test_bars_of_two_tables_are_refused():
    other = Bar("b", "", number(0.1, Source("bbbb")), None, "better")
    with pytest.raises(ValueError, match="two tables"):
        drawn([bar("a", 0.1), other])


def test_lines_pass_through_their_points():
    one = Series("a", [(0.05, 0.2), (0.1, 0.3), (1.0, 0.5)], "aaaa", slot=2)
    page = Page(lines([one], "IoU", "share", "IoU", log=True, xmarks=[(0.05, "5 %"), (1.0, "all")]))
    path = next(e for e in page.all("path") if e.has("stroke"))
    points = [tuple(map(float, p.split(","))) for p in path.get("d")[1:].split("L")]
    left, right = padded(math.log(0.05), math.log(1.0), 0.04)
    low, high = padded(0.2, 0.5, 0.08)
    for (x, y), (px, py) in zip(one.points, points, strict=True):
        assert px == pytest.approx(1000 * (math.log(x) - left) / (right - left), abs=0.06)
        assert py == pytest.approx(1000 * (high - y) / (high - low), abs=0.06)
    plot = next(e for e in page.all("svg") if e.get("role") == "img")
    markers = [e.parent for e in plot.all("path") if e.has("marker")]
    assert [share(e.get("x")) for e in markers] == pytest.approx(
        [p / 1000 for p, _ in points], abs=1e-3
    )
    assert [e.words() for e in page.all("span")][-2:] == ["5 %", "all"]
    assert "a" in plot.get("aria-label")
    rules = [(e.get("y1"), e.get("y2")) for e in plot.all("line") if e.has("rule")]
    levels = next(e for e in page.all("div") if e.has("ys")).all("span")
    assert rules == [(e.get("style").removeprefix("top:"),) * 2 for e in levels]
    for level in levels:
        expected = (high - float(level.words())) / (high - low)
        assert share(level.get("style").removeprefix("top:")) == pytest.approx(expected, abs=1e-4)


def test_each_of_a_dozen_lines_has_its_own_marker_or_dash():
    series = [Series(f"row {k}", [(0.0, k), (1.0, k + 1)], "aaaa", slot=k) for k in range(12)]
    entries = Page(lines(series, "c", "x", "y")).all("ul")[0].all("li")
    looks = {
        (
            e.all("path")[0].get("d"),
            e.all("line")[0].get("stroke-dasharray"),
            e.all("svg")[0].get("class"),
        )
        for e in entries
    }
    assert len(looks) == 12
    assert [e.words() for e in entries] == [one.name for one in series]


def test_lines_of_two_protocols_or_of_none_are_refused():
    pair = [Series("a", [(0.0, 1.0)], "aaaa"), Series("b", [(0.0, 1.0)], "bbbb")]
    with pytest.raises(ValueError, match=r"aaaa.*bbbb"):
        lines(pair, "c", "x", "y")
    with pytest.raises(ValueError, match="in one chart"):
        lines([Series("a", [(0.0, 1.0)], "")], "c", "x", "y")


def test_a_chart_without_points_is_none_and_one_point_is_drawn():
    assert lines([], "c", "x", "y") is None
    assert lines([Series("a", [], "aaaa")], "c", "x", "y") is None
    assert Page(lines([Series("a", [(1.0, 1.0)], "aaaa")], "c", "x", "y"))
