from __future__ import annotations

import json
import math
from types import SimpleNamespace

import cv2
import pytest

from densecl.studies.items import LISTED, Items, draw_items, items_markdown, read_items
from densecl.transfer.columns import MIOU

SCORED = {
    "scratch": {
        "seed0, a": {"f0": {"miou": 0.2}, "f1": {"miou": 0.4}, "f2": {"miou": None}},
        "seed1, b": {"f0": {"miou": 0.4}, "f1": {"miou": 0.5}, "f2": {"miou": math.nan}},
    },
    "FAC": {"seed0, a": {"f0": {"miou": 0.6}, "f1": {"miou": 0.7}, "f2": {"miou": 0.8}}},
    "not in the table": {"seed0, a": {"f0": {"miou": 1.0}}},
}


def table(*names):
    return SimpleNamespace(columns=(MIOU,), rows=[SimpleNamespace(name=n) for n in names])


@pytest.fixture
def folder(tmp_path):
    value = {"split": "test", "rows": SCORED}
    (tmp_path / "items.json").write_text(json.dumps(value))
    return tmp_path


def test_scores_are_means_over_the_runs_that_have_one(folder):
    items = read_items(folder, table("scratch", "FAC", "no run yet"))
    assert items.names == ("f0", "f1", "f2")
    assert list(items.scores) == ["scratch", "FAC"]
    assert items.scores["scratch"][:2] == pytest.approx([0.3, 0.45])
    assert math.isnan(items.scores["scratch"][2])
    assert items.spread["scratch"][:2] == [(0.2, 0.4), (0.4, 0.5)]
    assert items.scores["FAC"] == [0.6, 0.7, 0.8]
    assert items.split == "test"


def test_the_table_lists_them_in_order(folder):
    lines = items_markdown(read_items(folder, table("scratch", "FAC"))).splitlines()
    assert lines[2:] == [
        "| row | f0 | f1 | f2 |",
        "|---|---|---|---|",
        "| scratch | 0.300 | 0.450 | - |",
        "| FAC | 0.600 | 0.700 | 0.800 |",
    ]


def test_many_items_are_drawn_and_not_listed():
    names = tuple(f"f{k}" for k in range(LISTED + 1))
    scores, spread = {"a": [0.5] * len(names)}, {"a": [(0.4, 0.6)] * len(names)}
    said = items_markdown(Items(names, scores, spread, "mIoU", "test"))
    assert "|" not in said
    assert f"{LISTED + 1} items" in said


def test_the_picture_shows_every_row(folder):
    first = read_items(folder, table("scratch"))
    both = read_items(folder, table("scratch", "FAC"))
    drawn = [
        cv2.imread(str(draw_items(folder / f"{k}.png", items, "title")))
        for k, items in enumerate((first, both))
    ]
    assert drawn[0].shape == drawn[1].shape
    assert (drawn[0] != drawn[1]).any()


@pytest.mark.parametrize("value", [None, {}, {"rows": {}}, {"rows": {"scratch": {"p": {"f": {}}}}}])
def test_without_scores_there_are_none(tmp_path, value):
    if value is not None:
        (tmp_path / "items.json").write_text(json.dumps(value))
    assert read_items(tmp_path, table("scratch")) is None
