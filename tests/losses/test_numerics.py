import math

import pytest
import torch

from densecl.losses.numerics import normalise, segment_logsumexp


def test_normalised_rows_have_unit_length_and_the_same_direction():
    rows = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * 30
    unit = normalise(rows)
    assert torch.allclose(unit.norm(dim=1), torch.ones(50), atol=1e-6)
    assert torch.allclose(unit * rows.norm(dim=1, keepdim=True), rows, atol=1e-4)


def test_normalise_is_float32_under_autocast():
    rows = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        assert normalise(rows.bfloat16()).dtype == torch.float32
        assert torch.equal(normalise(rows), normalise(rows))
    with torch.autocast("cpu", torch.bfloat16):
        inside = normalise(rows)
    assert torch.equal(inside, normalise(rows))


def test_a_zero_row_stays_zero_and_gets_no_gradient():
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    unit = normalise(rows)
    unit.sum().backward()
    assert unit[0].tolist() == [0.0, 0.0]
    assert rows.grad[0].tolist() == [0.0, 0.0]
    assert torch.isfinite(rows.grad).all()
    assert rows.grad[1].abs().sum() > 0


def test_normalise_gradient_is_exact():
    draw = torch.Generator().manual_seed(1)
    rows = torch.randn(3, 4, dtype=torch.float64, generator=draw, requires_grad=True)
    assert torch.autograd.gradcheck(normalise, rows)


def test_segment_logsumexp_equals_a_loop_and_keeps_empty_segments_at_minus_infinity():
    draw = torch.Generator().manual_seed(2)
    values = torch.randn(40, dtype=torch.float64, generator=draw) * 20
    segment = torch.randint(0, 5, (40,), generator=draw)
    got = segment_logsumexp(values, segment, 6)
    for s in range(5):
        expected = math.log(sum(math.exp(v) for v in values[segment == s].tolist()))
        assert got[s].item() == pytest.approx(expected, abs=1e-9)
    assert got[5].item() == -math.inf


def test_segment_logsumexp_survives_values_that_overflow_exp():
    got = segment_logsumexp(torch.tensor([1000.0, 1000.0]), torch.tensor([0, 0]), 1)
    assert got.item() == pytest.approx(1000.0 + math.log(2.0), rel=1e-6)


def test_segment_logsumexp_gradient_is_exact():
    values = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    segment = torch.tensor([0, 2, 2, 0, 0, 1])
    assert torch.autograd.gradcheck(
        lambda v: segment_logsumexp(v, segment, 3), values.requires_grad_()
    )
