from __future__ import annotations

import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from densecl.cli import main
from densecl.regions import SegmentStore, Slic


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(2)
    for name in ("a/0", "a/1", "2"):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = random.integers(0, 255, (4, 5, 3), np.uint8)
        cv2.imwrite(str(path), np.kron(blocks, np.ones((8, 8, 1), np.uint8)))
        label = tmp_path / "labels" / f"{name}.png"
        label.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(label), np.kron(random.integers(0, 3, (2, 5)), np.ones((16, 8))))
    return tmp_path / "photos"


SMALL = ["--set", "segments=12", "sigma=0.5"]


def build(pictures, *more):
    return main(["segments", "build", "--data-root", str(pictures), *SMALL, *more])


def test_a_store_is_built_and_the_same_command_finds_it_complete(pictures, capsys):
    assert build(pictures, "--out", "store", "--workers", "2") == 0
    text = capsys.readouterr().out
    assert re.search(r"3 computed, \d+ regions a picture; 0 were there already", text)
    assert "densecl segments draw ... --store store" in text
    store = SegmentStore.open("store", {"type": "Slic", "segments": 12, "sigma": 0.5})
    assert store.missing(["a/0.png", "a/1.png", "2.png"]) == []
    assert build(pictures, "--out", "store") == 0
    assert "0 computed; 3 were there already" in capsys.readouterr().out


def test_a_limited_build_says_what_is_left(pictures, capsys):
    assert build(pictures, "--limit", "1", "--workers", "1") == 0
    assert "2 not looked at yet: the same command goes on" in capsys.readouterr().out
    assert len(SegmentStore.open("work_dirs/segments/slic")) == 1


def test_other_settings_do_not_enter_a_store(pictures, capsys):
    assert build(pictures, "--out", "store") == 0
    assert build(pictures, "--out", "store", "--set", "segments=20") == 2
    assert "segments = 12, asked for 20" in capsys.readouterr().err
    assert build(pictures, "--out", "store", "--method", "felzenszwalb") == 2
    assert "unknown: --set segments" in capsys.readouterr().err


def test_unreadable_pictures_are_named_and_the_rest_is_done(pictures, capsys):
    (pictures / "torn.png").write_bytes(b"torn")
    assert build(pictures, "--out", "store") == 1
    text = capsys.readouterr().out
    assert "3 computed" in text
    assert "unreadable: torn.png" in text


def test_a_config_says_what_to_build(pictures, capsys):
    config = pictures.parent / "mine.py"
    config.write_text(
        "method = dict(type='DenseCL', backbone=dict(type='ResNet', depth=18))\n"
        "data = dict(type='WithSegments', store='from_config',\n"
        f"    dataset=dict(type='ImageFolder', root={str(pictures)!r}),\n"
        "    method=dict(type='Felzenszwalb', scale=50, min_size=10))\n"
        "schedule = dict(max_steps=2)\n"
    )
    assert main(["segments", "build", str(config), "--workers", "1"]) == 0
    store = SegmentStore.open("from_config")
    assert (store.method["type"], store.method["scale"], len(store)) == ("Felzenszwalb", 50, 3)


@pytest.mark.parametrize("words", [["build"], ["build", "streets:nowhere"], ["score", "store"]])
def test_missing_or_unknown_data_is_refused(pictures, capsys, words):
    build(pictures, "--out", "store")
    assert main(["segments", *words]) == 2
    assert "error:" in capsys.readouterr().err


def test_bad_settings_are_refused(pictures, capsys):
    for option in ("segments=0", "segments=many", "colour=1", "levels=3"):
        assert build(pictures, "--out", "store", "--set", option) == 2
        assert option.split("=")[0] in capsys.readouterr().err
    assert not os.path.exists("store")


def test_verify_names_repairs_and_is_silent_about_the_whole(pictures, capsys):
    build(pictures, "--out", "store")
    capsys.readouterr()
    assert main(["segments", "verify", "store"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"Slic\(.*segments=12, sigma=0.5, .*\) of images", text)
    assert "3 whole entries" in text
    assert "store is whole" in text
    path = SegmentStore.open("store").path("2.png")
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["segments", "verify", "store"]) == 1
    text = capsys.readouterr().out
    assert f"damaged: {path}: its checksum does not fit" in text
    assert "densecl segments verify store --repair" in text
    assert main(["segments", "verify", "store", "--repair"]) == 0
    assert "1 removed; compute them again: densecl segments build" in capsys.readouterr().out
    assert build(pictures, "--out", "store") == 0
    assert "1 computed" in capsys.readouterr().out


def test_regions_are_drawn_computed_or_stored(pictures, capsys):
    root = ["--data-root", str(pictures), "--height", "40"]
    settings = ["--set", "segments=12", "levels=(3,)", "foreground=True"]
    assert main(["segments", "draw", *root, *settings, "--count", "2"]) == 0
    sheet = cv2.imread("work_dirs/segments/slic.png")
    assert sheet.shape == (20 + 2 * 44 - 4, 5 * 54 - 4, 3)
    build(pictures, "--out", "store")
    assert main(["segments", "draw", *root, "--store", "store", "--out", "deep/er.png"]) == 0
    assert cv2.imread("deep/er.png").shape == (20 + 3 * 44 - 4, 3 * 54 - 4, 3)
    assert main(["segments", "draw", *root, "--count", "0"]) == 2
    assert "--count 0" in capsys.readouterr().err


def test_the_streets_are_drawn_without_a_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DENSECL_CACHE", str(tmp_path / "cache"))
    assert main(["segments", "draw", "--count", "1"]) == 0
    assert cv2.imread("work_dirs/segments/slic.png").std() > 0
    assert not (tmp_path / "cache").exists()


def test_scores_are_those_of_the_measures(pictures, capsys):
    from densecl.data.decode import read_ids, read_rgb
    from densecl.regions import measure

    build(pictures, "--out", "store")
    capsys.readouterr()
    words = ["segments", "score", "store", "--data-root", str(pictures), "--labels", "labels"]
    assert main([*words, "--ignore", "255", "2"]) == 0
    text = capsys.readouterr().out
    method, found = Slic(segments=12, sigma=0.5), []
    for name in ("a/0", "a/1", "2"):
        labels = read_ids(pictures.parent / "labels" / f"{name}.png")
        ids = method(read_rgb(pictures / f"{name}.png")).ids
        found.append(measure(ids, np.where(labels == 2, 255, labels)))
    for key in ("boundary_recall", "under_segmentation_error", "achievable_accuracy"):
        printed = float(re.search(rf"{key}\s+(\S+)", text)[1])
        assert printed == pytest.approx(np.nanmean([getattr(q, key) for q in found]), rel=1e-3)
    os.remove("labels/2.png")
    assert main(words) == 2
    assert "no label labels/2.png" in capsys.readouterr().err
    assert main(words[:-2]) == 2
    assert "has no labels" in capsys.readouterr().err


def test_a_store_says_what_it_is(pictures):
    build(pictures, "--out", "store")
    header = json.loads(Path("store/store.json").read_text())
    assert header["kind"] == "image"
    assert header["method"]["scikit-image"]
