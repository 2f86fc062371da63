from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.pairs.maps import cell_centres, read_cells


@pytest.mark.parametrize(("size", "shape"), [((8, 8), (4, 4)), ((9, 7), (4, 3)), ((5, 5), (5, 5))])
def test_centre_reads_the_pixel_under_the_centre(size, shape):
    values = torch.randint(0, 99, (2, *size))
    got = read_cells(values, shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            # in whole numbers, so that a centre on a border counts to the pixel after it
            y, x = (2 * i + 1) * size[0] // (2 * shape[0]), (2 * j + 1) * size[1] // (2 * shape[1])
            assert torch.equal(got[:, i, j], values[:, y, x])


@pytest.mark.parametrize(("size", "shape"), [((8, 8), (4, 4)), ((9, 7), (4, 3)), ((5, 5), (5, 5))])
def test_majority_counts_the_pixels_of_the_cell(size, shape):
    values = torch.randint(-1, 3, (2, *size), generator=torch.Generator().manual_seed(1))
    got = read_cells(values, shape, "majority")
    for b in range(2):
        for i in range(shape[0]):
            for j in range(shape[1]):
                inside = [
                    int(values[b, y, x])
                    for y in range(size[0])
                    for x in range(size[1])
                    if int((y + 0.5) * shape[0] / size[0]) == i
                    and int((x + 0.5) * shape[1] / size[1]) == j
                ]
                ids, count = np.unique(inside, return_counts=True)
                assert int(got[b, i, j]) == ids[count.argmax()]  # argmax: the lowest id on ties


def test_majority_of_a_mask_stays_a_mask():
    mask = torch.tensor([[[1, 1, 0, 0], [1, 0, 0, 0]]], dtype=torch.bool)
    assert read_cells(mask, (1, 2), "majority").tolist() == [[[True, False]]]


def test_majority_needs_pixels():
    with pytest.raises(ValueError, match="pixel"):
        read_cells(torch.zeros(1, 2, 2, dtype=torch.int64), (3, 3), "majority")
    with pytest.raises(ValueError, match="how"):
        read_cells(torch.zeros(1, 2, 2, dtype=torch.int64), (2, 2), "mean")


def test_centres_of_one_cell_is_the_middle():
    assert cell_centres((1, 1), (6, 10)).tolist() == [[5.0, 3.0]]
