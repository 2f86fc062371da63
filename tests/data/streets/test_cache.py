"""The cache holds what the world draws, survives damage and two builders at once."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from densecl.data.streets import cache as store
from densecl.data.streets import shard
from densecl.data.streets.dataset import Streets
from densecl.data.streets.shard import Recipe, pack, render_sample, unpack

RECIPE = Recipe("val", 4, (24, 32), 2, 0)


def content(folder):
    return {n: (folder / n).read_bytes() for n in ("images.npy", "maps.bin", "flow.npy")}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("cache")
    return root, store.ensure(RECIPE, root, workers=1)


def test_cached_samples_equal_rendered_ones(built):
    root, _ = built
    cached = Streets("val", 4, (24, 32), 2, cache=root)
    live = Streets("val", 4, (24, 32), 2, cache=False)
    for k in range(4):
        a, b = cached[k], live[k]
        assert a.name == b.name
        for one, two in zip(a.frames, b.frames, strict=True):
            np.testing.assert_array_equal(one.image, two.image)
            for name in ("label", "instance"):
                np.testing.assert_array_equal(one.maps[name], two.maps[name])
            if one.flow is None:
                assert two.flow is None
            else:
                np.testing.assert_array_equal(one.flow, two.flow)


def test_maps_survive_packing():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 256, (2, 5, 7)).astype(np.uint8)
    instance = rng.integers(-1, 2_000_000, (2, 5, 7)).astype(np.int32)
    a, b = unpack(pack(label, instance), (2, 5, 7))
    np.testing.assert_array_equal(a, label)
    np.testing.assert_array_equal(b, instance)


def test_several_processes_write_the_same_bytes(built, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PARALLEL_FROM", 1)
    folder = store.ensure(RECIPE, tmp_path, workers=2)
    assert content(folder) == content(built[1])
    assert not list(tmp_path.glob(".building*"))
    assert sorted(p.name for p in folder.iterdir()) == sorted([*shard.FILES, "meta.json"])


def test_a_second_opening_renders_nothing(built, monkeypatch):
    monkeypatch.setattr(store, "_build", lambda *_: pytest.fail("rendered again"))
    assert store.ensure(RECIPE, built[0]) == built[1]


@pytest.mark.parametrize("name", ["images.npy", "maps.bin", "meta.json", "offsets.npy"])
@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_damage_is_found_and_mended(tmp_path, name, how, capsys):
    recipe = Recipe("val", 1, (12, 16), 1, 0)
    folder = store.ensure(recipe, tmp_path, workers=1)
    good = content(folder)
    path = folder / name
    raw = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    else:
        raw[len(raw) // 2] ^= 0x55
        path.write_bytes(raw if how == "flip" else raw[:-3])
    assert store.damage(recipe, folder)
    assert content(store.ensure(recipe, tmp_path, workers=1)) == good
    assert store.damage(recipe, folder) is None
    assert "rebuilding" in capsys.readouterr().err


def test_a_foreign_cache_under_our_name_is_rebuilt(tmp_path):
    recipe, other = Recipe("val", 1, (12, 16), 1, 0), Recipe("val", 1, (12, 16), 1, 5)
    mine, theirs = (store.ensure(r, tmp_path, workers=1) for r in (recipe, other))
    good = content(mine)
    for path in theirs.iterdir():
        (mine / path.name).write_bytes(path.read_bytes())
    assert "another" in (store.damage(recipe, mine) or "")
    assert content(store.ensure(recipe, tmp_path, workers=1)) == good


def test_the_world_version_and_every_field_change_the_folder(monkeypatch):
    base = Recipe("val", 4, (24, 32), 1, 0)
    others = [
        Recipe("test", 4, (24, 32), 1, 0),
        Recipe("val", 5, (24, 32), 1, 0),
        Recipe("val", 4, (24, 36), 1, 0),
        Recipe("val", 4, (24, 32), 2, 0),
        Recipe("val", 4, (24, 32), 1, 1),
    ]
    digests = {r.digest for r in (base, *others)}
    assert len(digests) == 6
    monkeypatch.setattr("densecl.data.streets.shard.WORLD_VERSION", "other")
    assert base.digest not in digests


def test_two_builders_at_once_leave_one_good_cache(tmp_path):
    recipe = Recipe("val", 2, (12, 16), 1, 0)
    barrier, found, errors = threading.Barrier(3), [], []

    def work() -> None:
        try:
            barrier.wait()
            found.append(store.ensure(recipe, tmp_path, workers=1))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(set(found)) == 1
    assert store.damage(recipe, found[0]) is None
    assert [p.name for p in tmp_path.iterdir()] == [found[0].name]


def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(store, "_build", fail)
    with pytest.raises(OSError, match="disk full"):
        store.ensure(RECIPE, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_cache_root_can_be_set(monkeypatch, tmp_path):
    monkeypatch.setenv("DENSECL_CACHE", str(tmp_path))
    assert store.default_root() == tmp_path


def test_changed_code_stops_a_worker():
    from dataclasses import asdict

    from densecl.data.streets.shard import main

    with pytest.raises(SystemExit, match="changed"):
        main(json.dumps([asdict(RECIPE), "0" * 20, "nowhere"]))


def test_samples_do_not_depend_on_the_order_of_rendering():
    from densecl.data.streets.drive import build_drive
    from densecl.data.streets.town import build_town

    recipe = Recipe("val", 8, (24, 32), 1, 0)
    forward = [render_sample(recipe, k) for k in (0, 3, 6)]
    build_drive.cache_clear()
    build_town.cache_clear()
    backward = [render_sample(recipe, k) for k in (6, 3, 0)][::-1]
    for a, b in zip(forward, backward, strict=True):
        for one, two in zip(a, b, strict=True):
            assert one.tobytes() == two.tobytes()
