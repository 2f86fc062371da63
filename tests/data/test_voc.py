"""VOC's layout, on a small tree and, where it is at hand, on real pictures."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from densecl.data import VocBoxes
from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from densecl.registry import DATASETS

OBJECT = (
    "<object><name>{0}</name><difficult>{5}</difficult><bndbox><xmin>{1}</xmin>"
    "<ymin>{2}</ymin><xmax>{3}</xmax><ymax>{4}</ymax></bndbox></object>"
)
CELL, DISC = ("cell", 1, 1, 20, 10, 0), ("disc", 5, 6, 12, 10, 1)


def write(root: Path, stem: str, objects, size=(20, 10), text=None):
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    image = np.full((size[1], size[0], 3), len(stem), np.uint8)
    cv2.imwrite(str(root / "JPEGImages" / f"{stem}.png"), image)
    body = "".join(OBJECT.format(*each) for each in objects)
    default = f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{body}"
    text = default + "</annotation>" if text is None else text
    (root / "Annotations" / f"{stem}.xml").write_text(text)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "b", [CELL, DISC])
    write(tmp_path, "a", [])
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("b\n")
    return tmp_path


def test_inclusive_corners_become_edges(root):
    data = VocBoxes(root, ["disc", "cell"])
    assert [data.name(i) for i in range(len(data))] == ["a", "b"]
    assert data[0].boxes.shape == (0, 4)
    item = data[1]
    # a box over the whole picture is (1, 1, width, height) in the file
    assert item.boxes.tolist() == [[0, 0, 20, 10], [4, 5, 12, 10]]
    assert item.labels.tolist() == [1, 0]
    assert item.ignore.tolist() == [False, True]
    assert item.area.tolist() == [200, 40]
    assert item.image.shape == (10, 20, 3)
    assert not item.crowd.any()


def test_a_list_of_names_selects(root):
    data = VocBoxes(root, ["disc", "cell"], names=root / "ImageSets/Main/train.txt")
    assert len(data) == 1
    assert data.name(0) == "b"


def test_the_registered_data_set_is_this_one(root):
    data = DATASETS.build({"type": "VocBoxes", "root": str(root), "classes": ["cell", "disc"]})
    assert data.classes == ("cell", "disc")


def test_boxes_without_area_are_named_by_file_and_object(root):
    write(root, "c", [CELL, ("cell", 7, 3, 7, 3, 0)])
    write(root, "d", [("disc", 9, 3, 7, 8, 0), ("disc", 30, 3, 35, 8, 0)])
    with pytest.raises(UsageError) as error:
        VocBoxes(root, ["cell", "disc"])
    for words in ("3 boxes without area", "c.xml, object 2 (cell): xmin 7, ymin 3, xmax 7, ymax 3"):
        assert words in str(error.value)
    assert "d.xml, object 1" in str(error.value)
    assert "d.xml, object 2" in str(error.value)


def test_boxes_without_area_are_left_out_where_asked(root):
    write(root, "c", [("cell", 7, 3, 7, 3, 0), CELL])
    data = VocBoxes(root, ["cell", "disc"], degenerate="drop")
    assert data[2].boxes.tolist() == [[0, 0, 20, 10]]
    assert data.dropped == ["c.xml, object 1 (cell): xmin 7, ymin 3, xmax 7, ymax 3"]


def test_boxes_over_the_border_are_cut(root):
    write(root, "c", [("cell", 0, -4, 25, 10, 0)])
    assert VocBoxes(root, ["cell", "disc"])[2].boxes.tolist() == [[0, 0, 20, 10]]


def test_the_fingerprint_follows_boxes_and_classes(root):
    first = VocBoxes(root, ["cell", "disc"]).fingerprint()
    assert VocBoxes(root, ["cell", "disc"]).fingerprint() == first
    assert VocBoxes(root, ["disc", "cell"]).fingerprint() != first
    write(root, "b", [CELL])
    assert VocBoxes(root, ["cell", "disc"]).fingerprint() != first


def test_an_unlisted_class_is_named(root):
    with pytest.raises(UsageError, match=r"b\.xml: object 2 is a 'disc'"):
        VocBoxes(root, ["cell"])
    with pytest.raises(UsageError, match="classes is empty"):
        VocBoxes(root, [])


def test_bad_files_are_named(root):
    write(root, "c", [], text="<annotation>")
    with pytest.raises(UnreadableFileError, match=r"c\.xml: not XML"):
        VocBoxes(root, ["cell", "disc"])
    write(root, "c", [("cell", 1, "one", 3, 4, 0)])
    with pytest.raises(UnreadableFileError, match="object 1, bndbox/ymin is 'one'"):
        VocBoxes(root, ["cell", "disc"])
    write(root, "c", [], text="<annotation></annotation>")
    with pytest.raises(UnreadableFileError, match="size/width is None"):
        VocBoxes(root, ["cell", "disc"])
    (root / "Annotations" / "c.xml").unlink()
    with pytest.raises(UnreadableFileError, match=r"c\.xml"):
        VocBoxes(root, ["cell", "disc"])


def test_names_without_an_image_are_refused(root):
    (root / "list.txt").write_text("b\nzebra\n")
    with pytest.raises(UsageError, match="'zebra'"):
        VocBoxes(root, ["cell", "disc"], names=root / "list.txt")
    (root / "list.txt").write_text("\n")
    with pytest.raises(UsageError, match="empty"):
        VocBoxes(root, ["cell", "disc"], names=root / "list.txt")


BLOOD = Path(os.environ.get("DENSECL_TEST_DATA", "")) / "bccd"
HERE = bool(os.environ.get("DENSECL_TEST_DATA")) and BLOOD.is_dir()


@pytest.mark.skipif(not HERE, reason="DENSECL_TEST_DATA names no folder with bccd")
def test_blood_cells():
    classes = ["RBC", "WBC", "Platelets"]
    with pytest.raises(UsageError) as error:
        VocBoxes(BLOOD, classes)
    assert "BloodImage_00338.xml, object 13 (RBC)" in str(error.value)
    assert "BloodImage_00343.xml, object 4 (RBC)" in str(error.value)
    data = VocBoxes(BLOOD, classes, degenerate="drop")
    assert len(data.dropped) == 2
    counts = np.bincount(data.table.labels)
    assert counts.tolist() == [3348, 301, 292]
    assert data[0].image.shape == (480, 640, 3)
    boxes = data.table.boxes
    assert boxes.min() >= 0
    assert (boxes.max(axis=0) <= [640, 480, 640, 480]).all()
