from __future__ import annotations

import pytest
import torch

from densecl.pairs import grid_coordinates


def test_centres_equal_those_of_the_views_geometry(make_map):
    box = (3.0, 5.0, 31.0, 47.0)
    for flip, corners in ((False, box), (True, (31.0, 5.0, 3.0, 47.0))):
        view = make_map([box], shape=(4, 6), flips=[flip])
        centres = grid_coordinates(torch.tensor(corners), (4, 6))
        # one float32 rounding of coordinates below 50
        assert torch.allclose(centres.reshape(-1, 2), view.coord, atol=1e-5)


def test_batched_boxes_equal_single_ones():
    boxes = torch.rand(3, 4) * 20
    centres = grid_coordinates(boxes, (2, 5))
    assert centres.shape == (3, 2, 5, 2)
    for box, expected in zip(boxes, centres, strict=True):
        assert torch.equal(grid_coordinates(box, (2, 5)), expected)


def test_pixpro_convention_by_its_own_formula():
    # a crop of rows i..i+ch-1 and columns j..j+cw-1 of an image of 60 x 80
    i, j, ch, cw, height, width = 10, 20, 30, 40, 60, 80
    for flip in (False, True):
        x0, x1 = j / (width - 1), (j + cw - 1) / (width - 1)
        y0, y1 = i / (height - 1), (i + ch - 1) / (height - 1)
        left, right = float(j), float(j + cw)
        if flip:
            x0, x1, left, right = x1, x0, right, left
        box = torch.tensor([left, float(i), right, float(i + ch)])
        got = grid_coordinates(box, (7, 7), source_size=(height, width), convention="pixpro")
        for a in range(7):
            for b in range(7):
                x = (b + 0.5) * (x1 - x0) / 7 + x0
                y = (a + 0.5) * (y1 - y0) / 7 + y0
                assert got[a, b].tolist() == pytest.approx([x, y], abs=1e-6)


def test_wrong_boxes_are_refused():
    with pytest.raises(ValueError, match="box"):
        grid_coordinates(torch.zeros(3), (2, 2))
    with pytest.raises(ValueError, match="source_size"):
        grid_coordinates(torch.zeros(4), (2, 2), convention="pixpro")
    with pytest.raises(ValueError, match="convention"):
        grid_coordinates(torch.zeros(4), (2, 2), convention="centre")
