from __future__ import annotations

import numpy as np
import pytest

from pointcl.data.scan import Boxes
from pointcl.viz.cameras import Viewpoint
from pointcl.viz.colours import by_height, by_label
from pointcl.viz.paper import PAPERS, box_corners, metres, nice_length, number
from pointcl.viz.scan import draw_scan

ABOVE = Viewpoint((0, 0, 50), (0, 0, 0), up=(0, 1, 0), angle=0, span=20)
RED = np.array([[255, 0, 0]], np.uint8)
PLAIN = {"legend": False, "scale_bar": False}


def boxes(centre=(0, 0, 0), extent=(8, 4, 2), yaw=0.0):
    rows = [np.array([value], float) for value in (centre, extent, yaw)]
    return Boxes(*rows, ["car"], np.array([-1]))


def test_a_point_lands_where_it_lies():
    # 10 pixels a metre: x = 3 m is 30 right of the middle, y = 2 m 20 above it
    picture = draw_scan(
        np.array([[3.0, 2.0, 0.0]]), RED, view=ABOVE, size=(200, 300), point_size=4, **PLAIN
    )
    rows, columns = (picture[..., 1] < 128).nonzero()
    assert columns.mean() + 0.5 == pytest.approx(150 + 30, abs=0.3)
    assert rows.mean() + 0.5 == pytest.approx(100 - 20, abs=0.3)
    assert tuple(picture[80, 180]) == (255, 0, 0)


def test_points_behind_the_viewpoint_are_invisible():
    view = Viewpoint((0, 0, 0), (1, 0, 0))
    picture = draw_scan(np.array([[-3.0, 0, 0]]), RED, view=view, size=(80, 80), **PLAIN)
    assert (picture == 255).all()


def test_the_order_of_the_points_makes_no_difference():
    random = np.random.default_rng(0)
    points = random.normal(size=(300, 3)) * [20, 20, 2]
    colours = random.integers(0, 255, (300, 3), np.uint8)
    order = random.permutation(300)
    for view in ("above", "perspective"):
        first = draw_scan(points, colours, view=view, size=(120, 180))
        second = draw_scan(points[order], colours[order], view=view, size=(120, 180))
        np.testing.assert_array_equal(first, second)


def test_no_point_leaves_the_background_and_the_legend():
    palette = np.array([[1, 2, 3]], np.uint8)
    empty = by_label(np.zeros(0, np.int64), palette)
    picture = draw_scan(np.zeros((0, 3)), empty, size=(120, 300), scale_bar=False)
    assert (picture[:60] == 255).all()
    bare = np.zeros((0, 3), np.uint8)
    assert (draw_scan(np.zeros((0, 3)), bare, size=(120, 300), **PLAIN) == 255).all()
    bar = draw_scan(np.zeros((0, 3)), by_height(np.zeros((0, 3))), size=(120, 300))
    assert (bar[-30:] < 128).any()


def test_rows_that_are_not_finite_are_left_out():
    points = np.array([[0.0, 0, 0], [np.nan, 0, 0], [np.inf, 0, 0]])
    colours = np.repeat(RED, 3, 0)
    one = draw_scan(points[:1], colours[:1], size=(80, 120), point_size=3)
    np.testing.assert_array_equal(draw_scan(points, colours, size=(80, 120), point_size=3), one)


def test_the_legend_shows_the_colours_of_the_classes_and_the_bar_of_the_ramp():
    palette = np.array([[200, 30, 40], [40, 90, 200]], np.uint8)
    colours = by_label(np.array([0, 1]), palette, ("road", "tree"))
    picture = draw_scan(np.zeros((2, 3)), colours, size=(400, 600))[-40:]
    for colour in palette:
        assert (picture == colour).all(2).sum() > 20
    heights = by_height(np.array([[0, 0, 0], [0, 0, 1.0]]))
    picture = draw_scan(np.zeros((2, 3)), heights, size=(400, 600))[-40:]
    for colour in heights.ramp.table[[0, 255]]:
        assert (picture == colour).all(2).any()


def test_title_and_legend_take_their_room_from_the_size():
    for options in ({}, {"title": "a"}, {"legend": False}):
        colours = by_height(np.zeros((5, 3)))
        assert draw_scan(np.zeros((5, 3)), colours, size=(200, 300), **options).shape == (
            200,
            300,
            3,
        )


def test_a_dark_background_is_dark_and_a_colour_is_itself():
    for background, ground in (("dark", PAPERS["dark"].ground), ((9, 99, 199), (9, 99, 199))):
        picture = draw_scan(
            np.zeros((0, 3)), RED[:0], size=(80, 80), background=background, **PLAIN
        )
        assert (picture == ground).all()


def test_the_scale_bar_is_as_long_as_it_says():
    picture = draw_scan(np.zeros((0, 3)), RED[:0], view=ABOVE, size=(200, 300), legend=False)
    # 10 pixels a metre, a sixth of 300 pixels is 5 m
    ink = (picture < 100).all(2)
    columns = ink.sum(1).max()
    assert 48 <= columns <= 54


def test_lengths_and_numbers_are_round():
    lengths = [0.07, 0.2, 0.99, 1, 3.4, 19, 51]
    assert [nice_length(v) for v in lengths] == pytest.approx([0.05, 0.2, 0.5, 1, 2, 10, 50])
    assert (metres(20), metres(0.05)) == ("20 m", "5 cm")
    assert (number(12.345), number(1519.6), number(0.0412)) == ("12.3", "1520", "0.0412")


def test_the_corners_of_a_box_lie_around_it_and_its_heading_comes_first():
    turned = boxes(centre=(1, 2, 3), yaw=np.pi / 2)
    corners = box_corners(turned)[0]
    np.testing.assert_allclose(corners.mean(0), [1, 2, 3])
    # heading along +y: the front is 4 m that way, its left side towards -x
    np.testing.assert_allclose(corners[0], [-1, 6, 2], atol=1e-9)
    np.testing.assert_allclose(corners[[1, 4, 5], 1], 6)
    np.testing.assert_allclose(corners[2], [3, -2, 2], atol=1e-9)
    assert turned.contain(corners, margin=1e-6).tolist() == [0] * 8


def test_a_box_is_drawn_around_its_place_with_its_front_marked():
    options = {"view": ABOVE, "size": (200, 300), "box_colours": [(0, 0, 255)], **PLAIN}
    flat = draw_scan(np.zeros((0, 3)), RED[:0], boxes=boxes(), **options)
    rows, columns = (flat[..., 0] < 200).nonzero()
    assert (columns.min(), columns.max()) == pytest.approx((150 - 40, 150 + 40), abs=2)
    assert (rows.min(), rows.max()) == pytest.approx((100 - 20, 100 + 20), abs=2)
    assert (flat[100, 120:180] == 255).all()
    # seen from before, the front side is tinted; from behind it is tinted too, through the box
    front = Viewpoint((30, 0, 0), (0, 0, 0), angle=20)
    tinted = draw_scan(np.zeros((0, 3)), RED[:0], boxes=boxes(), **(options | {"view": front}))
    assert tinted[100, 150, 0] < 220


def test_a_box_around_the_eye_does_not_break_the_picture():
    view = Viewpoint((0, 0, 0), (1, 0, 0.1))
    picture = draw_scan(np.zeros((0, 3)), RED[:0], boxes=boxes(), view=view, size=(80, 80), **PLAIN)
    assert picture.shape == (80, 80, 3)


def test_lengths_that_disagree_and_unknown_names_are_refused():
    points = np.zeros((2, 3))
    for colours in (RED, np.zeros((2, 3)), np.zeros((2, 4), np.uint8)):
        with pytest.raises(ValueError, match="colours must be"):
            draw_scan(points, colours)
    with pytest.raises(ValueError, match="points must be"):
        draw_scan(np.zeros((2, 4)), np.zeros((2, 4), np.uint8))
    two = np.repeat(RED, 2, 0)
    with pytest.raises(ValueError, match="no view 'below'"):
        draw_scan(points, two, view="below")
    with pytest.raises(ValueError, match="background 'blue'"):
        draw_scan(points, two, background="blue")
    with pytest.raises(ValueError, match="2 box colours, 1 boxes"):
        draw_scan(points, two, boxes=boxes(), box_colours=[(0, 0, 0)] * 2)
    with pytest.raises(ValueError, match="no room"):
        draw_scan(points, two, size=(10, 40), title="a")
