import math

import numpy as np
import pytest

from densecl.data.seeding import rng
from densecl.views.crops import overlap, overlapping_box, random_box

SCALE, RATIO = (0.2, 1.0), (3 / 4, 4 / 3)


def boxes(size, count=500, scale=SCALE, ratio=RATIO):
    return [random_box(size, scale, ratio, rng(0, i)) for i in range(count)]


@pytest.mark.parametrize("size", [(120, 160), (33, 500), (500, 33), (1, 1), (7, 5)])
def test_boxes_lie_in_the_image_and_are_not_empty(size):
    for x0, y0, x1, y1 in boxes(size):
        assert 0 <= x0 < x1 <= size[1]
        assert 0 <= y0 < y1 <= size[0]


def test_area_and_aspect_stay_in_range():
    for x0, y0, x1, y1 in boxes((400, 500), 2000, (0.3, 0.6)):
        w, h = x1 - x0, y1 - y0
        assert 0.29 < w * h / 200_000 < 0.61
        assert 0.74 < w / h < 1.35


def test_area_and_log_aspect_are_uniform():
    made = np.array(boxes((1000, 1000), 4000, (0.1, 0.3)), float)
    w, h = made[:, 2] - made[:, 0], made[:, 3] - made[:, 1]
    area = (w * h / 1e6 - 0.1) / 0.2
    aspect = (np.log(w / h) / math.log(4 / 3) + 1) / 2
    for values in (area, aspect):
        # mean and spread of a uniform law, four standard errors
        assert values.mean() == pytest.approx(0.5, abs=0.02)
        assert values.std() == pytest.approx(12**-0.5, abs=0.01)


def test_every_place_is_reached():
    made = boxes((40, 40), 3000, (0.25, 0.25), (1.0, 1.0))
    assert {box[0] for box in made} == {box[1] for box in made} == set(range(21))


def test_fallback_is_the_central_box_of_the_nearest_aspect():
    # no box of half the area fits a strip: its aspect is far outside the limits
    assert random_box((10, 100), (0.9, 1.0), RATIO, rng(0)) == (43, 0, 56, 10)
    assert random_box((100, 10), (0.9, 1.0), RATIO, rng(0)) == (0, 43, 10, 56)
    # whole image where its aspect is allowed but no draw fits
    assert random_box((100, 100), (1.0, 1.0), (1.2, 1.3), rng(0)) == (0, 8, 100, 91)


def test_overlap_of_known_boxes():
    assert overlap((0, 0, 4, 4), (2, 2, 6, 6)) == 0.25
    assert overlap((0, 0, 4, 4), (1, 1, 3, 3)) == 1.0
    assert overlap((0, 0, 4, 4), (4, 0, 8, 4)) == 0.0
    assert overlap((0, 0, 2, 2), (5, 5, 9, 9)) == 0.0


@pytest.mark.parametrize("least", [0.3, 0.8, 1.0])
def test_overlapping_boxes_overlap(least):
    size, scale, anchor = (100, 100), (0.04, 0.3), (0, 70, 25, 95)
    for i in range(300):
        box = overlapping_box(size, scale, RATIO, rng(1, i), anchor, least)
        assert 0 <= box[0] < box[2] <= 100
        assert 0 <= box[1] < box[3] <= 100
        if least < 0.75:  # beyond it unlike shapes may not be able to
            assert overlap(box, anchor) >= least
        else:
            w, h = box[2] - box[0], box[3] - box[1]
            possible = min(w, 25) * min(h, 25) / min(w * h, 625)
            assert overlap(box, anchor) >= min(least, possible) - 1e-9


def test_without_a_demand_the_box_is_the_plain_draw():
    for i in range(50):
        plain = random_box((60, 80), SCALE, RATIO, rng(2, i))
        assert overlapping_box((60, 80), SCALE, RATIO, rng(2, i), (0, 0, 5, 5), 0.0) == plain
