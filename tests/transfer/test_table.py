from __future__ import annotations

import json
import math

import pytest

from densecl.transfer.grid import Choice
from densecl.transfer.identity import Identity
from densecl.transfer.statistics import paired_difference
from densecl.transfer.table import Row, Table, mean_by_class

IDENTITY = Identity("toy", "finetune", 1, {"settings": {"steps": 4}})
PAIRS = [(0, "a"), (1, "a"), (2, "a")]


def make(rows=None, **options):
    if rows is None:
        rows = {"scratch": [0.3, 0.32, 0.31], "good": [0.4, 0.43, 0.41], "bad": [0.1, 0.13, 0.1]}
    built = [
        Row(name, dict(zip(PAIRS, scores, strict=False)), Choice(0.1, {0.1: 0.3}, False))
        for name, scores in rows.items()
    ]
    defaults = {
        "reference": "scratch",
        "protocol": {"learning_rates": [0.03, 0.1]},
        "split": "test",
        "cells": (9, 9),
        "test_reads": 1,
        "identity": IDENTITY,
    }
    return Table(built, **(defaults | options))


def line(markdown, name):
    return next(row for row in markdown.splitlines() if row.startswith(f"| {name} "))


def test_summary_has_the_agreed_fields():
    summary = make(world_version="w1", seconds={"finetuning": 3.0}).to_dict()
    json.dumps(summary, allow_nan=False)
    assert summary["world_version"] == "w1"
    assert summary["seconds"] == {"finetuning": 3.0}
    good = summary["rows"][1]
    expected = paired_difference(
        dict(zip(PAIRS, [0.4, 0.43, 0.41], strict=True)),
        dict(zip(PAIRS, [0.3, 0.32, 0.31], strict=True)),
    )
    assert good["name"] == "good"
    assert good["miou_mean"] == pytest.approx(1.24 / 3)
    assert good["miou_seeds"] == [0.4, 0.43, 0.41]
    assert good["diff_to_scratch"] == pytest.approx(expected.mean)
    assert good["interval"] == pytest.approx(list(expected.interval))
    assert [row["verdict"] for row in summary["rows"]] == ["reference", "better", "worse"]
    assert summary["rows"][0]["interval"] is None


def test_a_bad_row_is_printed_as_bad():
    markdown = make().to_markdown()
    assert "| worse |" in line(markdown, "bad")
    assert "| -0.200 |" in line(markdown, "bad")
    assert "| better |" in line(markdown, "good")
    assert "[+0.0" in line(markdown, "good")


def test_one_pair_prints_no_interval():
    markdown = make({"scratch": [0.1], "good": [0.9]}).to_markdown()
    assert "| +0.800 | - | inconclusive (one pair) |" in line(markdown, "good")


def test_unfinished_table_says_how_far_it_came():
    markdown = make(cells=(4, 9), split="validation").to_markdown()
    assert "4 of 9 cells" in markdown
    assert "optimistic" in markdown
    assert "cells" not in make().to_markdown()


def test_demo_is_marked():
    assert "**demo**" in make(demo=True).to_markdown()
    assert make(demo=True).to_dict()["demo"] is True
    assert "demo" not in make().to_markdown()


def test_reads_of_the_test_split_are_told():
    assert "read once" in make().to_markdown()
    assert "read 3 times" in make(test_reads=3).to_markdown()


def test_grid_and_choice_are_printed_and_edges_marked():
    table = make()
    assert "grid 0.03, 0.1" in table.to_markdown()
    assert "| 0.1 |" in line(table.to_markdown(), "good")
    table.rows[1].choice = Choice(0.1, {0.03: 0.2, 0.1: 0.3}, True)
    assert "| 0.1* |" in line(table.to_markdown(), "good")
    assert table.to_dict()["rows"][1]["lr_validation"] == {"0.03": 0.2, "0.1": 0.3}


def test_diverged_runs_are_told():
    table = make()
    table.rows[2].diverged = 2
    assert "bad (2 diverged)" in table.to_markdown()


def test_rows_without_a_score_do_not_break_the_table():
    table = make({"scratch": [], "good": []}, cells=(0, 6))
    assert "inconclusive (no pair)" in line(table.to_markdown(), "good")
    json.dumps(table.to_dict(), allow_nan=False)


def test_conservative_intervals_stand_in_the_summary():
    scores = {(s, k): 0.1 * s + (0.01 if k == "a" else 0.03) for s in range(3) for k in "ab"}
    rows = [Row("scratch", dict.fromkeys(scores, 0.0)), Row("row", scores)]
    table = Table(rows, "scratch", {}, "test", (1, 1), identity=IDENTITY)
    over = table.to_dict()["rows"][1]["interval_over"]
    by_seed = paired_difference(scores, dict.fromkeys(scores, 0.0), unit="seed")
    assert over["seed"] == pytest.approx(list(by_seed.interval))
    assert over["subset"] is not None


def test_class_scores_are_averaged_where_present():
    scored = [{"iou": [0.2, None, None]}, {"iou": [0.4, 0.5, None]}, {"miou": 0.9}]
    means = mean_by_class(scored, "iou")
    assert means[:2] == pytest.approx([0.3, 0.5])
    assert math.isnan(means[2])
    assert mean_by_class([], "iou") == mean_by_class(scored, "ap_per_class") == []
