from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from pointcl.data.scan import Boxes, Scan
from pointcl.viz.colours import GREY, Colours, by_label, by_segment, by_value, modes
from pointcl.viz.html import Shown, write_html

PALETTE = np.array([[200, 30, 40], [40, 90, 200], [9, 9, 9]], np.uint8)


class Page(HTMLParser):
    """Elements, attributes and the text of scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.sources: list[str] = []
        self.scripts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids |= {values["id"]} if "id" in values else set()
        self.sources += [values[key] for key in ("src", "href") if key in values]
        if tag not in ("meta", "link", "br", "input"):
            self.open.append(tag)
        if tag == "script":
            self.kind = values.get("type", "code")
            self.scripts[self.kind] = ""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[self.kind] += data


def scan(n=300, seed=0) -> Scan:
    random = np.random.default_rng(seed)
    return Scan(
        (random.normal(size=(n, 3)) * [30, 20, 2]).astype(np.float32), 0, "drive/000000",
        intensity=random.uniform(size=n).astype(np.float32),
        colour=random.integers(0, 255, (n, 3), np.uint8),
        label=random.choice([0, 1, 255], n), regions={"cut": random.integers(-1, 700, n)},
    )  # fmt: skip


def write(tmp_path, scans, **options):
    text = write_html(tmp_path / "a" / "page.html", scans, **options).read_text(encoding="utf-8")
    page = Page(text)
    return text, page, json.loads(page.scripts["application/json"])


def array(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def colours_of(mode, count):
    """What the page's script computes: the colour of every point."""
    if "rgb" in mode:
        return array(mode["rgb"], np.uint8).reshape(count, 3)
    table = np.concatenate(
        [np.array([GREY], np.uint8), array(mode["table"], np.uint8).reshape(-1, 3)]
    )
    return table[array(mode["index"], f"<u{mode['width']}")]


def test_points_come_back_within_half_a_step(tmp_path):
    cloud = scan()
    _, _, data = write(tmp_path, [cloud])
    (found,) = data["scans"]
    steps = array(found["points"], "<u2").reshape(-1, 3)
    assert steps.min() == 0
    assert steps.max() == 65535
    back = np.array(found["low"]) + steps * np.array(found["step"])
    half = np.array(found["step"]) / 2 * (1 + 1e-6)
    assert (np.abs(back - cloud.points) <= half).all()
    assert (half < 0.002).all()  # 200 m in 65536 steps


def test_every_colouring_comes_back(tmp_path):
    cloud = scan()
    shown = Shown.of(cloud, palette=PALETTE, classes=("a", "b", "c"), features={"f": cloud.points})
    _, _, data = write(tmp_path, [shown])
    found = {mode["name"]: colours_of(mode, 300) for mode in data["scans"][0]["modes"]}
    assert list(found) == ["label", "f", "cut", "colour", "height", "intensity"]
    for name in ("label", "f", "cut", "colour"):
        np.testing.assert_array_equal(found[name], shown.colours[name].rgb)
    for name in ("height", "intensity"):  # 255 steps of 256: a neighbour on the ramp at most
        assert np.abs(found[name].astype(int) - shown.colours[name].rgb).max() <= 8


def test_the_legend_has_names_counts_and_the_ends_of_a_ramp(tmp_path):
    cloud = scan()
    shown = Shown.of(cloud, palette=PALETTE, classes=("a", "b", "c"))
    _, _, data = write(tmp_path, [shown])
    by_name = {mode["name"]: mode for mode in data["scans"][0]["modes"]}
    label = by_name["label"]
    assert dict(zip(label["names"], label["counts"], strict=True)) == {
        "a": int((cloud.label == 0).sum()),
        "b": int((cloud.label == 1).sum()),
    }
    ramp = shown.colours["height"].ramp
    assert by_name["height"]["ramp"] == {"title": ramp.title, "low": ramp.low, "high": ramp.high}
    ids = np.append(by_name["cut"]["ids"], -1)
    index = array(by_name["cut"]["index"], f"<u{by_name['cut']['width']}").astype(int)
    np.testing.assert_array_equal(ids[index - 1], cloud.regions["cut"])


def test_an_index_takes_the_bytes_it_needs(tmp_path):
    points = np.zeros((70000, 3), np.float32)
    colours = {f"{n}": by_segment(np.arange(70000) % n) for n in (255, 256, 65535, 65536)}
    _, _, data = write(tmp_path, [Shown(points, colours)])
    assert [mode["width"] for mode in data["scans"][0]["modes"]] == [1, 2, 2, 4]
    for mode in data["scans"][0]["modes"]:
        np.testing.assert_array_equal(colours_of(mode, 70000), colours[mode["name"]].rgb)


def test_the_page_stands_alone_and_has_what_its_script_asks_for(tmp_path):
    text, page, data = write(tmp_path, [scan(), scan(seed=1)], title="Two")
    assert not page.open
    assert page.sources == []
    for pattern in (
        r"https?:",
        r"\bfetch\(",
        r"XMLHttpRequest",
        r"@import",
        r"url\(",
        r"\bimport\b",
    ):
        assert not re.search(pattern, text), pattern
    asked = set(re.findall(r'\$\("(\w+)"\)', page.scripts["code"]))
    assert asked <= page.ids
    assert {"sorry", "legend", "scans", "canvas"} <= asked
    assert "<title>Two</title>" in text
    assert len(data["scans"]) == 2
    assert "viewport" in text


def test_the_script_reads_every_field_of_the_data(tmp_path):
    box = Boxes(*[np.ones((1, 3))] * 2, np.zeros(1), ["car"], np.zeros(1))
    cloud = scan()
    shown = Shown(cloud.points, modes(cloud, palette=PALETTE), "a", box, [(1, 2, 3)])
    _, page, data = write(tmp_path, [shown])
    code = page.scripts["code"]
    fields = set(data) | set(data["view"]) | set(data["grid"]) | set(data["scans"][0])
    fields |= {key for mode in data["scans"][0]["modes"] for key in mode}
    fields |= set(data["scans"][0]["boxes"][0]) - {"label"}
    for name in fields:
        assert re.search(rf"\b{name}\b", code), name


def test_names_cannot_break_out_of_the_page(tmp_path):
    name = '</script><script>alert("x")</script><!-- DATA'
    cloud = scan()
    cloud.name = name
    text, page, data = write(tmp_path, [cloud], title=name)
    assert "alert" not in page.scripts["code"]
    assert data["scans"][0]["name"] == name
    assert data["title"] == name
    assert text.count("<script") == 2


def test_boxes_keep_corners_and_colours(tmp_path):
    box = Boxes(np.array([[1.0, 2, 3]]), np.array([[4.0, 2, 1]]), np.zeros(1), ["car"], np.zeros(1))
    points = np.zeros((1, 3))
    colours = {"height": by_value(points[:, 2], "height")}
    _, _, data = write(tmp_path, [Shown(points, colours, boxes=box, box_colours=[(1, 2, 3)])])
    (found,) = data["scans"][0]["boxes"]
    assert (found["label"], found["colour"]) == ("car", [1, 2, 3])
    assert found["corners"][0] == [3.0, 3.0, 2.5]
    corners = np.array(found["corners"])
    lengths = [np.linalg.norm(corners[a] - corners[b]) for a, b in data["edges"]]
    assert sorted(lengths) == [1] * 4 + [2] * 4 + [4] * 4


def test_rows_that_are_not_finite_are_left_out(tmp_path):
    points = np.array([[0.0, 0, 0], [np.nan, 1, 1], [1, 2, 3]])
    colours = {"label": by_label(np.array([0, 1, 2]), PALETTE, "abc")}
    _, _, data = write(tmp_path, [Shown(points, colours)])
    (found,) = data["scans"]
    assert found["count"] == 2
    np.testing.assert_array_equal(colours_of(found["modes"][0], 2), PALETTE[[0, 2]])
    assert found["modes"][0]["counts"] == [1, 0, 1]


def test_a_scan_without_points_has_a_page(tmp_path):
    empty = Scan(np.zeros((0, 3), np.float32), 0, "empty")
    _, _, data = write(tmp_path, [empty])
    assert data["scans"][0]["count"] == 0


def test_a_hundred_thousand_points_in_six_colourings_stay_under_two_and_a_half_megabytes(tmp_path):
    cloud = scan(100_000)
    shown = Shown.of(cloud, palette=PALETTE, features={"f": cloud.points})
    assert len(shown.colours) == 6
    path = write_html(tmp_path / "page.html", [shown])
    assert path.stat().st_size < 2_500_000


def test_the_same_scans_give_the_same_file(tmp_path):
    first = write_html(tmp_path / "a.html", [scan()]).read_bytes()
    assert write_html(tmp_path / "b.html", [scan()]).read_bytes() == first


def test_bad_input_is_refused(tmp_path):
    points = np.zeros((2, 3))
    with pytest.raises(ValueError, match="at least one scan"):
        write_html(tmp_path / "page.html", [])
    with pytest.raises(ValueError, match="theme"):
        write_html(tmp_path / "page.html", [scan()], theme="blue")
    with pytest.raises(ValueError, match="1 colours of 'x', 2 points"):
        Shown(points, {"x": Colours(np.zeros((1, 3), np.uint8))})
    with pytest.raises(ValueError, match="no colours"):
        Shown(points, {})
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        Shown(np.zeros((2, 4)), {"x": Colours(np.zeros((2, 3), np.uint8))})
    assert not list(tmp_path.iterdir())
