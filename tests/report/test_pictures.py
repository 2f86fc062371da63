from __future__ import annotations

import base64

import cv2
import numpy as np
from report.evaluations import picture

from densecl.report.pictures import pack


def opened(packed):
    head, data = packed.uri.split(",")
    assert head == "data:image/webp;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)


def size(packed):
    return len(packed.uri.split(",")[1]) * 3 // 4


def test_a_picture_comes_back_nearly_as_it_was(tmp_path):
    path = tmp_path / "a.png"
    picture(path, 0, (90, 130))
    packed = pack([path])[path]
    assert (packed.width, packed.height) == (130, 90)
    difference = opened(packed).astype(int) - cv2.imread(str(path))
    assert np.abs(difference).mean() < 3
    assert size(packed) < path.stat().st_size


def test_flat_colours_are_kept_exactly(tmp_path):
    labels = np.random.default_rng(0).integers(0, 5, (12, 16)).repeat(10, 0).repeat(10, 1)
    colours = np.random.default_rng(1).integers(0, 256, (5, 3), np.uint8)[labels]
    cv2.imwrite(str(tmp_path / "a.png"), colours)
    packed = pack([tmp_path / "a.png"])[tmp_path / "a.png"]
    np.testing.assert_array_equal(opened(packed), colours)


def test_a_large_picture_is_made_smaller_and_a_small_one_is_not_made_larger(tmp_path):
    for name, shape in (("wide", (100, 400)), ("tall", (400, 100)), ("small", (20, 30))):
        picture(tmp_path / f"{name}.png", 0, shape)
    found = pack(sorted(tmp_path.glob("*")), side=200)
    sizes = {path.stem: (p.width, p.height) for path, p in found.items()}
    assert sizes == {"wide": (200, 50), "tall": (50, 200), "small": (30, 20)}


def test_all_together_stay_within_the_budget(tmp_path):
    noise = np.random.default_rng(0)
    for k in range(4):
        cv2.imwrite(str(tmp_path / f"{k}.png"), noise.integers(0, 256, (300, 300, 3), np.uint8))
    paths = sorted(tmp_path.glob("*"))
    free = pack(paths)
    budget = sum(map(size, free.values())) // 4
    found = pack(paths, budget=budget)
    assert 0 < sum(map(size, found.values())) <= budget * 1.01
    assert all(p.width > 64 for p in found.values())


def test_what_is_no_picture_is_left_out(tmp_path):
    picture(tmp_path / "a.png", 0)
    (tmp_path / "b.png").write_text("no picture")
    (tmp_path / "c.png").touch()
    assert [path.stem for path in pack(sorted(tmp_path.glob("*")))] == ["a"]
    assert pack([]) == {}


def test_the_same_picture_gives_the_same_bytes(tmp_path):
    picture(tmp_path / "a.png", 0)
    picture(tmp_path / "b.png", 0)
    found = pack([tmp_path / "a.png", tmp_path / "b.png"])
    assert len({packed.uri for packed in found.values()}) == 1
