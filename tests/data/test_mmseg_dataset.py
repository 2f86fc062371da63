import cv2
import numpy as np
import pytest

from densecl.data import MMSegDataset
from densecl.errors import UsageError
from densecl.registry import DATASETS

IDS = np.array([[0, 1, 2], [2, 255, 0]], np.uint8)
COLOURS = np.array([[[200, 0, 0]] * 3, [[0, 0, 90]] * 3], np.uint8)


@pytest.fixture
def config(tmp_path):
    for folder in ("img", "ann"):
        (tmp_path / folder).mkdir()
    for stem in ("a", "b"):
        cv2.imwrite(str(tmp_path / "img" / f"{stem}.png"), COLOURS[..., ::-1])
        cv2.imwrite(str(tmp_path / "ann" / f"{stem}.png"), IDS)
    return {
        "type": "BaseSegDataset",
        "data_root": str(tmp_path),
        "data_prefix": {"img_path": "img", "seg_map_path": "ann"},
        "img_suffix": ".png",
        "seg_map_suffix": ".png",
        "metainfo": {"classes": ("road", "car", "tree")},
    }


def test_images_are_rgb_and_labels_as_mmseg_reads_them(config):
    dataset = MMSegDataset(config)
    assert len(dataset) == 2
    assert dataset.classes == ("road", "car", "tree")
    sample = dataset[1]
    assert sample.name.endswith("b.png")
    assert np.array_equal(sample.frames[0].image, COLOURS)
    assert np.array_equal(sample.frames[0].maps["label"], IDS)


def test_zero_label_is_reduced(config):
    dataset = MMSegDataset({**config, "reduce_zero_label": True})
    label = dataset[0].frames[0].maps["label"]
    assert label.tolist() == [[255, 0, 1], [1, 255, 255]]


def test_without_labels(config):
    dataset = DATASETS.build({"type": "MMSegDataset", "cfg": config, "labels": False})
    assert dataset[0].frames[0].maps == {}


def test_unreadable_image_is_named_or_skipped(config, tmp_path):
    (tmp_path / "img" / "a.png").write_bytes(b"broken")
    with pytest.raises(UsageError, match=r"a\.png"):
        MMSegDataset(config)[0]
    assert MMSegDataset(config, on_error="skip")[0].name.endswith("b.png")


def test_wrong_folder_or_type_is_refused(config):
    with pytest.raises(UsageError, match="at least one image"):
        MMSegDataset({**config, "img_suffix": ".tif"})
    with pytest.raises(UsageError, match="NoSuchDataset"):
        MMSegDataset({**config, "type": "NoSuchDataset"})


def test_fingerprint_follows_the_images(config, tmp_path):
    first = MMSegDataset(config).fingerprint()
    (tmp_path / "img" / "b.png").unlink()
    assert MMSegDataset(config).fingerprint() != first
