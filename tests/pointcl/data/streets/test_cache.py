"""The caches hold what is rendered, survive damage and are written by several processes alike."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, replace

import numpy as np
import pytest

from densecl.data.streets import cache as store
from pointcl.data.streets import LidarStreets, shard
from pointcl.data.streets.recipe import Recipe

SCANS = Recipe("val", 5, 1, 5, 0, (8, 60))
PICTURES = Recipe("val", 5, 1, 5, 0, (12, 16), ("left", "front"))
OPTIONS = {"beams": 8, "steps": 60, "cameras": ("left", "front"), "camera_size": (12, 16)}


def content(folder):
    return {name: (folder / name).read_bytes() for name in shard.FILES}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("cache")
    for recipe in (SCANS, PICTURES):
        store.ensure(recipe, root, workers=1, shard=shard)
    return root


def test_cached_scans_and_pictures_equal_rendered_ones(root, monkeypatch):
    monkeypatch.setattr(store, "_build", lambda *_: pytest.fail("rendered again"))
    cached = LidarStreets("val", 5, cache=root, **OPTIONS)
    live = LidarStreets("val", 5, cache=False, **OPTIONS)
    for k in range(5):
        a, b = cached[k], live[k]
        np.testing.assert_array_equal(a.points, b.points)
        for name, rows in a.rows().items():
            np.testing.assert_array_equal(rows, b.rows()[name])
        np.testing.assert_array_equal(a.ego_to_world, b.ego_to_world)
        np.testing.assert_array_equal(a.boxes.centre, b.boxes.centre)
        for one, two in zip(a.cameras, b.cameras, strict=True):
            assert (one.name, one.key, one.timestamp) == (two.name, two.key, two.timestamp)
            np.testing.assert_array_equal(one.image(), two.image())
            np.testing.assert_array_equal(one.ego_to_world, two.ego_to_world)
            np.testing.assert_array_equal(one.intrinsics, two.intrinsics)
            for read in (LidarStreets.camera_label, LidarStreets.camera_instance):
                np.testing.assert_array_equal(read(cached, k, one.name), read(live, k, one.name))


@pytest.mark.parametrize("recipe", [SCANS, PICTURES], ids=["scans", "pictures"])
def test_several_processes_write_the_same_bytes(root, tmp_path, monkeypatch, recipe):
    recipe = replace(recipe, length=13)
    monkeypatch.setattr(store, "PARALLEL_FROM", 1)
    assert len(shard.chunks(recipe)) == 2
    several = store.ensure(recipe, tmp_path / "several", workers=2, shard=shard)
    one = store.ensure(recipe, tmp_path / "one", workers=1, shard=shard)
    assert content(several) == content(one)
    assert sorted(p.name for p in several.iterdir()) == sorted([*shard.FILES, "meta.json"])
    assert len(list((tmp_path / "several").iterdir())) == 1


@pytest.mark.parametrize("name", ["samples.bin", "offsets.npy", "meta.json"])
@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_damage_is_found_and_mended(tmp_path, name, how, capsys):
    recipe = replace(SCANS, length=1)
    folder = store.ensure(recipe, tmp_path, workers=1, shard=shard)
    good = content(folder)
    path = folder / name
    raw = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    else:
        raw[len(raw) // 2] ^= 0x55
        path.write_bytes(raw if how == "flip" else raw[:-3])
    assert store.damage(recipe, folder, shard)
    assert content(store.ensure(recipe, tmp_path, workers=1, shard=shard)) == good
    assert store.damage(recipe, folder, shard) is None
    assert "lidar-streets: rebuilding" in capsys.readouterr().err


def test_two_builders_at_once_leave_one_good_cache(tmp_path):
    recipe = replace(SCANS, length=2)
    found, barrier = [], threading.Barrier(2)

    def work() -> None:
        barrier.wait()
        found.append(store.ensure(recipe, tmp_path, workers=1, shard=shard))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(set(found)) == 1
    assert store.damage(recipe, found[0], shard) is None
    assert list(tmp_path.iterdir()) == [found[0]]


def test_versions_code_and_every_field_change_the_folder(monkeypatch):
    others = [
        replace(SCANS, **change)
        for change in (
            {"split": "test"},
            {"length": 6},
            {"clip": 2},
            {"gap": 4},
            {"seed": 1},
            {"shape": (8, 61)},
            {"cameras": ("front",)},
        )
    ]
    digests = {r.digest for r in (SCANS, *others)}
    assert len(digests) == 8
    for name in ("WORLD_VERSION", "LIDAR_VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(f"pointcl.data.streets.recipe.{name}", "other")
            assert SCANS.digest not in digests
    monkeypatch.setattr("pointcl.data.streets.recipe.code_digest", lambda: "other")
    assert SCANS.digest not in digests


def test_changed_code_stops_a_worker():
    with pytest.raises(SystemExit, match="changed"):
        shard.main(json.dumps([asdict(SCANS), "0" * 20, "nowhere"]))


def test_chunks_share_no_drive():
    for recipe in (replace(SCANS, length=100, clip=3), replace(SCANS, length=400, split="train")):
        drives = [
            {recipe.instant(k).sequence for k in range(*chunk)} for chunk in shard.chunks(recipe)
        ]
        assert sum(map(len, drives)) == len(set.union(*drives))
        assert shard.chunks(recipe)[-1][1] == recipe.length
