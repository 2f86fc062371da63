from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scan_layouts import cloud, put, semantic_kitti

from densecl.errors import UsageError

FILE = Path(__file__).resolve().parents[1] / "tools" / "prepare_drives.py"
SPEC = importlib.util.spec_from_file_location("prepare_drives", FILE)
drives = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(drives)


@pytest.fixture
def source(tmp_path):
    """Three sweeps with a camera, twenty labelled ones of each of two sensors."""
    root = tmp_path / "sweeps"
    for number in range(3):
        put(root / "kitti_raw/velodyne_points/data" / f"{number:010d}.bin", cloud(number))
    semantic_kitti(root / "semantic_kitti/dataset", ("00",), scans=20)
    for number in range(20):
        points = cloud(number)
        points[:, 3] = np.linspace(0, 255, len(points))
        put(root / "nuscenes_seg/points" / f"{number}.bin", points)
        ids = (np.arange(len(points)) % 11).astype(np.uint8)
        put(root / "nuscenes_seg/labels" / f"{number}.bin", ids)
    return root


def names(path):
    return path.read_text().split()


def test_drives_are_cut_in_time_with_two_sweeps_between(source, tmp_path):
    out = tmp_path / "out"
    counts = drives.prepare(source, out)
    for drive in ("semantic_kitti", "nuscenes"):
        parts = {part: names(out / drive / f"{part}.txt") for part in ("train", "val", "test")}
        assert {part: len(own) for part, own in parts.items()} == counts[drive]
        numbers = {p: [int(name.split("/")[1]) for name in own] for p, own in parts.items()}
        assert numbers["val"][0] - numbers["train"][-1] == 3
        assert numbers["test"][0] - numbers["val"][-1] == 3


def test_the_unlabelled_folder_holds_no_sweep_of_val_or_test_and_one_scale(source, tmp_path):
    out = tmp_path / "out"
    drives.prepare(source, out)
    files = {file.stem for file in (out / "unlabelled").glob("*.bin")}
    wanted = {f"{number:010d}" for number in range(3)}
    for drive in ("semantic_kitti", "nuscenes"):
        train = names(out / drive / "train.txt")
        wanted |= {f"{drive}_{name.split('/')[1]}" for name in train}
    assert files == wanted
    for file in (out / "unlabelled").glob("nuscenes_*.bin"):
        points = np.fromfile(file, np.float32).reshape(-1, 4)
        raw = np.fromfile(out / "nuscenes/sequences/00/velodyne" / file.name[-10:], np.float32)
        np.testing.assert_array_equal(points[:, :3], raw.reshape(-1, 4)[:, :3])
        assert points[:, 3].max() == 1


def test_ids_of_nuscenes_keep_their_points(source, tmp_path):
    out = tmp_path / "out"
    drives.prepare(source, out)
    for number in range(20):
        ids = np.fromfile(source / f"nuscenes_seg/labels/{number}.bin", np.uint8)
        written = out / f"nuscenes/sequences/00/labels/{number:06d}.label"
        np.testing.assert_array_equal(np.fromfile(written, np.uint32), ids)


def test_a_second_run_writes_the_same(source, tmp_path):
    out = tmp_path / "out"
    first = drives.prepare(source, out)
    files = {file: file.read_bytes() for file in (out / "unlabelled").iterdir()}
    assert drives.prepare(source, out) == first
    assert {file: file.read_bytes() for file in (out / "unlabelled").iterdir()} == files


def test_missing_and_malformed_sweeps_are_refused(source, tmp_path):
    put(source / "nuscenes_seg/labels/7.bin", np.zeros(3, np.uint8))
    with pytest.raises(UsageError, match=r"7\.bin: 3 ids"):
        drives.prepare(source, tmp_path / "out")
    (source / "nuscenes_seg/labels/7.bin").unlink()
    with pytest.raises(UsageError, match=r"there is no .*7\.bin"):
        drives.prepare(source, tmp_path / "out")
    with pytest.raises(UsageError, match="no sweeps"):
        drives.prepare(tmp_path / "nothing", tmp_path / "out")
    put(source / "nuscenes_seg/points/first.bin", cloud())
    with pytest.raises(UsageError, match=r"first\.bin"):
        drives.prepare(source, tmp_path / "out")


def test_sweeps_that_an_earlier_layout_left_are_refused(source, tmp_path):
    out = tmp_path / "out"
    for left in ("nuscenes/sequences/00/velodyne/000099.bin", "unlabelled/0000000099.bin"):
        put(out / left, cloud(99))
        with pytest.raises(UsageError, match=f"{left} is not of these sweeps"):
            drives.prepare(source, out)
        (out / left).unlink()
