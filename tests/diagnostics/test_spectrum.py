from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.diagnostics.spectrum import effective_rank, feature_std, singular_values


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(50, 8), (8, 50), (2, 3)])
def test_all_three_equal_the_numpy_computation(shape):
    rows = np.random.default_rng(0).normal(size=shape) + 0.3
    centred = unit(rows) - unit(rows).mean(0)
    values = np.linalg.svd(centred, compute_uv=False)
    shares = values[values > 1e-9] / values.sum()
    rank = np.exp(-(shares * np.log(shares)).sum())
    given = torch.from_numpy(rows)
    # eigenvalues of the covariance are squares: half the digits of float64 remain.
    np.testing.assert_allclose(
        singular_values(given)[: len(values)].numpy(), values, rtol=1e-6, atol=1e-7
    )
    assert float(effective_rank(given)) == pytest.approx(rank, rel=1e-6)
    assert float(feature_std(given)) == pytest.approx(
        unit(rows).std(0).mean() * np.sqrt(shape[1]), rel=1e-12
    )


def test_spread_features_have_std_one_and_full_rank():
    rows = torch.from_numpy(np.random.default_rng(1).normal(size=(20_000, 16)))
    # 20 000 samples: the sampling error of a standard deviation is about half a percent.
    assert float(feature_std(rows)) == pytest.approx(1.0, abs=0.01)
    assert float(effective_rank(rows)) == pytest.approx(16.0, abs=0.05)


def test_a_symmetric_simplex_has_exactly_full_rank():
    rows = torch.cat([torch.eye(5), -torch.eye(5)])
    assert float(effective_rank(rows)) == pytest.approx(5.0, rel=1e-12)
    assert float(feature_std(rows)) == pytest.approx(1.0, rel=1e-12)


def test_features_in_a_plane_have_rank_two():
    angle = torch.linspace(0, 2 * torch.pi, 101)[:-1]
    rows = torch.zeros(100, 7)
    rows[:, 2], rows[:, 5] = angle.cos(), angle.sin()
    # float32 sines leave the circle by 1e-7; its square is above the numerical floor.
    assert float(effective_rank(rows)) == pytest.approx(2.0, abs=1e-4)


def test_collapsed_features_have_no_spread_and_no_rank():
    rows = torch.randn(1, 12, generator=torch.Generator().manual_seed(0)).repeat(30, 1)
    scaled = rows * torch.linspace(0.5, 2, 30)[:, None]
    for collapsed in (rows, scaled):
        assert float(feature_std(collapsed)) == pytest.approx(0.0, abs=1e-6)
        assert float(effective_rank(collapsed)) == 0.0


def test_neither_scale_nor_order_of_rows_matters():
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    scale = torch.rand(40, 1, generator=generator, dtype=torch.float64) + 0.5
    changed = (rows * scale)[torch.randperm(40, generator=generator)]
    for measure in (feature_std, effective_rank):
        assert float(measure(changed)) == pytest.approx(float(measure(rows)), rel=1e-9)


def test_half_precision_rows_are_measured_in_float64():
    rows = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    # bf16 rounds to three digits.
    assert float(effective_rank(rows.bfloat16())) == pytest.approx(
        float(effective_rank(rows)), rel=1e-2
    )


@pytest.mark.parametrize("shape", [(0, 3), (4,), (2, 3, 4)])
def test_wrong_shapes_are_refused(shape):
    for measure in (feature_std, effective_rank):
        with pytest.raises(ValueError, match="needs"):
            measure(torch.zeros(shape))
