from __future__ import annotations

import sys

import cv2
import pytest

from densecl.errors import UsageError
from densecl.studies.curve import (
    Point,
    curve_markdown,
    curve_points,
    draw_curve,
    pays_from,
    statements,
)
from densecl.transfer.identity import Identity
from densecl.transfer.table import Row, Table


def points(*verdicts: str, method: str = "m") -> list[Point]:
    interval = {"better": (0.01, 0.03), "inconclusive": (-0.01, 0.03), "worse": (-0.03, -0.01)}
    return [
        Point(method, 2 ** (k + 6), 0.3 + k / 100, 0.02, interval[verdict], verdict, 3)
        for k, verdict in enumerate(verdicts)
    ]


@pytest.mark.parametrize(
    ("verdicts", "start"),
    [
        (("inconclusive", "better", "better"), 128),
        (("better", "better"), 64),
        (("better", "inconclusive", "better"), 256),
        (("better", "worse"), None),
        (("inconclusive",), None),
    ],
)
def test_a_method_pays_from_the_budget_after_which_it_is_always_better(verdicts, start):
    own = points(*verdicts)
    assert pays_from(own, "m") == start
    assert pays_from(list(reversed(own)), "m") == start
    said = curve_markdown([*own, *points("worse", method="n")], "random init")
    if start is None and "better" not in verdicts:
        assert "m: not clear of random init within the budgets tried" in said
    elif start is None:
        assert "m: clear of random init at 64 steps, but not at the largest budget" in said
    else:
        assert f"m: starts to pay at {start} steps" in said
    assert "n: not clear of random init within the budgets tried (64 steps)" in said


def test_a_gain_that_is_lost_at_the_largest_budget_is_said_to_be_lost():
    (said,) = statements(points("better", "inconclusive"), "random init")
    assert said == (
        "m: clear of random init at 64 steps, but not at the largest budget (tried: 64, 128)."
    )


def test_points_come_from_the_rows_of_the_table():
    pairs = [(0, "s"), (1, "t")]
    rows = [
        Row("ref", dict(zip(pairs, (0.2, 0.3), strict=True))),
        Row("m", dict(zip(pairs, (0.5, 0.7), strict=True))),
        Row("m, 2 steps", dict(zip(pairs, (0.3, 0.4), strict=True))),
        Row("m, 3 steps", {}),
    ]
    budgets = {"m": ("m", 4), "m, 2 steps": ("m", 2), "m, 3 steps": ("m", 3)}
    found = curve_points(
        Table(rows, "ref", {}, "test", (1, 1), identity=Identity("toy", "", 1, {})), budgets
    )
    assert [(p.steps, round(p.mean, 6), round(p.difference, 6)) for p in found] == [
        (2, 0.35, 0.1),
        (4, 0.6, 0.35),
    ]


def test_the_curve_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = draw_curve(tmp_path / "c.png", points("better", "worse"), 0.3, "random init", "t")
    image = cv2.imread(str(path))
    assert image.shape[0] > 300
    assert (image != 255).any()


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"densecl\[viz\]"):
        draw_curve(tmp_path / "c.png", points("better"), 0.3, "random init", "t")
