from __future__ import annotations

import numpy as np
import pytest

from pointcl.sensors import Camera, project_points
from pointcl.sensors.projection import Reason
from pointcl.viz.cameras import Viewpoint
from pointcl.viz.colours import by_label
from pointcl.viz.projection import (
    REASON_COLOURS,
    by_reason,
    count_line,
    draw_links,
    draw_projection,
)

# x forward, y left, z up -> right, down, forward
TURN = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
CAMERA = Camera(
    "front",
    lambda: np.zeros((60, 90, 3), np.uint8),
    (60, 90),
    np.array([[50.0, 0, 45], [0, 50, 30], [0, 0, 1]]),
    TURN,
)
WHITE = np.full((60, 90, 3), 255, np.uint8)
POINTS = np.array([[10.0, 2, 1], [5, -1, -1], [-4, 0, 0], [0.5, 0, 0], [10, 50, 0], [np.nan, 0, 0]])
BARE = {"dim": 0.0, "legend": False}


def projected(points=POINTS):
    return project_points(points, CAMERA, to_ego=np.eye(4))


def test_kept_points_are_drawn_at_their_pixels_and_the_others_not():
    colours = by_label(np.arange(6), np.eye(6, 3, dtype=np.uint8) * 200)
    picture = draw_projection(WHITE, projected(), colours, point_size=3, **BARE)
    # (45 - 50 * 2 / 10, 30 - 50 * 1 / 10) and (45 + 50 / 5, 30 + 50 / 5)
    assert tuple(picture[25, 35]) == (200, 0, 0)
    assert tuple(picture[40, 55]) == (0, 200, 0)
    picture[20:30, 30:40] = picture[35:45, 50:60] = 255
    assert (picture == 255).all()


def test_the_nearer_of_two_points_on_one_ray_is_seen():
    points = np.array([[10.0, 0, 0], [5, 0, 0]])
    colours = by_label(np.array([0, 1]), np.array([[255, 0, 0], [0, 0, 255]], np.uint8))
    picture = draw_projection(WHITE, projected(points), colours, point_size=5, **BARE)
    assert tuple(picture[30, 45]) == (0, 0, 255)


def test_dropped_points_are_shown_by_reason_where_they_have_a_pixel():
    found = projected()
    assert [Reason(r) for r in found.reason[:4]] == [0, 0, Reason.BEHIND, Reason.TOO_NEAR]
    picture = draw_projection(WHITE, found, by="reason", point_size=3, **BARE)
    assert tuple(picture[30, 45]) == REASON_COLOURS[Reason.TOO_NEAR]
    assert tuple(picture[25, 35]) == REASON_COLOURS[Reason.KEPT]


def test_every_reason_has_a_colour_and_every_count_is_said():
    assert set(REASON_COLOURS) == set(Reason)
    assert len(set(REASON_COLOURS.values())) == len(Reason)
    assert "kept 2" in by_reason(projected()).names
    line = count_line(projected())
    assert line.startswith("2 of 6 points kept; ")
    for part in ("behind 1", "too near 1", "out of frame 1", "not finite 1"):
        assert part in line


def test_depth_runs_along_its_ramp_from_near_to_far():
    points = np.stack([np.linspace(2, 20, 200), np.zeros(200), np.linspace(-1, 5, 200)], 1)
    picture = draw_projection(WHITE, projected(points), **BARE)
    assert (picture != 255).any()
    labelled = draw_projection(WHITE, projected(points), title="front")
    assert labelled.shape[0] > 60
    assert labelled.shape[1] == 90


def test_borders_of_regions_are_drawn():
    regions = np.zeros((60, 90), np.int64)
    regions[:, 45:] = 1
    none = projected(np.zeros((0, 3)))
    picture = draw_projection(WHITE, none, regions=regions, **BARE)
    assert (picture[:, 44] != 255).any(1).all()
    assert (picture[:, 50:] == 255).all()


def test_links_join_a_pixel_and_its_point_in_one_colour():
    view = Viewpoint((0, 0, 50), (0, 0, 0), up=(0, 1, 0), angle=0, span=40)
    points = POINTS[:1]
    options = {"view": view, "height": 60, "colours": np.full((1, 3), 255, np.uint8)}
    picture = draw_links(WHITE, points, projected(points), opacity=0.0, **options)
    assert picture.shape[0] == 60
    left, right = picture[:, :90], picture[:, 100:]
    centres = []
    for part in (left, right):
        saturated = np.ptp(part.astype(int), axis=2) > 60
        rows, columns = saturated.nonzero()
        centres.append((columns.mean() + 0.5, rows.mean() + 0.5))
    assert centres[0] == pytest.approx((35, 25), abs=0.5)
    # 1.5 pixels a metre from above: x to the right, y up
    assert centres[1] == pytest.approx((42 + 15, 30 - 3), abs=0.5)
    assert (left[25, 35] == right[27, 57]).all()


def test_a_wide_picture_stands_above_the_scan_and_no_link_is_fine():
    camera = Camera("wide", CAMERA.source, (30, 90), CAMERA.intrinsics, TURN)
    found = project_points(POINTS[2:], camera, to_ego=np.eye(4))
    picture = draw_links(WHITE[:30], POINTS[2:], found, height=120)
    assert picture.shape == (400 + 10 + 120, 1200, 3)


def test_the_order_of_the_points_makes_no_difference():
    random = np.random.default_rng(0)
    points = random.uniform([2, -5, -3], [20, 5, 3], (400, 3))
    order = random.permutation(400)
    found, again = projected(points), projected(points[order])
    np.testing.assert_array_equal(draw_projection(WHITE, found), draw_projection(WHITE, again))
    first = draw_links(WHITE, points, found, height=60)
    np.testing.assert_array_equal(first, draw_links(WHITE, points[order], again, height=60))


def test_sizes_that_disagree_are_refused():
    with pytest.raises(ValueError, match="projection is onto"):
        draw_projection(WHITE[:50], projected())
    with pytest.raises(ValueError, match="1 colours, 6 points"):
        draw_projection(WHITE, projected(), by_label(np.zeros(1, int), np.zeros((1, 3), np.uint8)))
    with pytest.raises(ValueError, match="by must be"):
        draw_projection(WHITE, projected(), by="height")
    with pytest.raises(ValueError, match="2 points, a projection of 6"):
        draw_links(WHITE, POINTS[:2], projected())
    with pytest.raises(ValueError, match="regions are"):
        draw_projection(WHITE, projected(), regions=np.zeros((2, 2), int))
