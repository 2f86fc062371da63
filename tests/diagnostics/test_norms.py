from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from densecl.diagnostics.norms import norm_outliers


def test_outliers_equal_numpy():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(301, 7)) * generator.exponential(size=(301, 1))
    length = np.linalg.norm(rows, axis=1)
    median = np.median(length)
    deviation = np.median(np.abs(length - median))
    for k in (1.0, 3.5, 10.0):
        found = norm_outliers(torch.from_numpy(rows), k)
        assert found.share == pytest.approx((length > median + k * deviation).mean())
        assert found.ratio == pytest.approx(length.max() / median)
        assert (found.median, found.deviation) == pytest.approx((median, deviation))


def test_one_long_row_is_found_among_equal_ones():
    rows = torch.ones(100, 4)
    rows[17] *= 50
    found = norm_outliers(rows)
    assert found.share == 0.01
    assert found.ratio == pytest.approx(50)


def test_short_rows_are_no_outliers():
    rows = torch.ones(100, 4)
    rows[:10] = 0
    assert norm_outliers(rows).share == 0


def test_equal_rows_have_no_outlier_whatever_their_rounding():
    rows = torch.nn.functional.normalize(
        torch.randn(500, 9, generator=torch.Generator().manual_seed(0)).double(), dim=1
    )
    found = norm_outliers(rows, 1.0)
    assert found.share == 0
    assert found.ratio == pytest.approx(1)


def test_zero_rows():
    assert norm_outliers(torch.zeros(5, 3)).ratio == 1
    rows = torch.zeros(5, 3)
    rows[0] = 1
    found = norm_outliers(rows)
    assert math.isinf(found.ratio)
    assert found.share == 0.2
    with pytest.raises(ValueError, match="N >= 1"):
        norm_outliers(torch.zeros(0, 3))
