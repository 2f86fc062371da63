from __future__ import annotations

import sys

import numpy as np
import pytest

from densecl.errors import UsageError
from pointcl.regions.ground import fit_planes, ground, lowest, ransac_plane


def test_a_sloping_road_is_ground_and_what_stands_on_it_is_not(street):
    points, label = street
    found = ground(points)
    assert found[label == 0].mean() > 0.99
    assert found[label > 0].mean() < 0.05


def test_a_hill_beyond_the_flat_is_ground_too(random):
    at = np.column_stack([random.uniform(-60, 60, (30000, 2)), np.zeros(30000)])
    at[:, 2] = np.maximum(at[:, 0] - 20, 0) * 0.04
    at[:3000, 2] += random.uniform(1, 3, 3000)
    found = ground(at)
    assert found[3000:].mean() > 0.98
    assert not found[:3000].any()


def test_a_floor_is_found_below_a_large_table_and_a_ceiling(random):
    floor = random.uniform(0, 5, (9000, 3)) * [1, 1, 0]
    # nothing is seen below the table, which covers more than the floor that is left
    floor = floor[(floor[:, :2] > 4).any(1)][:3000]
    table = random.uniform(0, 1, (4000, 3)) * [4, 4, 0] + [0, 0, 0.8]
    ceiling = random.uniform(0, 5, (6000, 3)) * [1, 1, 0] + [0, 0, 2.5]
    found = ground(np.concatenate([floor, table, ceiling]), threshold=0.05, cell=0.2)
    assert found[:3000].all()
    assert not found[3000:].any()


def test_the_plane_is_the_one_that_was_sampled(random):
    at = random.uniform(-9, 9, (2000, 3))
    at[:, 2] = 0.1 * at[:, 0] - 0.05 * at[:, 1] - 1.7
    at[:300, 2] += random.uniform(1, 4, 300)
    assert np.allclose(fit_planes(at, cell=0.5).whole, [0.1, -0.05, -1.7], atol=1e-6)


def test_steep_planes_are_no_ground(random):
    at = random.uniform(-5, 5, (500, 3))
    at[:, 2] = at[:, 0]
    plane = ransac_plane(at, 0.1, np.tan(np.radians(15)), np.random.default_rng(0))
    assert plane is None or np.linalg.norm(plane[:2]) <= np.tan(np.radians(15))
    assert ground(at, max_slope=60, threshold=0.1).all()


def test_lowest_are_the_lowest_of_each_column(random):
    at = random.uniform(-3, 3, (500, 3))
    rows = lowest(at, 1.0)
    column = np.floor(at[:, :2])
    for row in rows:
        same = (column == column[row]).all(1)
        assert at[same, 2].min() == at[row, 2]
    assert len(rows) == len(np.unique(column, axis=0))


def test_the_same_scan_has_the_same_ground_in_any_order(street, random):
    points, _ = street
    whole = ground(points)
    assert (ground(points) == whole).all()
    order = random.permutation(len(points))
    assert (ground(points[order]) == whole[order]).all()


@pytest.mark.parametrize("method", ["ransac", "patchwork++", "none"])
def test_nothing_little_and_not_a_number(method, street):
    if method == "patchwork++":
        pytest.importorskip("pypatchworkpp", reason="pypatchworkpp is not installed")
    assert ground(np.zeros((0, 3)), method).shape == (0,)
    assert not ground(np.full((4, 3), np.nan), method).any()
    assert ground(np.zeros((5, 3)), method, sensor_height=1.0).shape == (5,)
    points = street[0].copy()
    points[::7] = np.nan
    found = ground(points, method)
    assert not found[::7].any()
    assert found.any() == (method != "none")


def test_patchwork_finds_the_road_and_keeps_nothing_from_scan_to_scan(street):
    pytest.importorskip("pypatchworkpp", reason="pypatchworkpp is not installed")
    points, label = street
    away = np.linalg.norm(points[:, :2], axis=1) > 3
    found = ground(points, "patchwork++")
    assert found[(label == 0) & away].mean() > 0.9
    assert found[label > 0].mean() < 0.1
    ground(points + np.float32([0, 0, 3]), "patchwork++")
    assert (ground(points, "patchwork++") == found).all()
    # a sensor said to stand elsewhere finds another ground
    assert (ground(points, "patchwork++", sensor_height=0.3) != found).any()


def test_patchwork_says_nothing(street, capfd):
    pytest.importorskip("pypatchworkpp", reason="pypatchworkpp is not installed")
    print("before")
    ground(street[0], "patchwork++")
    print("after")
    assert capfd.readouterr().out == "before\nafter\n"


def test_unknown_methods_and_missing_packages_are_told(monkeypatch):
    with pytest.raises(UsageError, match="one of patchwork"):
        ground(np.zeros((9, 3)), "plane")
    monkeypatch.setitem(sys.modules, "pypatchworkpp", None)
    with pytest.raises(UsageError, match=r"densecl\[3d\]"):
        ground(np.zeros((9, 3)), "patchwork++")
