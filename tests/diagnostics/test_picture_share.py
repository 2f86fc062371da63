from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.diagnostics.picture_share import picture_share


def by_loops(rows, sample):
    """The analysis of variance channel by channel, cell by cell."""
    unit = [[value / np.sqrt(sum(v * v for v in row)) for value in row] for row in rows.tolist()]
    pictures = sorted(set(sample.tolist()))
    total, groups = len(unit), len(pictures)
    between = within = 0.0
    for channel in range(rows.shape[1]):
        values = [row[channel] for row in unit]
        mean = sum(values) / total
        for picture in pictures:
            own = [v for v, s in zip(values, sample.tolist(), strict=True) if s == picture]
            centre = sum(own) / len(own)
            between += len(own) * (centre - mean) ** 2 / (groups - 1)
            within += sum((v - centre) ** 2 for v in own) / (total - groups)
    squares = sum(sample.tolist().count(picture) ** 2 for picture in pictures)
    size = (total - squares / total) / (groups - 1)
    between = (between - within) / size
    return between / (between + within)


def drawn(seed, sizes, dim, strength):
    """Rows around a centre of each picture; ids neither start at 0 nor are they dense."""
    draw = np.random.default_rng(seed)
    sample = np.repeat(3 * np.arange(len(sizes)) + 5, sizes)
    centres = strength * draw.normal(size=(len(sizes), dim))
    rows = np.repeat(centres, sizes, axis=0) + draw.normal(size=(len(sample), dim)) + 0.2
    return torch.from_numpy(rows), torch.from_numpy(sample)


@pytest.mark.parametrize("sizes", [(4, 4, 4), (1, 7, 2, 12), (2, 1)])
@pytest.mark.parametrize("strength", [0.0, 0.5, 3.0])
def test_it_is_the_analysis_of_variance_by_loops(sizes, strength):
    rows, sample = drawn(len(sizes), sizes, 6, strength)
    assert picture_share(rows, sample) == pytest.approx(by_loops(rows, sample), rel=1e-10)


def test_features_that_know_nothing_of_their_picture_have_none_on_average():
    # two cells a picture: the share of squares between means alone would be one half
    shares = [picture_share(*drawn(seed, (2,) * 40, 8, 0.0)) for seed in range(60)]
    error = np.std(shares, ddof=1) / np.sqrt(len(shares))
    assert abs(np.mean(shares)) < 4 * error
    assert error < 0.01


def test_cells_that_say_nothing_but_their_picture_have_all():
    rows = torch.eye(5).repeat_interleave(3, 0)
    assert picture_share(rows, torch.arange(5).repeat_interleave(3)) == pytest.approx(1.0)


def test_pictures_of_opposite_cells_have_the_least():
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(4, 1)
    # two cells a picture whose mean is that of all: -1 / (n_0 - 1)
    assert picture_share(rows, torch.arange(4).repeat_interleave(2)) == pytest.approx(-1.0)


def test_equal_rows_have_none():
    rows = torch.randn(1, 7, generator=torch.Generator().manual_seed(0)).repeat(8, 1)
    scaled = rows * torch.linspace(0.5, 2, 8)[:, None]
    for equal in (rows, scaled):
        assert picture_share(equal, torch.arange(8) // 2) == 0.0


def test_it_grows_with_what_pictures_have_in_common():
    shares = [picture_share(*drawn(1, (9,) * 12, 16, s)) for s in (0.0, 0.3, 1.0, 3.0)]
    assert shares == sorted(shares)
    assert shares[-1] > 0.8


def test_order_names_lengths_and_axes_do_not_matter():
    rows, sample = drawn(2, (3, 8, 5), 6, 0.7)
    expected = picture_share(rows, sample)
    draw = torch.Generator().manual_seed(0)
    order = torch.randperm(len(rows), generator=draw)
    axes = torch.linalg.qr(torch.randn(6, 6, generator=draw, dtype=torch.float64)).Q
    lengths = torch.rand(len(rows), 1, generator=draw, dtype=torch.float64) + 0.5
    assert picture_share(rows[order], sample[order]) == pytest.approx(expected, rel=1e-10)
    assert picture_share(rows, 100 - sample) == pytest.approx(expected, rel=1e-10)
    assert picture_share(rows * lengths, sample) == pytest.approx(expected, rel=1e-10)
    assert picture_share(rows @ axes, sample) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("rows", "sample"),
    [
        (torch.ones(4, 2), torch.zeros(4, dtype=torch.int64)),
        (torch.ones(4, 2), torch.arange(4)),
        (torch.ones(4, 2), torch.arange(3)),
        (torch.ones(4), torch.arange(4) // 2),
        (torch.ones(0, 2), torch.arange(0)),
    ],
)
def test_what_has_no_variance_within_or_between_is_refused(rows, sample):
    with pytest.raises(ValueError, match="needs"):
        picture_share(rows, sample)
