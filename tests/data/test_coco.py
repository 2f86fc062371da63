import json

import numpy as np
import pytest

from densecl.data import CocoImages
from densecl.errors import UsageError


def square(x, y, side):
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


@pytest.fixture
def coco(tmp_path, write_image):
    write_image(tmp_path / "images" / "b.png", 20, size=(40, 50))
    write_image(tmp_path / "images" / "a.png", 70, size=(40, 50))
    crowd = {"size": [40, 50], "counts": [40 * 45, 40 * 5]}
    objects = [
        {"image_id": 9, "category_id": 18, "iscrowd": 0, "segmentation": square(5, 5, 8)},
        {"image_id": 9, "category_id": 3, "iscrowd": 0, "segmentation": square(2, 2, 20)},
        {"image_id": 9, "category_id": 3, "iscrowd": 1, "segmentation": crowd},
        {"image_id": 9, "category_id": 18, "iscrowd": 0, "segmentation": square(40, 30, 8)},
        {"image_id": 9, "category_id": 18, "iscrowd": 0, "segmentation": []},
        {"image_id": 77, "category_id": 3, "iscrowd": 0, "segmentation": square(1, 1, 3)},
    ]
    content = {
        "images": [{"id": 9, "file_name": "a.png"}, {"id": 4, "file_name": "b.png"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
        "annotations": objects,
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return tmp_path / "images", path


def test_images_come_by_id_without_maps(coco):
    dataset = CocoImages(*coco)
    assert [dataset.name(i) for i in range(2)] == ["b.png", "a.png"]
    assert int(dataset[1].frames[0].image.mean()) == 70
    assert dataset[0].frames[0].maps == {}
    assert dataset.classes == ()


def test_maps_hold_instances_and_classes(coco):
    dataset = CocoImages(*coco, maps=("instance", "label"))
    assert dataset.classes == ("car", "dog")
    maps = dataset[1].frames[0].maps
    instance, label = maps["instance"], maps["label"]
    assert (instance[9, 9], label[9, 9]) == (0, 1)  # the dog lies on the larger car
    assert (instance[18, 18], label[18, 18]) == (1, 0)
    assert (instance[10, 48], label[10, 48]) == (-1, 255)  # crowd
    assert (instance[34, 47], label[34, 47]) == (2, 1)  # an object on top of the crowd
    assert (instance[38, 2], label[38, 2]) == (-1, 255)  # nothing
    assert np.unique(instance).tolist() == [-1, 0, 1, 2]


def test_image_without_objects_has_empty_maps(coco):
    maps = CocoImages(*coco, maps=("instance", "label"))[0].frames[0].maps
    assert (maps["instance"] == -1).all()
    assert (maps["label"] == 255).all()


def test_only_the_maps_asked_for(coco):
    assert set(CocoImages(*coco, maps=["instance"])[1].frames[0].maps) == {"instance"}


def test_mask_that_does_not_fit_names_the_image(coco):
    content = json.loads(coco[1].read_text())
    content["annotations"][2]["segmentation"]["size"] = [50, 40]
    coco[1].write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"masks of a\.png: run-length"):
        CocoImages(*coco, maps=["label"])[1]
    assert CocoImages(*coco, maps=["label"], on_error="skip")[1].source == 0


def test_broken_annotation_files_are_refused(coco):
    with pytest.raises(UsageError, match="maps"):
        CocoImages(*coco, maps=["masks"])
    coco[1].write_text('{"images": [{"id": 1, "file_name": "a.png"}]}')
    with pytest.raises(UsageError, match="no annotations"):
        CocoImages(*coco, maps=["label"])
    for text, word in (("{", "not JSON"), ("[]", "list"), ("{}", "no images")):
        coco[1].write_text(text)
        with pytest.raises(UsageError, match=word):
            CocoImages(*coco)
    with pytest.raises(UsageError, match=r"data\.annotation"):
        CocoImages(coco[0], coco[0] / "none.json")


def test_fingerprint_follows_maps(coco):
    assert CocoImages(*coco).fingerprint() != CocoImages(*coco, maps=["label"]).fingerprint()
