import pytest
import torch

from densecl.losses import cosine_regression
from densecl.pairs import Pairs


def rows(n, d=5, seed=0, dtype=torch.float64):
    return torch.randn(n, d, dtype=dtype, generator=torch.Generator().manual_seed(seed)) * 3


def grid_pairs():
    """Three images of four cells; the middle one has no pair."""
    src, dst = torch.tensor([0, 0, 1, 3, 8, 11]), torch.tensor([0, 1, 1, 2, 9, 8])
    return Pairs(src, dst, num_src=12, num_dst=12)


def test_pixpro_loss_equals_the_masked_mean_per_image():
    y, z, pairs = rows(12, seed=1), rows(12, seed=2), grid_pairs()
    mask = torch.zeros(12, 12, dtype=torch.float64)
    mask[pairs.src, pairs.dst] = 1
    expected = 0.0
    for image in range(3):
        cells = slice(4 * image, 4 * image + 4)
        part = mask[cells, cells]
        cosine = torch.nn.functional.cosine_similarity(y[cells, None], z[None, cells], dim=-1)
        if part.sum():
            expected -= float((part * cosine).sum() / part.sum())
    got = cosine_regression(
        y, z, pairs, normaliser="samples", groups=torch.arange(12) // 4, num_groups=3
    )
    assert got.item() == pytest.approx(expected / 3, rel=1e-12)


def test_equal_rows_give_the_published_extremes():
    y = rows(10)
    assert cosine_regression(y, y * 7).item() == pytest.approx(-1.0)
    # BYOL, sum of both directions: 0 identical, 8 opposite, 4 orthogonal.
    flat = torch.tensor([[1.0, 0.0]])
    for other, expected in (([2.0, 0.0], 0.0), ([-3.0, 0.0], 8.0), ([0.0, 1.0], 4.0)):
        z = torch.tensor([other])
        both = cosine_regression(flat, z, form="byol") + cosine_regression(z, flat, form="byol")
        assert both.item() == pytest.approx(expected)


def test_swapping_the_sides_with_the_pairs_leaves_the_loss():
    y, z, pairs = rows(12, seed=1), rows(12, seed=2), grid_pairs()
    a, b = cosine_regression(y, z, pairs), cosine_regression(z, y, pairs.swap())
    assert a.item() == pytest.approx(b.item(), rel=1e-12)


def test_weights_act_and_weight_zero_equals_removing():
    y, z, pairs = rows(12, seed=1), rows(12, seed=2), grid_pairs()
    pairs.weight = torch.tensor([1.0, 0.0, 2.0, 0.0, 0.0, 1.0])
    cosine = torch.nn.functional.cosine_similarity(y[pairs.src], z[pairs.dst])
    expected = -(cosine * pairs.weight).sum() / 4
    got = cosine_regression(y, z, pairs)
    assert got.item() == pytest.approx(expected.item(), rel=1e-12)
    assert got.item() == cosine_regression(y, z, pairs.filter(pairs.weight > 0)).item()


@pytest.mark.parametrize("form", ["negative", "byol"])
@pytest.mark.parametrize("normaliser", ["pairs", "anchors", "samples"])
def test_gradcheck(form, normaliser):
    y, z = rows(12, 3, seed=1).requires_grad_(), rows(12, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: cosine_regression(
            a, b, grid_pairs(), form=form, normaliser=normaliser, groups=torch.arange(12) // 4
        ),
        (y, z),
    )


@pytest.mark.parametrize("form", ["negative", "byol"])
@pytest.mark.parametrize("normaliser", ["pairs", "anchors", "samples"])
def test_no_pairs_give_a_finite_attached_zero(form, normaliser):
    y = rows(12).requires_grad_()
    loss = cosine_regression(
        y,
        rows(12, seed=1),
        Pairs.empty(12, 12),
        form=form,
        normaliser=normaliser,
        groups=torch.arange(12) // 4,
        num_groups=3,
    )
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(y.grad, torch.zeros_like(y))


def test_zero_rows_and_half_precision_stay_finite():
    y = rows(6, dtype=torch.float32).bfloat16()
    y[2] = 0
    y.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = cosine_regression(y, y.detach())
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(-5 / 6, abs=1e-6)
    assert torch.isfinite(y.grad).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"form": "l2"}, "form"),
        ({"reduction": "none"}, "reduction"),
        ({"dst_rows": torch.zeros(5, 3)}, "need pairs"),
        ({"dst_rows": torch.zeros(4, 2)}, "rows need shapes"),
        ({"pairs": Pairs.identity(3)}, "pairs are between"),
    ],
)
def test_wrong_input_is_refused_by_name(change, words):
    given = {"src_rows": torch.zeros(4, 3), "dst_rows": torch.zeros(4, 3)}
    with pytest.raises(ValueError, match=words):
        cosine_regression(**(given | change))
