from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from densecl.pairs import Pairs, PointSet, match_by_distance
from densecl.views.geometry import Affine
from densecl.viz.pairs import spread, view_positions


def crop(box=(0, 0, 64, 64), flip=False, shape=(4, 4)) -> PointSet:
    geometry = Affine.stack([Affine.from_crop(box, (64, 64), hflip=flip)] * 2)
    return PointSet.from_map({"f": torch.zeros(2, 1, *shape)}, geometry=geometry, size=(64, 64))


def test_positions_are_the_cell_centres_of_the_view():
    box = (10.0, 4.0, 50.0, 60.0)
    points = crop(box, flip=True)
    rows = torch.tensor([0, 5, 15, 16 + 6])
    expected = [[8, 8], [24, 24], [56, 56], [40, 24]]
    assert view_positions(points, rows, (64, 64)).tolist() == expected
    geometry = Affine.from_crop(box, (64, 64), hflip=True)
    by_geometry = view_positions(points.select(torch.arange(32)), rows, (64, 64), geometry)
    assert np.allclose(by_geometry, expected, atol=1e-4)
    with pytest.raises(ValueError, match="geometry"):
        view_positions(points.select(rows), rows, (64, 64))


def test_both_ends_are_drawn_where_they_lie():
    white = torch.full((3, 64, 64), 255, dtype=torch.uint8)
    pairs = Pairs(torch.tensor([1]), torch.tensor([14]), num_src=32, num_dst=32)
    picture = pairs.draw(white, white, crop(), crop(), height=64, caption=False)
    assert picture.shape == (64, 64 + 12 + 64, 3)
    assert picture.dtype == np.uint8
    # centre of cell (0, 1) at (24, 8), of cell (3, 2) at (40, 56), to the right of 64 + 12
    for x, y in ((24, 8), (76 + 40, 56)):
        assert (picture[y - 1 : y + 1, x - 1 : x + 1] < 255).any(axis=2).all()
    for x, y in ((8, 24), (76 + 56, 40), (40, 56)):
        assert (picture[y, x] == 255).all()


def test_small_views_are_scaled_up_and_positions_with_them():
    white = np.full((64, 64, 3), 255, np.uint8)
    pairs = Pairs(torch.tensor([4]), torch.tensor([11]), num_src=32, num_dst=32)
    # without arcs, the middle of what is not white is the middle of the disc
    picture = pairs.draw(white, white, crop(), crop(), height=256, caption=False, opacity=0)
    assert picture.shape == (256, 256 + 12 + 256, 3)
    for panel, (x, y) in ((picture[:, :256], (32, 96)), (picture[:, 268:], (224, 160))):
        rows, columns = (panel < 128).any(axis=2).nonzero()
        # pixel c covers c to c + 1; positions are rounded to 1/16
        assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((x, y), abs=0.2)


def test_only_the_sample_asked_for_is_drawn():
    white = np.full((64, 64, 3), 255, np.uint8)
    pairs = Pairs(torch.tensor([17]), torch.tensor([30]), num_src=32, num_dst=32)
    blank = pairs.draw(white, white, crop(), crop(), caption=False)
    assert (blank == 255).all()
    assert (pairs.draw(white, white, crop(), crop(), sample=1, caption=False) < 255).any()
    across = Pairs(torch.tensor([1]), torch.tensor([30]), num_src=32, num_dst=32)
    assert (across.draw(white, white, crop(), crop(), dst_sample=1, caption=False) < 255).any()


def test_no_pair_draws_the_views():
    grey = torch.full((3, 32, 48), 0.5)
    picture = Pairs.empty(32, 32).draw(grey, grey, crop(), crop())
    assert picture[5, 5].tolist() == [128] * 3


def test_images_of_other_kinds_are_refused():
    with pytest.raises(ValueError, match="normalisation"):
        Pairs.empty(32, 32).draw(torch.randn(3, 8, 8), torch.randn(3, 8, 8), crop(), crop())
    with pytest.raises(ValueError, match="image0"):
        Pairs.empty(32, 32).draw(np.zeros((8, 8)), np.zeros((8, 8)), crop(), crop())


def test_spread_takes_distant_points():
    grid = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0)), -1).reshape(-1, 2)
    chosen = spread(grid, 12)
    assert len(set(chosen.tolist())) == 12
    assert chosen.tolist() == sorted(chosen.tolist())
    gap = ((grid[chosen][:, None] - grid[chosen]) ** 2).sum(-1)
    assert gap[gap > 0].min() >= 4
    assert spread(grid[:3], 12).tolist() == [0, 1, 2]
    assert len(spread(np.zeros((20, 2)), 5)) == 5


def test_more_pairs_than_asked_are_thinned():
    white = np.full((64, 64, 3), 255, np.uint8)
    a = crop(shape=(8, 8))
    pairs = match_by_distance(a, a, radius=0.6)
    few = pairs.draw(white, white, a, a, max_pairs=3, caption=False)
    many = pairs.draw(white, white, a, a, max_pairs=64, caption=False)
    assert (few < 255).sum() < (many < 255).sum() / 3


def test_pairs_do_not_import_the_drawing():
    code = "import sys, densecl.pairs; print([m for m in ('cv2', 'scipy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
