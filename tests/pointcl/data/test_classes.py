from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data.classes import ClassMap, spread_colours

FILE = Path("a.label")


def test_ids_are_looked_up_one_by_one():
    table = ClassMap(("a", "b"), {3: 1, 10: 0, 0: 255})
    raw = np.random.default_rng().choice([0, 3, 10], 50)
    assert table(raw, FILE).tolist() == [{3: 1, 10: 0, 0: 255}[value] for value in raw.tolist()]
    assert table(np.zeros(0, np.int64), FILE).shape == (0,)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([3, 4, 4], "raw label id 4 of 2 points: none of the 3 ids"),
        ([3, 11], "raw label id 11 of 1 points: none"),
        ([-1, 70000], "raw label id -1 of 1 points, and 1 more ids"),
    ],
)
def test_unknown_ids_are_named(raw, message):
    table = ClassMap(("a", "b"), {3: 1, 10: 0, 0: 255})
    with pytest.raises(UnreadableFileError, match=message):
        table(np.array(raw), FILE)


@pytest.mark.parametrize(
    ("classes", "learning_map", "palette"),
    [
        ((), {0: 255}, None),
        (["x"] * 256, {0: 0}, None),
        (("a",), {}, None),
        (("a",), {0: 1}, None),
        (("a",), {0: -1}, None),
        (("a",), {-1: 0}, None),
        (("a",), {0: 0}, [[1, 2, 3]] * 2),
    ],
)
def test_maps_that_do_not_fit_are_refused(classes, learning_map, palette):
    with pytest.raises(UsageError):
        ClassMap(classes, learning_map, palette)


def test_palette_is_kept_or_made():
    assert ClassMap(("a",), {0: 0}, [[1, 2, 3]]).palette.tolist() == [[1, 2, 3]]
    colours = spread_colours(20)
    assert colours.shape == (20, 3)
    assert colours.dtype == np.uint8
    apart = np.abs(colours[:, None].astype(int) - colours).sum(-1) + 1000 * np.eye(20)
    assert apart.min() > 20
