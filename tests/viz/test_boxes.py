from __future__ import annotations

import numpy as np

from densecl.viz.boxes import COLOURS, IGNORED, class_colour, class_legend, draw_boxes

GREY = np.full((20, 30, 3), 128, np.uint8)
BOX = np.array([[5.0, 4.0, 15.0, 12.0]])


def test_a_frame_lies_on_the_boxs_edge_and_inside_it_is_the_picture():
    drawn = draw_boxes(GREY, BOX, np.array([1]), height=80, thickness=2)
    assert drawn.shape == (80, 120, 3)
    assert tuple(drawn[16, 40]) == COLOURS[1]  # the upper edge, 4 times y = 4
    assert tuple(drawn[32, 59]) == COLOURS[1]  # the right one, within 4 times x = 15
    assert (drawn[22:42, 26:54] == 128).all()
    assert (drawn[60:] == 128).all()
    assert (GREY == 128).all()


def test_ignored_boxes_are_grey_and_none_draws_nothing():
    drawn = draw_boxes(GREY, BOX, np.array([0]), ignore=np.array([True]))
    assert IGNORED in {tuple(pixel) for pixel in drawn.reshape(-1, 3).tolist()}
    assert COLOURS[0] not in {tuple(pixel) for pixel in drawn.reshape(-1, 3).tolist()}
    np.testing.assert_array_equal(draw_boxes(GREY, BOX[:0], np.array([], int)), GREY)


def test_the_legend_names_each_class_in_its_colour():
    wide, narrow = class_legend(["car", "tram", "bus"], 300), class_legend(["car", "tram"], 60)
    colours = {tuple(pixel) for pixel in wide.reshape(-1, 3).tolist()}
    assert set(COLOURS[:3]) <= colours
    assert wide.shape == (20, 300, 3)
    assert narrow.shape == (40, 60, 3)
    assert class_colour(len(COLOURS)) == COLOURS[0]
