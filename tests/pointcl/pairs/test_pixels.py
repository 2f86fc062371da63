"""Pooled unit vectors of pixels against the plain way: enlarge, normalise, average."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from densecl.losses import normalise
from densecl.pairs import pool_regions
from pointcl.pairs import number_regions, pool_unit_pixels


def plain(maps, regions, count, align_corners=True):
    """A vector for each pixel."""
    size = regions.shape[1:]
    enlarged = F.interpolate(maps, size, mode="bilinear", align_corners=align_corners)
    pixels = normalise(enlarged.permute(0, 2, 3, 1)).flatten(0, 2)
    ids = number_regions(regions, count).flatten()
    return pool_regions(pixels, ids, num_regions=count * len(regions))


SIZES = {
    "as in training": (2, 5, 3, 4, 17, 23, 6),
    "one cell": (1, 3, 1, 1, 4, 5, 2),
    "one row of cells": (2, 4, 1, 5, 9, 9, 3),
    "one column of cells": (1, 4, 5, 1, 9, 7, 3),
    "two cells": (1, 4, 2, 2, 3, 3, 2),
    "pixels coarser than cells": (3, 8, 20, 20, 10, 7, 4),
    "one pixel": (1, 4, 6, 6, 1, 1, 2),
    "a region more than any picture has": (1, 4, 3, 3, 5, 5, 40),
}


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("case", SIZES)
def test_value_mass_and_gradient_are_those_of_a_vector_for_each_pixel(case, align_corners):
    images, dim, h, w, height, width, count = SIZES[case]
    draw = torch.Generator().manual_seed(1)
    maps = torch.randn(images, dim, h, w, dtype=torch.float64, generator=draw, requires_grad=True)
    regions = torch.randint(-1, count, (images, height, width), generator=draw)
    found = pool_unit_pixels(maps, regions, count, align_corners=align_corners)
    wanted = plain(maps, regions, count, align_corners)
    torch.testing.assert_close(found.feature, wanted.feature, rtol=0, atol=1e-13)
    assert torch.equal(found.mass, wanted.mass.double())
    assert found.region.tolist() == list(range(images * count))
    assert found.sample.tolist() == [i for i in range(images) for _ in range(count)]
    ahead = torch.randn(wanted.feature.shape, dtype=torch.float64, generator=draw)
    ours, theirs = (
        torch.autograd.grad((each.feature * ahead).sum(), maps)[0] for each in (found, wanted)
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_it_is_the_loop_over_pixels():
    random = np.random.default_rng(0)
    maps, regions = random.normal(size=(1, 3, 3, 4)), random.integers(0, 2, (1, 7, 9))
    total, number = np.zeros((2, 3)), np.zeros(2)
    for row in range(7):
        for column in range(9):
            y, x = row * 2 / 6, column * 3 / 8  # corner cells lie on corner pixels
            top, left = min(int(y), 1), min(int(x), 2)
            down, right = y - top, x - left
            vector = sum(
                share * maps[0, :, top + i, left + j]
                for i, j, share in (
                    (0, 0, (1 - down) * (1 - right)),
                    (0, 1, (1 - down) * right),
                    (1, 0, down * (1 - right)),
                    (1, 1, down * right),
                )
            )
            region = regions[0, row, column]
            total[region] += vector / np.linalg.norm(vector)
            number[region] += 1
    found = pool_unit_pixels(torch.from_numpy(maps), torch.from_numpy(regions), 2)
    np.testing.assert_allclose(found.feature.numpy(), total / number[:, None], atol=1e-13)


def test_the_gradient_is_the_numeric_one():
    maps = torch.randn(1, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    regions = torch.randint(-1, 3, (1, 5, 6))
    assert gradcheck(lambda m: pool_unit_pixels(m, regions, 3).feature, maps)


def test_pixels_of_no_length_count_as_zero_and_send_no_gradient():
    maps = torch.zeros(1, 4, 2, 2)
    maps[0, 0, 0, 0] = 1.0
    maps[0, 0, 0, 1] = -1.0  # the pixel between them has length 0
    maps.requires_grad_()
    regions = torch.tensor([[[0, 1, 0], [2, 2, 2], [3, 3, 3]]])
    found = pool_unit_pixels(maps, regions, 4)
    wanted = plain(maps, regions, 4)
    torch.testing.assert_close(found.feature, wanted.feature)
    assert found.feature[1].tolist() == found.feature[3].tolist() == [0.0] * 4
    found.feature.square().sum().backward()
    assert maps.grad.isfinite().all()


def test_vectors_shorter_than_a_millionth_count_as_zero():
    regions = torch.zeros(1, 4, 4).long()
    short, long = (torch.full((1, 4, 2, 2), length / 2) for length in (9e-7, 2e-6))
    assert pool_unit_pixels(short, regions, 1).feature.tolist() == [[0.0] * 4]
    torch.testing.assert_close(pool_unit_pixels(long, regions, 1).feature, torch.full((1, 4), 0.5))


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e4])
def test_float32_is_near_float64(scale):
    draw = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 8, 4, 4, generator=draw)
    regions = torch.randint(0, 3, (1, 41, 41), generator=draw)
    exact = plain(maps.double(), regions, 3).feature
    found = pool_unit_pixels(scale * maps, regions, 3).feature
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e4])
def test_no_vector_grows_where_neighbours_almost_cancel(scale):
    """Their squared length is then lost in the rounding of the products."""
    draw = torch.Generator().manual_seed(0)
    above, other = (torch.randn(1, 8, 1, 2000, generator=draw) for _ in "ab")
    apart = torch.logspace(-6, -1, 2000)
    maps = scale * torch.cat([above, -above * (1 + apart * other)], 2)
    each = torch.arange(3 * 2000).view(1, 3, 2000)  # the middle row lies halfway
    length = pool_unit_pixels(maps, each, 6000).feature.norm(dim=1)
    assert length.max() < 1.02
    assert (length[:2000] > 0.99).all()


def test_half_precision_is_pooled_in_float32_under_autocast():
    maps, regions = torch.randn(1, 4, 3, 3), torch.randint(0, 2, (1, 6, 6))
    with torch.autocast("cpu", torch.bfloat16):
        found = pool_unit_pixels(maps.bfloat16(), regions, 2).feature
    assert found.dtype == torch.float32
    exact = plain(maps.bfloat16().float(), regions, 2).feature
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-6)


def test_no_picture_and_no_region_give_nothing():
    nothing = pool_unit_pixels(torch.zeros(0, 4, 3, 3), torch.zeros(0, 6, 6).long(), 5)
    assert nothing.feature.shape == (0, 4)
    blank = torch.full((2, 6, 6), -1)
    maps = torch.randn(2, 4, 3, 3, requires_grad=True)
    none = pool_unit_pixels(maps, blank, 0)
    assert none.feature.shape == (0, 4)
    empty = pool_unit_pixels(maps, blank, 3)
    assert empty.feature.abs().sum() == empty.mass.sum() == 0
    empty.feature.sum().backward()
    assert maps.grad.abs().sum() == 0


def test_ids_and_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must be < 2, got 2"):
        pool_unit_pixels(torch.randn(1, 4, 3, 3), torch.full((1, 6, 6), 2), 2)
    with pytest.raises(ValueError, match="for regions"):
        pool_unit_pixels(torch.randn(2, 4, 3, 3), torch.zeros(1, 6, 6).long(), 2)
