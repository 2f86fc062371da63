from __future__ import annotations

import numpy as np
import pytest

from densecl.transfer.pictures import beside, colourise, error_map, stack_rows

PALETTE = [(10, 20, 30), (200, 0, 0)]


def test_each_class_gets_its_colour_and_ignore_its_own():
    picture = colourise(np.array([[0, 1], [255, 1]], np.uint8), PALETTE, ignore_colour=(9, 9, 9))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, [[(10, 20, 30), (200, 0, 0)], [(9, 9, 9), (200, 0, 0)]])


def test_class_without_colour_is_refused():
    with pytest.raises(ValueError, match="2 colours"):
        colourise(np.array([[2]]), PALETTE)


def test_tiles_stand_in_order_with_gaps():
    image = np.full((8, 12, 3), 7, np.uint8)
    truth, prediction = np.zeros((8, 12), np.uint8), np.ones((8, 12), np.int64)
    row = beside(image, truth, prediction, PALETTE, gap=2)
    assert row.shape == (8, 3 * 12 + 4, 3)
    np.testing.assert_array_equal(
        row[0, [0, 12, 14, 26, 28]],
        [(7, 7, 7), (255, 255, 255), PALETTE[0], (255, 255, 255), PALETTE[1]],
    )
    assert beside(image, truth, prediction, PALETTE, errors=True).shape == (8, 4 * 12 + 6, 3)


def test_image_is_resized_to_the_labels():
    image = np.full((16, 24, 3), 7, np.uint8)
    row = beside(image, np.zeros((8, 12), int), np.zeros((8, 12), int), PALETTE, gap=0)
    assert row.shape == (8, 36, 3)


def test_errors_are_red_and_unlabelled_is_black():
    picture = error_map(np.array([[0, 1, 1]]), np.array([[0, 0, 255]]))
    assert picture[0, 0, 1] > picture[0, 0, 0]
    assert picture[0, 1, 0] > 2 * picture[0, 1, 1]
    assert not picture[0, 2].any()


def test_rows_are_stacked():
    rows = [np.zeros((3, 5, 3), np.uint8)] * 2
    assert stack_rows(rows, gap=1).shape == (7, 5, 3)
    with pytest.raises(ValueError, match="no rows"):
        stack_rows([])
