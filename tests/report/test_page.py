from __future__ import annotations

import re
from itertools import pairwise

import pytest
from report.evaluations import HOSTILE, LONG, edit, write_json
from report.structure import Page

from densecl.report import write

URL = re.compile(r"(?:https?:)?//[\w.-]+\.\w+|@import|\burl\(|\bfetch\(|XMLHttpRequest|WebSocket")


def section(page, name):
    return next(e for e in page.all("section") if e.get("id").endswith(name))


def test_every_element_is_closed_and_ids_are_unique(page):
    ids = [e.get("id") for e in page.all() if e.get("id")]
    assert len(ids) == len(set(ids))
    assert {"summary", "refused", "rows", "again", "reading", "report"} <= set(ids)


def test_every_link_within_the_page_leads_somewhere(page):
    ids = {e.get("id") for e in page.all()}
    links = [e.get("href") for e in page.all("a")]
    assert len(links) > 20
    assert all(link.startswith("#") and link[1:] in ids for link in links)


def test_nothing_is_loaded_from_anywhere(page, written):
    sources = [e.get(key) for e in page.all() for key in ("src", "srcset", "data", "action")]
    sources = [source for source in sources if source]
    assert len(sources) == 4
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert not page.all("link", "iframe", "object", "embed", "base", "form")
    assert not URL.search(re.sub(r"base64,[\w+/=]+", "", written[1]))


def test_the_page_says_its_language_title_and_width(page):
    assert page.all("html")[0].get("lang") == "en"
    assert page.all("title")[0].words() == "Transfer evaluation of 3 rows"
    metas = {e.get("name"): e.get("content") for e in page.all("meta")}
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert metas["color-scheme"] == "light dark"


def test_headings_form_a_tree(page):
    levels = [int(e.name[1]) for e in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_tables_have_captions_and_headed_rows_and_columns(page):
    tables = page.all("table")
    assert len(tables) > 20
    for table in tables:
        assert len(table.all("caption")) == 1
        assert table.all("caption")[0].words()
        columns = table.all("thead")[0].all("th")
        assert all(e.get("scope") == "col" for e in columns)
        for row in table.all("tbody")[0].all("tr"):
            cells = row.children
            assert [e.name for e in cells] == ["th"] + ["td"] * (len(columns) - 1)
            assert cells[0].get("scope") == "row"
        box = table.parent
        assert box.has("scroll")
        assert (box.get("tabindex"), box.get("role")) == ("0", "group")
        assert box.get("aria-label") == table.all("caption")[0].words()


def test_pictures_have_words_and_sizes_and_open_by_a_button(page):
    images = page.all("img")
    assert [e.get("alt") for e in images] == [
        'Neighbours <5>: A "car" & its cells',
        "k-nn 0: Plain.",
        "k-nn 10",
        "pca frame-9",
    ]
    for image in images:
        assert int(image.get("width")) > int(image.get("height")) > 0
        assert image.parent.name == "button"
        assert image.parent.get("aria-label") == f"Enlarge: {image.get('alt')}"


def test_drawings_are_named_or_hidden(page):
    outer = [e for e in page.all("svg") if e.parent.name not in ("svg", "g")]
    assert len(outer) > 50
    for svg in outer:
        assert svg.get("aria-hidden") == "true" or svg.get("aria-label"), svg.attributes
        assert bool(svg.get("aria-label")) == (svg.get("role") == "img")


def test_buttons_have_names_and_types(page):
    for button in page.all("button"):
        assert button.get("type") == "button"
        assert button.words() or button.get("aria-label")


def test_what_needs_a_script_is_hidden_without_it(page):
    buttons = [e for e in page.all("button") if not e.has("zoom")]
    assert len(buttons) > 10
    assert all("hidden" in e.attributes for e in buttons)


def test_names_are_shown_as_they_are_and_make_no_elements(page, written):
    assert HOSTILE in page.all("main")[0].text
    assert "<b onload" not in written[1]
    assert not [e for e in page.all() if "onload" in e.attributes]
    assert len(page.all("script")) == 1
    assert "Neighbours <5>" in page.all("main")[0].text
    assert "k = 30  # <neighbours> & ```ties```" in page.all("main")[0].text


def test_marks_stand_on_top_and_at_their_table(page):
    summary = section(page, "summary")
    (marks,) = (e for e in summary.all("ul") if e.has("mark"))
    assert [e.words() for e in marks.all("li")] == [
        "demo: far too small to rank anything; it shows that the path works (1 table)",
        "unfinished: 2 of 9 tables not complete",
        "out of date: 1 of 9 tables",
        "refused: caffe <net>",
    ]
    (own,) = (e for e in section(page, "prompts-streets").all("ul") if e.has("mark"))
    assert [e.words() for e in own.all("li")][1] == "unfinished: 7 of 12 runs"
    assert not [e for e in section(page, "fcn-streets").all("ul") if e.has("mark")]
    (late,) = (e for e in section(page, "probe-old").all("ul") if e.has("mark"))
    assert late.words().startswith("Out of date")
    assert not section(page, "probe-old").all("table", "figure")


def test_each_table_has_its_hash_at_hand(page, written):
    hashes = set(re.findall(r"\b[a-f0-9]{1,2}f7c2a91b04de8e3\b", written[1]))
    assert len(hashes) == 7
    for element in page.all("section"):
        if element.get("id").startswith("p"):
            assert any(e.words() in hashes for e in element.all("code"))


def test_a_protocol_at_several_shares_has_curves_and_a_table_a_share(page):
    own = section(page, "fcn-streets")
    assert [e.words() for e in own.all("h3")] == [
        "5 % of the labels", "10 % of the labels", "all labels",
    ]  # fmt: skip
    lines = [e for e in own.all("figure") if e.has("lines")]
    assert len(lines) == 1
    assert len([e for e in own.all("figure") if e.has("differences")]) == 3
    strokes = [e for e in lines[0].all("path") if e.has("stroke")]
    assert len(strokes) == 6
    runs = [e for e in lines[0].all("circle") if e.has("run")]
    assert len(runs) == 6 * 3 * 3


def test_curves_leave_out_what_is_missing(page):
    (figure,) = (e for e in section(page, "prompts-streets").all("figure") if e.has("lines"))
    assert figure.all("figcaption")[0].words() == "IoU against threshold"
    for stroke in (e for e in figure.all("path") if e.has("stroke")):
        assert len(stroke.get("d").split("L")) == 20


def test_a_row_looks_alike_in_every_chart(page):
    looks = set()
    for entries in (e for e in page.all("ul") if e.has("legend")):
        for entry in entries.all("li"):
            if entry.words() == LONG:
                looks.add((entry.all("svg")[0].get("class"), entry.all("path")[0].get("d")))
    assert len(looks) == 1


def test_sides_of_the_bars_follow_what_is_better(page):
    def sides(name):
        return [e.words() for e in section(page, name).all("div") if e.has("sides")]

    assert sides("retrieval-streets") == ["← worsebetter →"]
    assert sides("measures-streets") == ["← betterworse →"]
    assert sides("ranks-streets") == []


def test_bars_leave_out_rows_without_a_difference(page):
    (bars,) = (e for e in section(page, "retrieval-streets").all("ul") if e.has("bars"))
    names = [e.words() for e in bars.all("span") if e.has("name")]
    assert len(names) == 4
    assert "PixPro" not in names


def test_commands_protocols_and_key_maps_can_be_copied(page):
    blocks = [e for e in page.all("div") if e.has("code")]
    texts = [e.all("pre")[0].text for e in blocks]
    assert any("--suite streets" in text for text in texts)
    assert sum("--protocols" in text for text in texts) == 7
    assert "backbone.conv1.weight -> conv1.weight\na -> b<c>" in texts
    assert all(len([b for b in e.all("button") if b.has("copy")]) == 1 for e in blocks)


def test_an_evaluation_of_nothing_still_has_a_page(tmp_path):
    write_json(tmp_path / "evaluation.json", {"schema": 1})
    page = Page(write(tmp_path).html.read_text(encoding="utf-8"))
    assert page.all("h1")[0].words() == "Transfer evaluation"
    assert "no run is done yet" in page.all("main")[0].text


@pytest.mark.parametrize("share", ["summary.json", "items.json"])
def test_files_cut_short_by_a_crash_do_not_stop_the_report(folder, share):
    (folder / "retrieval_streets/all" / share).write_text('{"rows": [')
    page = Page(write(folder).html.read_text(encoding="utf-8"))
    text = section(page, "retrieval-streets").text
    assert ("Not run yet." in text) == (share == "summary.json")


def test_pictures_beyond_a_number_stay_in_the_folder(folder, monkeypatch):
    monkeypatch.setattr("densecl.report.section.PICTURES_SHOWN", 2)
    page = Page(write(folder).html.read_text(encoding="utf-8"))
    own = section(page, "retrieval-streets")
    assert len(own.all("img")) == 2
    assert "1 more in the table's folder." in own.text


def test_a_backbone_of_its_own_names_its_table(folder):
    def give(value):
        value["protocols"][1]["tables"][0]["title"] = "ResNet-50"

    edit(folder / "evaluation.json", give)
    own = section(Page(write(folder).html.read_text(encoding="utf-8")), "retrieval-streets")
    assert [e.words() for e in own.all("h3")] == ["ResNet-50"]
