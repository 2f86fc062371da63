from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from pointcl.regions.normal_graph import graph_segments, neighbour_edges, normal_graph
from pointcl.regions.normals import estimate_normals

# the package has a function of this name
module = import_module("pointcl.regions.normal_graph")


def textbook(count, edges, weight, scale, min_size=1):
    """One edge after the other, as in the paper."""
    component = [{node} for node in range(count)]
    internal = dict.fromkeys(range(count), 0.0)
    of = list(range(count))

    def join(p, q):
        component[p] |= component[q]
        for node in component[q]:
            of[node] = p

    order = np.argsort(weight, kind="stable").tolist()
    for row in order:
        p, q = of[edges[row, 0]], of[edges[row, 1]]
        least = min(internal[c] + scale / len(component[c]) for c in (p, q))
        if p != q and weight[row] <= least:
            join(p, q)
            internal[p] = float(weight[row])
    for row in order:
        p, q = of[edges[row, 0]], of[edges[row, 1]]
        if p != q and min(len(component[p]), len(component[q])) < min_size:
            join(p, q)
    return np.array(of)


def partition(ids):
    return sorted(tuple(np.flatnonzero(ids == k)) for k in np.unique(ids))


@pytest.mark.parametrize("scale", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("min_size", [1, 6])
@pytest.mark.parametrize("first", [1, 5, 4096])
def test_batches_give_what_the_textbook_gives(scale, min_size, first, random, monkeypatch):
    monkeypatch.setattr(module, "_FIRST", first)
    for ties in (False, True):
        edges = random.integers(0, 150, (700, 2))
        weight = random.uniform(0, 1, 700)
        if ties:
            weight = weight.round(1)
        ours = graph_segments(150, edges, weight, scale, min_size)
        assert partition(ours) == partition(textbook(150, edges, weight, scale, min_size))
        assert np.unique(ours).tolist() == list(range(ours.max() + 1))


def test_a_component_that_refused_once_refuses_all_that_is_heavier():
    # 0-1 join at 0; the limit of both is then 1/2, so that 0.6 is refused, and 0.7 as well
    edges = np.array([[0, 1], [1, 2], [0, 3], [2, 3]])
    found = graph_segments(4, edges, np.array([0.0, 0.6, 0.7, 0.8]), 1.0)
    assert partition(found) == [(0, 1), (2, 3)]


def test_a_graph_without_edges_or_nodes():
    none = np.zeros((0, 2), np.int64)
    assert graph_segments(3, none, np.zeros(0), 1.0, 5).tolist() == [0, 1, 2]
    assert graph_segments(0, none, np.zeros(0), 1.0).tolist() == []


def test_edges_are_those_to_the_nearest_points(random):
    at = random.uniform(0, 1, (60, 3))
    apart = np.linalg.norm(at[:, None] - at, axis=2)
    expected = set()
    for a in range(60):
        for b in np.argsort(apart[a])[1:5]:
            if apart[a, b] <= 0.3:
                expected.add((min(a, b), max(a, b)))
    assert [tuple(edge) for edge in neighbour_edges(at, 4, 0.3)] == sorted(expected)


@pytest.fixture
def corner(random):
    """A floor and a wall that meet, and which is which."""
    floor = random.uniform(0, 2, (2000, 3)) * [1, 1, 0]
    wall = random.uniform(0, 2, (2000, 3)) * [0, 1, 1] + [0, 0, 0.05]
    points = np.concatenate([floor, wall]) + random.normal(0, 0.002, (4000, 3))
    return points, np.repeat([0, 1], 2000)


def test_floor_and_wall_are_two_patches(corner):
    points, label = corner
    ids = normal_graph(points, scale=1.0)
    for side in (0, 1):
        kinds, counts = np.unique(ids[label == side], return_counts=True)
        main = kinds[np.argmax(counts)]
        assert counts.max() > 0.95 * 2000
        assert (label[ids == main] == side).mean() > 0.95


def test_the_order_of_the_points_only_renames_the_patches(corner, random):
    points, _ = corner
    order = random.permutation(len(points))
    mixed = normal_graph(points[order])
    back = np.empty_like(mixed)
    back[order] = mixed
    assert partition(back) == partition(normal_graph(points))


def test_the_side_that_normals_point_to_makes_no_difference(corner, random):
    points, _ = corner
    normals = estimate_normals(points)
    flipped = normals * random.choice([-1, 1], (len(points), 1)).astype(np.float32)
    assert (normal_graph(points, normals) == normal_graph(points, flipped)).all()


def test_small_patches_join_a_neighbour_and_lonely_points_none(random):
    plane = random.uniform(0, 1, (500, 3)) * [1, 1, 0]
    lonely = plane[:3] + np.array([0, 0, 9])
    ids = normal_graph(np.concatenate([plane, lonely]), min_size=20)
    assert np.bincount(ids[:500]).min() >= 20
    assert ids[500:].tolist() == [-1] * 3


def test_nothing_little_and_not_a_number(random):
    assert normal_graph(np.zeros((0, 3))).shape == (0,)
    assert normal_graph(np.zeros((2, 3))).tolist() == [-1, -1]
    points = random.uniform(0, 0.3, (100, 3))
    points[7] = np.nan
    points[9, 1] = np.inf
    ids = normal_graph(points, min_size=1)
    assert np.flatnonzero(ids < 0).tolist() == [7, 9]
    assert normal_graph(np.zeros((50, 3))).tolist() == [0] * 50
    with pytest.raises(ValueError, match="normals"):
        normal_graph(points, np.zeros((3, 3)))
