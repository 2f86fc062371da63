from __future__ import annotations

import numpy as np

from densecl.viz.masks import draw_masks, object_colours


def test_every_object_has_a_colour_of_its_own():
    colours = object_colours(range(5, 30))
    assert list(colours) == list(range(5, 30))
    assert len(set(colours.values())) == 25
    assert object_colours((9, 4)) == dict(zip((9, 4), object_colours((1, 2)).values(), strict=True))


def test_inside_is_tinted_the_rim_painted_and_the_rest_left():
    image = np.full((10, 12, 3), 100, np.uint8)
    ids = np.zeros((10, 12), int)
    ids[2:7, 3:9] = 4
    drawn = draw_masks(image, ids, {4: (200, 0, 0)}, strength=0.5)
    assert (drawn[ids == 0] == 100).all()
    assert drawn[4, 5].tolist() == [150, 50, 50]
    assert drawn[2, 3].tolist() == drawn[6, 8].tolist() == [200, 0, 0]
    assert (image == 100).all()


def test_masks_of_another_size_are_read_at_the_centres():
    image = np.zeros((8, 8, 3), np.uint8)
    drawn = draw_masks(image, np.array([[0, 1], [0, 0]]), {1: (10, 20, 30)})
    assert (drawn[:4, 4:].any(-1)).all()
    assert drawn.any(-1).sum() == 16


def test_the_border_of_the_picture_is_no_rim():
    image = np.zeros((6, 6, 3), np.uint8)
    drawn = draw_masks(image, np.ones((6, 6), int), {1: (200, 200, 200)}, strength=0.5)
    assert (drawn == 100).all()
