"""COCO's boxes on a small file."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from densecl.data import CocoBoxes
from densecl.errors import UsageError


def write(root, annotations, **more):
    for name in ("one.png", "two.png"):
        cv2.imwrite(str(root / name), np.zeros((10, 20, 3), np.uint8))
    content = {
        "images": [
            {"id": 7, "file_name": "two.png", "width": 20, "height": 10},
            {"id": 3, "file_name": "one.png", "width": 20, "height": 10},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": annotations,
        **more,
    }
    (root / "instances.json").write_text(json.dumps(content))
    return root / "instances.json"


def test_boxes_classes_crowds_and_areas(tmp_path):
    file = write(
        tmp_path,
        [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [1.5, 2, 4, 3], "area": 7.0},
            {"id": 2, "image_id": 3, "category_id": 1, "bbox": [15, 5, 10, 9], "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 1, "bbox": [0, 0, 5, 5], "ignore": 1},
            {"id": 4, "image_id": 99, "category_id": 1, "bbox": [0, 0, 5, 5]},
        ],
    )
    data = CocoBoxes(tmp_path, file)
    assert data.classes == ("cat", "dog")
    assert [data.name(i) for i in range(2)] == ["one.png", "two.png"]
    crowd, plain = data[0], data[1]
    assert crowd.boxes.tolist() == [[15, 5, 20, 10]]  # cut at the border
    assert crowd.crowd.tolist() == [True]
    assert crowd.ignore.tolist() == [True]
    assert plain.boxes.tolist() == [[1.5, 2, 5.5, 5], [0, 0, 5, 5]]
    assert plain.labels.tolist() == [1, 0]
    assert plain.ignore.tolist() == [False, True]
    assert plain.area.tolist() == [7.0, 25.0]
    assert plain.crowd.tolist() == [False, False]


def test_boxes_without_area_are_named_or_left_out(tmp_path):
    file = write(
        tmp_path, [{"id": 5, "image_id": 3, "category_id": 1, "bbox": [4, 4, 0, 3], "area": 0}]
    )
    with pytest.raises(UsageError, match=r"annotation 5 of one\.png: bbox \[4, 4, 0, 3\]"):
        CocoBoxes(tmp_path, file)
    data = CocoBoxes(tmp_path, file, degenerate="drop")
    assert len(data[0].boxes) == 0
    assert len(data.dropped) == 1


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match="lacks"):
        CocoBoxes(tmp_path, write(tmp_path, [], categories=[]))
    (tmp_path / "instances.json").write_text("[]")
    with pytest.raises(UsageError, match="list"):
        CocoBoxes(tmp_path, tmp_path / "instances.json")
