from __future__ import annotations

import numpy as np
import pytest

from pointcl.viz.colours import by_height, by_segment
from pointcl.viz.html import Shown
from pointcl.viz.sheet import scan_sheet


def shown(name=""):
    points = np.random.default_rng(0).normal(size=(50, 3))
    colours = {"height": by_height(points), "segment": by_segment(np.arange(50))}
    return Shown(points, colours, name)


def test_a_scan_a_row_a_colouring_a_column():
    sheet = scan_sheet([shown("a"), shown("b")], size=(100, 150), gap=6)
    assert sheet.shape == (206, 306, 3)
    one = scan_sheet([shown("a")], ["segment"], size=(100, 150))
    np.testing.assert_array_equal(sheet[:100, 156:], one)
    assert (sheet[100:106] == 255).all()


def test_a_dark_sheet_is_dark_between_its_pictures():
    sheet = scan_sheet([shown("a")], size=(100, 150), gap=6, background="dark")
    assert (sheet[:, 150:156] < 30).all()


def test_a_colouring_that_a_scan_lacks_is_refused():
    with pytest.raises(ValueError, match="has no 'label', only height, segment"):
        scan_sheet([shown()], ["label"])
    with pytest.raises(ValueError, match="at least one"):
        scan_sheet([])
