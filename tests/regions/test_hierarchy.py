from __future__ import annotations

import numpy as np
import pytest

from densecl.regions import MergeTree, merge_tree, region_sizes, relabel, slic
from densecl.regions.hierarchy import lab

# leaves a, b, c with merges (a, b) at .2 and (ab, c) at .8
THREE = MergeTree(np.array([[0, 1], [2, 3]]), np.array([0.2, 0.8]))


def slow_tree(ids, image):
    """All pairs of touching groups at each step, means from the pixels."""
    colours = lab(image).astype(np.float64)
    groups = {region: ids == region for region in range(ids.max() + 1)}
    node, top, merges = len(groups), 0.0, []
    while len(groups) > 1:
        best = None
        for a in sorted(groups):
            grown = np.pad(groups[a], 1)
            near = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
            for b in sorted(groups):
                if a < b and (near & groups[b]).any():
                    sizes = groups[a].sum(), groups[b].sum()
                    apart = colours[groups[a]].mean(0) - colours[groups[b]].mean(0)
                    cost = sizes[0] * sizes[1] / sum(sizes) * (apart @ apart)
                    if best is None or cost < best[0]:
                        best = cost, a, b
        cost, a, b = best
        top = max(top, cost)
        merges.append((a, b, top))
        groups[node] = groups.pop(a) | groups.pop(b)
        node += 1
    return merges


def test_merges_are_those_of_an_exhaustive_search(random):
    image = random.integers(0, 255, (9, 12, 3), np.uint8)
    ids = relabel(np.repeat(np.repeat(np.arange(12).reshape(3, 4), 3, axis=0), 3, axis=1))
    tree = merge_tree(ids, image)
    expected = slow_tree(ids, image)
    assert tree.children.tolist() == [[a, b] for a, b, _ in expected]
    assert tree.height == pytest.approx([h for _, _, h in expected], rel=1e-5)


def test_three_leaves_meet_at_their_merges():
    assert THREE.heights().tolist() == [[0, 0.2, 0.8], [0.2, 0, 0.8], [0.8, 0.8, 0]]
    assert [THREE.cut_at(h).max() + 1 for h in (0.1, 0.5, 0.9)] == [3, 2, 1]
    assert THREE.cut(2).tolist() == [0, 0, 1]
    assert THREE.cut(5).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="into 0"):
        THREE.cut(0)


def test_heights_rise_and_are_an_ultrametric(picture):
    tree = merge_tree(slic(picture, segments=25, sigma=1), picture)
    assert (np.diff(tree.height) >= 0).all()
    h = tree.heights()
    assert (h[:, None, :] <= np.maximum(h[:, :, None], h[None]) + 1e-12).all()
    assert (h == h.T).all()


def test_levels_are_nested_and_end_with_the_regions(picture):
    ids = slic(picture, segments=30, sigma=1)
    levels = merge_tree(ids, picture).levels((2, 3, 10))
    assert [len(set(c)) for c in levels.T.tolist()] == [2, 3, 10, ids.max() + 1]
    assert (levels[:, -1] == np.arange(len(levels))).all()
    for coarse, fine in zip(levels.T[:-1], levels.T[1:], strict=True):
        assert all(len(set(coarse[fine == g].tolist())) == 1 for g in set(fine.tolist()))


def test_the_coarsest_cut_finds_wall_square_and_floor(picture):
    ids = slic(picture, segments=60, compactness=10, sigma=0)
    group = merge_tree(ids, picture).cut(3)[ids]
    assert len({group[2, 2], group[20, 30], group[46, 2]}) == 3


def test_parts_that_do_not_touch_are_joined_last(random):
    image = random.integers(0, 255, (3, 7, 3), np.uint8)
    ids = np.array([[0, 0, 1, -1, 2, 3, 3]] * 3)
    tree = merge_tree(ids, image)
    assert tree.cut(2).tolist() == [0, 0, 1, 1]
    assert len(tree.children) == 3


def test_one_region_is_a_tree_and_none_is_refused(picture):
    ids = np.zeros(picture.shape[:2], int)
    assert merge_tree(ids, picture).levels((1,)).tolist() == [[0, 0]]
    with pytest.raises(ValueError, match="at least one region"):
        merge_tree(ids - 1, picture)


def test_groups_partition_the_regions(random):
    count = 40
    ids = np.arange(count)[None].repeat(2, axis=0)
    tree = merge_tree(ids, random.integers(0, 255, (2, count, 3), np.uint8))
    for wanted in range(1, count + 1):
        assert len(region_sizes(tree.cut(wanted))) == wanted
