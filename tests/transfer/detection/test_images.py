"""Crops: boxes stay on their objects, and every choice is a function of (seed, step)."""

from __future__ import annotations

import numpy as np
import pytest
from boxed_squares import Squares, boxed

from densecl.errors import UsageError
from densecl.transfer.detection.images import (
    BoxedImages,
    Window,
    cut,
    draw_window,
    fitting_scale,
    training_items,
)
from densecl.views.photometric import Photometric

GREY = (120, 120, 120)


def scene():
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:50] = 255
    return boxed(image, [(30, 10, 50, 20)], [0])


def bright_box(image):
    """Edges of what is brighter than half, to a fraction of a pixel, by its sums."""
    light = image[..., 0].astype(float) / 255
    rows, columns = light.max(axis=1), light.max(axis=0)
    row, column = np.flatnonzero(rows > 0.5), np.flatnonzero(columns > 0.5)
    return column[0], row[0], column[-1] + 1, row[-1] + 1


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    "window", [(0, 0, 60, 40), (20, 5, 50, 25), (-10, -10, 80, 50), (12.5, 2.5, 57.5, 32.5)]
)
@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0])
def test_boxes_stay_on_their_objects(window, flip, zoom):
    size = (round((window[3] - window[1]) * zoom), round((window[2] - window[0]) * zoom))
    found = cut(scene(), Window(window, flip), size, 0.3, (0, 0, 0))
    assert found.image.shape == (*size, 3)
    # an edge between two pixels, or one blurred by shrinking, is found to within a pixel
    np.testing.assert_allclose(found.boxes[0], bright_box(found.image), atol=1.0)


def test_the_whole_image_at_its_own_size_is_itself():
    item = scene()
    found = cut(item, Window((0, 0, 60, 40), False), (40, 60), 0.3)
    np.testing.assert_array_equal(found.image, item.image)
    np.testing.assert_array_equal(found.boxes, item.boxes)
    assert found.area.tolist() == [200]
    mirrored = cut(item, Window((0, 0, 60, 40), True), (40, 60), 0.3)
    np.testing.assert_array_equal(mirrored.image, item.image[:, ::-1])
    assert mirrored.boxes.tolist() == [[10, 10, 30, 20]]


def test_boxes_are_cut_ignored_or_left_out_by_what_is_seen():
    item = boxed(
        np.zeros((40, 60, 3), np.uint8),
        [(0, 0, 10, 10), (25, 0, 35, 10), (28, 0, 38, 10), (40, 0, 50, 10)],
        [0, 1, 0, 1],
    )
    found = cut(item, Window((0, 0, 30, 40), False), (80, 60), 0.4)
    assert found.boxes.tolist() == [[0, 0, 20, 20], [50, 0, 60, 20], [56, 0, 60, 20]]
    assert found.ignore.tolist() == [False, False, True]  # 0.5 and 0.2 of it are seen
    assert found.labels.tolist() == [0, 1, 0]
    assert found.area.tolist() == [400, 200, 80]


def test_beyond_the_image_lies_the_fill():
    found = cut(scene(), Window((-20, 0, 60, 40), False), (40, 80), 0.3, GREY)
    assert (found.image[:, :19] == 120).all()
    assert (found.image[:, 21:30] == 0).all()


def test_windows_lie_inside_large_images_and_around_small_ones():
    for step in range(40):
        generator = np.random.default_rng(step)
        x0, y0, x1, y1 = draw_window((40, 60), (20, 20), 1.0, (1.0, 2.0), 0.5, generator).box
        assert 0 <= x0 < x1 <= 60
        assert 0 <= y0 < y1 <= 40
        assert x1 - x0 == pytest.approx(y1 - y0)
        assert 10 <= x1 - x0 <= 20
        x0, y0, x1, y1 = draw_window((40, 60), (80, 80), 1.0, (1.0, 1.0), 0.5, generator).box
        assert x0 <= 0
        assert x1 >= 60
        assert y0 <= 0
        assert y1 >= 40


def test_flips_are_as_likely_as_asked():
    for share, low, high in ((0.0, 0, 0), (1.0, 200, 200), (0.5, 70, 130)):
        flips = sum(
            draw_window((9, 9), (9, 9), 1.0, (1, 1), share, np.random.default_rng(k)).flip
            for k in range(200)
        )
        assert low <= flips <= high


def batch(**changed):
    settings = {
        "batch_size": 3,
        "crop": (32, 32),
        "resize": None,
        "scale": (0.8, 1.25),
        "hflip": 0.5,
        "visible": 0.3,
        "fill": GREY,
        "seed": 3,
        "step": 5,
    }
    return training_items(BoxedImages(Squares(5)), **{**settings, **changed})


def test_a_batch_is_a_function_of_seed_and_step():
    for first, second in zip(batch(), batch(), strict=True):
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.boxes, second.boxes)
    assert any((a.image != b.image).any() for a, b in zip(batch(), batch(step=6), strict=True))
    assert any((a.image != b.image).any() for a, b in zip(batch(), batch(seed=4), strict=True))


def test_colour_moves_no_crop():
    plain, coloured = batch(), batch(colour=Photometric(brightness=0.4, jitter=1.0))
    assert any((a.image != b.image).any() for a, b in zip(plain, coloured, strict=True))
    for first, second in zip(plain, coloured, strict=True):
        np.testing.assert_array_equal(first.boxes, second.boxes)


def test_resize_fits_the_image_in():
    assert fitting_scale((480, 640), (240, 240)) == 0.375
    assert fitting_scale((480, 640), None) == 1.0
    boxes = batch(resize=(128, 128), scale=(1.0, 1.0), crop=(128, 128), hflip=0.0)
    images = BoxedImages(Squares(5))
    sides = {tuple((b[2:] - b[:2]).tolist()) for i in range(5) for b in images[i].boxes}
    for item in boxes:
        assert {tuple(((b[2:] - b[:2]) / 2).tolist()) for b in item.boxes} <= sides


def test_data_without_boxes_is_refused():
    from densecl.data import Streets

    with pytest.raises(UsageError, match="Streets carries no boxes"):
        BoxedImages(Streets("train", length=1, cache=False))[0]
    with pytest.raises(UsageError, match="no labelled image"):
        BoxedImages(Squares(3), [])
