from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from densecl.regions import SegmentStore
from pointcl.cli import main
from pointcl.data import ScanFolder
from pointcl.regions import Dbscan


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """A folder of three scans of a road with two boxes on it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "scans"
    (folder / "a").mkdir(parents=True)
    random = np.random.default_rng(1)
    for name in ("a/0", "a/1", "2"):
        road = random.uniform(-9, 9, (800, 3)) * [1, 1, 0] - [0, 0, 1.7]
        boxes = random.uniform(-0.5, 0.5, (300, 3)) + np.repeat(
            [[4, 0, -0.7], [-4, 0, -0.7]], 150, 0
        )
        points = np.concatenate([road, boxes]).astype(np.float32)
        np.column_stack([points, np.ones(len(points))]).astype(np.float32).tofile(
            folder / f"{name}.bin"
        )
    return folder


def build(*more):
    return main(["segments", "build", "scans", "--out", "store", "--set", "eps=0.4", *more])


def test_a_store_is_built_verified_and_found_complete(scans, capsys):
    assert build("--workers", "2") == 0
    text = capsys.readouterr().out
    assert "3 computed, 2 regions a scan; 0 were there already" in text
    assert "pointcl segments draw ... --store store" in text
    store = SegmentStore.open("store", {"type": "Dbscan", "eps": 0.4})
    dataset = ScanFolder(scans)
    for index in range(3):
        found = store.get(dataset.name(index), Dbscan().identify(dataset[index]))
        assert (found.ids == Dbscan(eps=0.4)(dataset[index]).ids).all()
    assert build() == 0
    assert "0 computed; 3 were there already" in capsys.readouterr().out
    assert main(["segments", "verify", "store"]) == 0
    assert "3 whole entries" in capsys.readouterr().out
    path = store.path(dataset.name(0))
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["segments", "verify", "store"]) == 1
    assert "pointcl segments verify store --repair" in capsys.readouterr().out
    assert main(["segments", "verify", "store", "--repair"]) == 0
    assert "pointcl segments build" in capsys.readouterr().out


def test_a_limited_build_goes_on(scans, capsys):
    assert build("--limit", "1", "--workers", "1") == 0
    assert "2 not looked at yet" in capsys.readouterr().out
    assert len(SegmentStore.open("store")) == 1


@pytest.mark.parametrize("method", ["supervoxels", "normal_graph"])
def test_each_method_has_a_name(scans, capsys, method):
    words = ["segments", "build", "scans", "--method", method, "--workers", "1", "--limit", "1"]
    more = ["voxel=0.5", "seed=2.0"] if method == "supervoxels" else ["max_gap=1.0"]
    assert main([*words, "--set", *more]) == 0
    name = {"supervoxels": "Supervoxels", "normal_graph": "NormalGraph"}[method]
    store = SegmentStore.open(f"work_dirs/segments/{name.lower()}")
    assert store.method["type"] == name


def test_a_config_says_what_to_build(scans, capsys):
    (scans.parent / "mine.py").write_text(
        "method = dict(type='PointContrast',\n"
        "    backbone=dict(type='MinkUNet', depth=14, in_channels=1))\n"
        "data = dict(type='WithSegments', store='from_config',\n"
        f"    dataset=dict(type='ScanFolder', root={str(scans)!r}),\n"
        "    method=dict(type='Dbscan', eps=0.6))\n"
        "schedule = dict(max_steps=2)\n"
    )
    assert main(["segments", "build", "mine.py", "--workers", "1"]) == 0
    store = SegmentStore.open("from_config")
    assert (store.method["eps"], len(store)) == (0.6, 3)


def test_segments_are_drawn_computed_or_stored(scans, capsys):
    size = ["--size", "80", "100"]
    assert main(["segments", "draw", "scans", "--count", "2", *size]) == 0
    assert "2 segments" in capsys.readouterr().out
    sheet = cv2.imread("work_dirs/segments/dbscan.png")
    assert sheet.shape == (2 * 80 + 6, 2 * 100 + 6, 3)
    build("--workers", "1")
    assert main(["segments", "draw", "scans", "--store", "store", "--out", "page.html"]) == 0
    assert "foreground" in (scans.parent / "page.html").read_text()
    assert main(["segments", "draw", "scans", "--count", "0"]) == 2


def test_scores_are_those_of_the_measures(tmp_path, monkeypatch, capsys):
    from pointcl.data import LidarStreets
    from pointcl.regions import measure_scan

    monkeypatch.chdir(tmp_path)
    options = ["--data", "length=2", "steps=40", "beams=8", "cache=False"]
    words = ["segments", "build", "streets:val", *options, "--out", "store", "--workers", "1"]
    assert main([*words, "--set", "eps=1.0"]) == 0
    capsys.readouterr()
    assert main(["segments", "score", "store", "streets:val", *options]) == 0
    text = capsys.readouterr().out
    dataset = LidarStreets("val", 2, steps=40, beams=8, cache=False, cameras=())
    found = [measure_scan(scan, Dbscan(eps=1.0)(scan)) for scan in (dataset[0], dataset[1])]
    for key in ("segments", "label_purity", "inside"):
        printed = float(re.search(rf"{key}\s+(\S+)", text)[1])
        assert printed == pytest.approx(np.nanmean([getattr(q, key) for q in found]), rel=1e-3)


@pytest.mark.parametrize("words", [["build"], ["build", "streets:nowhere"], ["build", "nothing"]])
def test_missing_or_unknown_data_is_refused(scans, capsys, words):
    assert main(["segments", *words]) == 2
    assert "error:" in capsys.readouterr().err


def test_bad_settings_are_refused(scans, capsys):
    assert build("--set", "eps=0") == 2
    assert "eps = 0" in capsys.readouterr().err
    assert build("--set", "epsilon=1") == 2
    assert "unknown: --set epsilon" in capsys.readouterr().err
    assert not (scans.parent / "store").exists()
