"""The streets as a detection data set, against the world's own list of boxes."""

from __future__ import annotations

import numpy as np
import pytest

from densecl.data import Streets, StreetsBoxes
from densecl.errors import UsageError


@pytest.fixture(scope="module")
def boxed():
    return StreetsBoxes("train", length=3, cache=False)


def test_boxes_are_those_of_the_world(boxed):
    streets = Streets("train", length=3, cache=False)
    for index in range(3):
        item, sample = boxed[index], streets[index]
        expected = [
            box for box in streets.boxes(index) if Streets.classes[box.label] in boxed.classes
        ]
        assert item.boxes.tolist() == [list(box.box) for box in expected]
        names = [boxed.classes[label] for label in item.labels]
        assert names == [Streets.classes[box.label] for box in expected]
        np.testing.assert_array_equal(item.image, sample.frames[0].image)
        for box, area, ignore in zip(expected, item.area, item.ignore, strict=True):
            pixels = int((sample.frames[0].maps["instance"] == box.instance).sum())
            width, height = box.box[2] - box.box[0], box.box[3] - box.box[1]
            assert area == pixels
            assert ignore == (min(width, height) < 4 or pixels < 0.2 * width * height)


def test_something_is_asked_for_and_something_is_not(boxed):
    ignore = np.concatenate([boxed[i].ignore for i in range(3)])
    assert ignore.any()
    assert not ignore.all()


def test_the_order_of_classes_is_that_of_the_ids(boxed):
    turned = StreetsBoxes("train", classes=("bicyclist", "car"), length=3, cache=False)
    for index in range(3):
        names = [boxed.classes[label] for label in boxed[index].labels]
        expected = [name for name in names if name != "pedestrian"]
        assert [turned.classes[label] for label in turned[index].labels] == expected


def test_a_frame_without_objects_has_no_boxes():
    sky = StreetsBoxes("train", classes=("sky",), length=1, cache=False)  # no instance of it
    assert sky[0].boxes.shape == (0, 4)
    assert sky[0].labels.shape == (0,)


def test_names_and_fingerprint(boxed):
    assert boxed.name(0) == Streets("train", length=1, cache=False).name(0)
    other = StreetsBoxes("train", length=3, side=8, cache=False)
    assert other.fingerprint() != boxed.fingerprint()
    assert len(boxed) == 3
    assert boxed.version == Streets.version


def test_unknown_classes_are_refused():
    with pytest.raises(UsageError, match="zebra"):
        StreetsBoxes("train", classes=("car", "zebra"), length=1, cache=False)
