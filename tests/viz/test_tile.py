from __future__ import annotations

import cv2
import numpy as np

from densecl.viz.tile import caption, enlarge, grid, write_png


def test_grid_places_every_picture_and_pads_short_rows_with_paper():
    red = np.zeros((4, 6, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    blue = np.zeros((4, 6, 3), np.uint8) + np.array([0, 0, 255], np.uint8)
    sheet = grid([[red, blue], [blue]], gap=2)
    assert sheet.shape == (4 + 2 + 4, 6 + 2 + 6, 3)
    np.testing.assert_array_equal(sheet[:4, :6], red)
    np.testing.assert_array_equal(sheet[:4, 8:], blue)
    np.testing.assert_array_equal(sheet[6:, :6], blue)
    assert (sheet[6:, 8:] == 255).all()


def test_caption_adds_dark_ink_above_and_leaves_the_picture():
    image = np.full((10, 80, 3), 7, np.uint8)
    result = caption(image, "truth")
    np.testing.assert_array_equal(result[-10:], image)
    assert result[:-10].min() < 128


def test_enlarge_keeps_aspect_and_nearest_keeps_values():
    image = np.random.default_rng(0).integers(0, 255, (5, 10, 3), np.uint8)
    big = enlarge(image, 20, smooth=False)
    assert big.shape == (20, 40, 3)
    np.testing.assert_array_equal(big[::4, ::4], image)


def test_png_round_trip_keeps_rgb_and_leaves_no_partial_file(tmp_path):
    image = np.random.default_rng(1).integers(0, 255, (8, 9, 3), np.uint8)
    path = write_png(tmp_path / "new" / "a.png", image)
    read = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read, image)
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]
