from __future__ import annotations

import pytest
import torch

from densecl.pairs import Resample


def make(seed=0) -> Resample:
    g = torch.Generator().manual_seed(seed)
    return Resample(
        torch.randint(0, 6, (15,), generator=g),
        torch.randint(0, 4, (15,), generator=g),
        torch.rand(15, generator=g, dtype=torch.float64),
        num_src=6,
        num_dst=4,
    )


def test_apply_is_a_sparse_matrix_product():
    resample, x = make(), torch.randn(6, 3, dtype=torch.float64)
    dense = torch.zeros(4, 6, dtype=torch.float64)
    for i, j, w in zip(resample.dst, resample.src, resample.weight, strict=True):
        dense[i, j] += w
    # float64 sums of at most 15 terms in another order
    assert torch.allclose(resample.apply(x), dense @ x, atol=1e-12)


def test_apply_is_differentiable():
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(make().apply, (x,))


def test_bilinear_reading_is_four_rows():
    # 2 x 2 map read at the middle and at a cell centre
    src = torch.tensor([0, 1, 2, 3, 3])
    dst = torch.tensor([0, 0, 0, 0, 1])
    weight = torch.tensor([0.25, 0.25, 0.25, 0.25, 1.0])
    resample = Resample(src, dst, weight, num_src=4, num_dst=3)
    x = torch.tensor([[0.0], [2.0], [4.0], [6.0]])
    assert resample.apply(x).squeeze(1).tolist() == [3.0, 6.0, 0.0]
    assert resample.covered().tolist() == [True, True, False]


def test_wrong_rows_are_refused():
    with pytest.raises(ValueError, match=r"must be \(6, D\)"):
        make().apply(torch.zeros(5, 2))
    with pytest.raises(ValueError, match="src must be < num_src = 2"):
        Resample(torch.tensor([2]), torch.tensor([0]), torch.ones(1), num_src=2, num_dst=1)
