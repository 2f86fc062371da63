from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from densecl.engine.config import list_configs
from densecl.errors import UsageError
from densecl.studies import plan_study, read_study

FILE = Path(__file__).resolve().parents[1] / "tools" / "prepare_camvid.py"
SPEC = importlib.util.spec_from_file_location("prepare_camvid", FILE)
camvid = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(camvid)

DRIVES = {"0001TP": "train", "0006R0": "val", "0016E5": "test"}
OTHERS = ("0006R0", "0016E5")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three drives of 120 photos, a second apart, one drive in each official split."""
    root = tmp_path_factory.mktemp("camvid")
    image, label = np.zeros((24, 32, 3), np.uint8), np.zeros((24, 32), np.uint8)
    for drive, split in DRIVES.items():
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        for second in range(120):
            prefix = "f" if drive == "0006R0" else ""
            name = f"{drive}_{prefix}{1000 + 30 * second:06d}"
            cv2.imwrite(str(root / split / "images" / f"{name}.jpg"), image)
            cv2.imwrite(str(root / split / "labels" / f"{name}.png"), label)
    return root


@pytest.fixture(scope="module")
def lists(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("lists")
    camvid.write_lists(root, out)
    return out


def read(lists, fold, part):
    return (lists / fold / f"{part}.txt").read_text().split()


def test_each_fold_is_tested_on_all_of_one_drive_and_never_saw_it(lists):
    for drive in DRIVES:
        fold = f"test_{drive}"
        test = read(lists, fold, "test")
        assert len(test) == 120
        assert {camvid.drive_of(name) for name in test} == {drive}
        unlabelled = set(read(lists, fold, "unlabelled"))
        assert len(unlabelled) == 240
        assert not unlabelled & set(test)
        assert set(read(lists, fold, "train")) | set(read(lists, fold, "val")) < unlabelled


def test_validation_is_whole_blocks_and_no_training_photo_is_within_the_gap(lists):
    train, val = (read(lists, "test_0001TP", part) for part in ("train", "val"))
    for drive in OTHERS:
        moments = sorted(camvid.second_of(name) for name in val if camvid.drive_of(name) == drive)
        assert len(moments) == 20
        assert moments[-1] - moments[0] == pytest.approx(19)
        others = [camvid.second_of(name) for name in train if camvid.drive_of(name) == drive]
        assert min(abs(a - b) for a in moments for b in others) >= camvid.GAP
        assert len(others) == 120 - 20 - 2 * 5


def test_lists_of_one_drive_make_up_those_of_the_fold(lists):
    for part in ("train", "val"):
        own = {drive: read(lists, "test_0001TP", f"{part}_{drive}") for drive in OTHERS}
        for drive, names in own.items():
            assert {camvid.drive_of(name) for name in names} == {drive}
        assert [*own["0006R0"], *own["0016E5"]] == read(lists, "test_0001TP", part)
    assert not (lists / "test_0001TP" / "train_0001TP.txt").exists()


def test_dense_video_counts_one_photo_a_second_in_the_labelled_lists():
    names = [f"train/images/0016E5_{number:05d}.jpg" for number in range(0, 3000, 2)]
    train, val = camvid.train_and_val(names)
    for own in (train, val):
        moments = [camvid.second_of(name) for name in own]
        assert min(np.diff(moments)) >= 1
    assert len(val) == 20


def test_official_lists_hold_all_photos_and_the_link_leads_to_them(lists, root):
    assert len(read(lists, "official", "unlabelled")) == 360
    assert len(read(lists, "official", "test")) == 120
    assert (lists / "camvid" / read(lists, "official", "val")[0]).is_file()
    assert json.loads((lists / "lists.json").read_text())["counts"]["test_0016E5"]["test"] == 120
    camvid.write_lists(root, lists)  # again: the link is replaced
    assert (lists / "camvid").resolve() == root.resolve()


def test_what_is_not_camvid_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no photos in"):
        camvid.write_lists(tmp_path, tmp_path / "out")
    with pytest.raises(UsageError, match="0016E5_07959"):
        camvid.drive_of("train/images/berlin.jpg")
    with pytest.raises(UsageError, match="at least two"):
        camvid.folds(["train/images/0016E5_07959.jpg"])


def test_real_lists_leave_no_photo_on_both_sides(tmp_path):
    data = os.environ.get("DENSECL_TEST_DATA")
    if not data or not (Path(data) / "camvid").is_dir():
        pytest.skip("DENSECL_TEST_DATA names no folder with camvid")
    counts = camvid.write_lists(Path(data) / "camvid", tmp_path)
    for fold in counts:
        if fold.startswith("test_"):
            parts = {part: set(read(tmp_path, fold, part)) for part in counts[fold]}
            assert not parts["test"] & (parts["unlabelled"] | parts["train"] | parts["val"])
            assert not parts["train"] & parts["val"]


FOLDS = {
    "camvid_by_drive": {f"test_{drive}" for drive in DRIVES},
    "camvid_across_drives": {f"{a} to {b}" for a in DRIVES for b in DRIVES if a != b},
    "camvid_anchors": {"official"},
}


@pytest.mark.parametrize("name", FOLDS)
def test_shipped_studies_of_camvid_plan_their_cells(lists, tmp_path, name):
    shipped = set(list_configs())
    config = read_study(name, ["seeds=[0]"], lists)
    have = [row.name for row in config.rows if row.pretrain in shipped]
    narrow = ["protocols.0.controls=[]", "seeds=[0]"]
    plan = plan_study(read_study(name, narrow, lists, have), tmp_path / "out", "cpu")
    labels = [cell.label for cell in plan.cells]
    assert len(labels) == len(set(labels))
    assert any("pretrain | DenseCL" in label for label in labels)
    assert {fold.name for fold in plan.folds} == FOLDS[name]
    assert not (tmp_path / "out").exists()


def test_anchors_are_scored_on_every_tenth_label_and_say_that_val_was_seen(lists, tmp_path):
    config = read_study("camvid_anchors", (), lists)
    plan = plan_study(config, tmp_path / "out", "cpu")
    (table,) = plan.tables
    assert len(table.study.pairs[0][1].items) == 12
    assert [seed for seed, _ in table.study.pairs] == [0, 1, 2]
    assert plan.folds[0].scored == "val"
    assert plan.folds[0].overlap() == 120
    assert table.study.protocol.spec.probe.decay == 1e-4
