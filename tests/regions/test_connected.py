from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label

from densecl.regions import adjacency, boundaries, merge_small, region_means, split_regions


def slow_parts(ids, connectivity):
    """Flood fill, pixel by pixel."""
    steps = [(0, 1), (0, -1), (1, 0), (-1, 0)]
    if connectivity == 8:
        steps += [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    out = np.full(ids.shape, -1)
    number = 0
    for start in np.ndindex(ids.shape):
        if ids[start] < 0 or out[start] >= 0:
            continue
        stack = [start]
        out[start] = number
        while stack:
            row, column = stack.pop()
            for down, right in steps:
                near = row + down, column + right
                inside = 0 <= near[0] < ids.shape[0] and 0 <= near[1] < ids.shape[1]
                if inside and ids[near] == ids[row, column] and out[near] < 0:
                    out[near] = number
                    stack.append(near)
        number += 1
    return out


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("shape", [(11, 14), (1, 9), (9, 1), (1, 1)])
def test_parts_are_those_of_a_flood_fill(random, connectivity, shape):
    ids = random.integers(-1, 3, shape)
    assert (split_regions(ids, connectivity) == slow_parts(ids, connectivity)).all()


def test_parts_agree_with_scikit_image(random):
    ids = random.integers(0, 3, (40, 50))
    assert split_regions(ids).max() + 1 == label(ids, background=-1, connectivity=1).max()


def test_no_pixels_have_no_parts():
    assert split_regions(np.zeros((0, 3), int)).shape == (0, 3)
    with pytest.raises(ValueError, match="4 or 8"):
        split_regions(np.zeros((2, 2), int), 6)


def test_neighbours_and_border_lengths_are_counted_side_by_side(scattered):
    found = {}
    for row, column in np.ndindex(scattered.shape):
        for near in ((row + 1, column), (row, column + 1)):
            if near[0] == scattered.shape[0] or near[1] == scattered.shape[1]:
                continue
            a, b = sorted((int(scattered[row, column]), int(scattered[near])))
            if a >= 0 and a != b:
                found[a, b] = found.get((a, b), 0) + 1
    pairs, length = adjacency(scattered)
    assert [tuple(pair) for pair in pairs.tolist()] == sorted(found)
    assert length.tolist() == [found[pair] for pair in sorted(found)]


def test_one_region_has_no_neighbour_and_no_border():
    pairs, length = adjacency(np.zeros((3, 4), int))
    assert pairs.shape == (0, 2)
    assert length.shape == (0,)
    assert not boundaries(np.zeros((3, 4), int)).any()
    assert adjacency(np.full((3, 4), -1))[0].shape == (0, 2)


def test_boundaries_mark_both_sides_but_none_along_ignore(scattered):
    expected = np.zeros(scattered.shape, bool)
    for row, column in np.ndindex(scattered.shape):
        for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            inside = 0 <= near[0] < scattered.shape[0] and 0 <= near[1] < scattered.shape[1]
            if inside and scattered[near] != scattered[row, column]:
                expected[row, column] |= 3 not in (scattered[near], scattered[row, column])
    assert (boundaries(scattered, ignore=3) == expected).all()


def test_small_regions_go_where_their_border_is_longest():
    ids = np.array([[0, 0, 0, 1, 1, 1], [0, 2, 0, 1, 3, 1], [0, 0, 0, 1, 1, 1], [4, 4, 4, 4, 5, 5]])
    merged = merge_small(ids, 2)
    assert merged.tolist() == [
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [2, 2, 2, 2, 3, 3],
    ]


def test_merging_leaves_no_small_region_that_has_a_neighbour(random):
    ids = split_regions(random.integers(0, 4, (20, 20)))
    merged = merge_small(ids, 15)
    assert np.bincount(merged.reshape(-1)).min() >= 15
    # a merged region is a union of old ones
    assert all(len(set(merged[ids == region].tolist())) == 1 for region in range(ids.max() + 1))
    assert (split_regions(merged) == merged).all()


def test_lone_and_missing_regions_stay():
    ids = np.array([[0, -1, 1], [-1, -1, 1]])
    assert merge_small(ids, 10).tolist() == ids.tolist()
    assert merge_small(np.full((2, 2), -1), 3).tolist() == [[-1, -1], [-1, -1]]


def test_means_are_those_of_a_loop(scattered, random):
    values = random.normal(size=(*scattered.shape, 2))
    means = region_means(scattered, values)
    for region in range(6):
        if (scattered == region).any():
            assert means[region] == pytest.approx(values[scattered == region].mean(0), abs=1e-12)
