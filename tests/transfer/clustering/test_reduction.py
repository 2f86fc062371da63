from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.transfer.clustering.reduction import Moments


def moments(*parts):
    found = Moments()
    for part in parts:
        found.add(part)
    return found


def test_moments_of_parts_equal_those_of_the_whole():
    rows = torch.randn(500, 6) * torch.arange(1, 7) + 100
    found = moments(rows[:3], rows[3:3], rows[3:200], rows[200:])
    whole = rows.double().numpy()
    assert np.allclose(found.mean(), whole.mean(0), atol=1e-4)
    assert np.allclose(found.covariance(), np.cov(whole.T, bias=True), rtol=1e-3, atol=1e-3)


def test_components_equal_those_of_numpy_up_to_sign():
    rows = torch.randn(300, 8) @ torch.randn(8, 8)
    found = moments(rows[:100], rows[100:]).reduction(3).apply(rows).numpy()
    z = rows.double().numpy()
    z = (z - z.mean(0)) / z.std(0)
    _, _, axes = np.linalg.svd(z, full_matrices=False)
    expected = z @ axes[:3].T
    signs = np.sign((found * expected).sum(0))
    assert np.allclose(found * signs, expected, atol=1e-2)


def test_without_components_every_channel_is_standardised_and_a_constant_one_is_zero():
    rows = torch.randn(400, 3) * torch.tensor([1.0, 50.0, 0.0]) + 7
    found = moments(rows).reduction(None).apply(rows)
    assert torch.allclose(found[:, :2].std(0, unbiased=False), torch.ones(2), atol=1e-3)
    assert not found[:, 2].any()


def test_distances_between_rows_survive_when_all_components_are_kept():
    rows = torch.randn(50, 5)
    every = moments(rows).reduction(99)
    assert every.weight.shape == (5, 5)
    one, two = every.apply(rows), moments(rows).reduction(None).apply(rows)
    apart = [(each[:, None] - each).norm(dim=-1) for each in (one, two)]
    assert torch.allclose(*apart, atol=1e-4)


def test_unscaled_components_keep_the_units():
    rows = torch.randn(400, 2) * torch.tensor([1.0, 10.0])
    found = moments(rows).reduction(1, standardise=False).apply(rows)
    assert found.std() == pytest.approx(10, rel=0.2)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        moments(torch.zeros(0, 3)).reduction(2)
