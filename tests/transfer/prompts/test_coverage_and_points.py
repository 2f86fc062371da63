from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from densecl.transfer.prompts.coverage import cell_coverage
from densecl.transfer.prompts.points import cell_of, centre_point, random_cells


@pytest.mark.parametrize(
    ("size", "cells"), [((12, 16), (3, 4)), ((7, 10), (3, 4)), ((3, 4), (5, 9))]
)
def test_coverage_against_a_fine_raster(size, cells):
    ids = np.random.default_rng(0).integers(0, 3, size)
    found = cell_coverage(ids, (2, 0), cells)
    # every pixel and every cell cut into equal bits
    fine = np.kron(ids, np.ones(cells, int))
    for (k, number), i, j in itertools.product(enumerate((2, 0)), range(cells[0]), range(cells[1])):
        block = fine[i * size[0] : (i + 1) * size[0], j * size[1] : (j + 1) * size[1]]
        assert found[k, i, j] == pytest.approx((block == number).mean())
    everything = cell_coverage(ids, (0, 1, 2), cells)
    np.testing.assert_allclose(everything.sum(0), 1)


def deepest_by_loops(mask):
    height, width = mask.shape
    outside = [
        (r, c)
        for r in range(-1, height + 1)
        for c in range(-1, width + 1)
        if not (0 <= r < height and 0 <= c < width and mask[r, c])
    ]
    return max(
        zip(*np.nonzero(mask), strict=True),
        key=lambda at: (min(math.dist(at, other) for other in outside), -at[0], -at[1]),
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_deepest_pixel_against_loops(seed):
    y, x = np.mgrid[:15, :18]
    cy, cx, a, b = np.random.default_rng(seed).uniform((3, 3, 2, 2), (12, 15, 6, 8))
    mask = ((y - cy) / a) ** 2 + ((x - cx) / b) ** 2 < 1
    assert centre_point(mask) == deepest_by_loops(mask)


def test_the_point_of_a_ring_lies_on_the_ring():
    y, x = np.mgrid[:41, :41]
    distance = np.hypot(y - 20, x - 20)
    ring = (distance < 18) & (distance > 10)
    assert ring[centre_point(ring)]


def test_the_border_of_the_picture_is_outside():
    assert centre_point(np.ones((9, 9), bool)) == (4, 4)
    left = np.zeros((9, 20), bool)
    left[:, :7] = True
    row, column = centre_point(left)
    assert (row, column) == (3, 3)


def test_one_pixel_and_none():
    mask = np.zeros((5, 6), bool)
    with pytest.raises(ValueError, match="empty"):
        centre_point(mask)
    mask[3, 2] = True
    assert centre_point(mask) == (3, 2)


def test_the_cell_under_a_pixel():
    assert cell_of((0, 0), (12, 16), (3, 4)) == 0
    assert cell_of((11, 15), (12, 16), (3, 4)) == 11
    assert cell_of((4, 7), (12, 16), (3, 4)) == 5
    # 5 pixels in 2 cells: the middle one's centre lies on the edge, which belongs to the second
    assert [cell_of((0, c), (1, 5), (1, 2)) for c in range(5)] == [0, 0, 1, 1, 1]


def test_random_cells_are_at_least_half_covered_and_uniform():
    coverage = np.array([[0.5, 0.49], [1.0, 0.0]])
    drawn = random_cells(coverage, 4000, np.random.default_rng(0))
    assert set(drawn) == {0, 2}
    assert np.mean(np.array(drawn) == 0) == pytest.approx(0.5, abs=0.04)
    thin = np.array([[0.1, 0.3], [0.2, 0.0]])
    assert random_cells(thin, 3, np.random.default_rng(0)) == [1, 1, 1]
