from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch

from densecl.losses import region_info_nce


def rows(count, dim=5, seed=0, dtype=torch.float64):
    """Vectors no longer than 1, as means of unit vectors are."""
    random = torch.Generator().manual_seed(seed)
    value = torch.randn(count, dim, generator=random, dtype=dtype)
    length = torch.rand(count, 1, generator=random, dtype=dtype)
    return torch.nn.functional.normalize(value, dim=1) * length


def by_loop(query, key, temperature, own=None, meaning=None):
    query, key = query.detach().double().numpy(), key.detach().double().numpy()
    own = range(len(query)) if own is None else own.tolist()
    values = []
    for i, place in enumerate(own):
        total = 0.0
        for j in range(len(key)):
            weight = 1.0
            if meaning is not None and j != place:
                a, b = meaning[0][i].double().numpy(), meaning[1][j].double().numpy()
                weight = 1 - max(a @ b / np.linalg.norm(a) / np.linalg.norm(b), 0.0)
            total += math.exp(weight * (query[i] @ key[j]) / temperature)
        values.append(-math.log(math.exp(query[i] @ key[place] / temperature) / total))
    return values


def test_the_published_pools():
    k = torch.tensor([[0.5, 0.5], [0.6, 0.8]], dtype=torch.float64)
    q = torch.tensor([[1.0, 0.0], [0.8, 0.6]], dtype=torch.float64)
    assert region_info_nce(k, q).item() == pytest.approx(1.459405, abs=1e-6)


def test_orthonormal_and_uniform_regions_have_their_closed_forms():
    eye = torch.eye(150, dtype=torch.float64)
    expected = math.log1p(149 * math.exp(-1 / 0.07))
    assert region_info_nce(eye, eye).item() == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(9.3102e-5, rel=1e-4)
    same = torch.full((900, 4), 0.5, dtype=torch.float64)
    assert region_info_nce(same, same).item() == pytest.approx(math.log(900), rel=1e-12)
    assert math.log(900) == pytest.approx(6.8024, rel=1e-5)


def test_the_published_numbers_of_tolerance():
    """Scores 1 and 0.2 over 0.07; half as alike as can be."""
    scores, eye = torch.tensor([[1, 0.2], [0.2, 1]], dtype=torch.float64), torch.eye(2).double()
    alike = torch.tensor([[1, 0], [0.5, math.sqrt(0.75)]], dtype=torch.float64)
    assert region_info_nce(scores, eye).item() == pytest.approx(1.08801e-5, rel=1e-5)
    tolerant = region_info_nce(scores, eye, meaning=(alike, alike))
    assert tolerant.item() == pytest.approx(2.60743e-6, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("more", [0, 4])
def test_it_is_the_loop_over_regions(temperature, tolerant, more):
    query, key = rows(7, seed=1), rows(7 + more, seed=2)
    own = torch.randperm(7 + more, generator=torch.Generator().manual_seed(3))[:7]
    meaning = (rows(7, 3, seed=4), rows(7 + more, 3, seed=5)) if tolerant else None
    expected = by_loop(query, key, temperature, own, meaning)
    options = {"temperature": temperature, "own": own, "meaning": meaning}
    each = region_info_nce(query, key, reduction="none", **options)
    np.testing.assert_allclose(each, expected, rtol=1e-10)
    assert region_info_nce(query, key, **options).item() == pytest.approx(np.mean(expected))
    total, mass = region_info_nce(query, key, reduction="parts", **options)
    assert (total.item(), mass.item()) == (pytest.approx(sum(expected)), 7)


@pytest.mark.parametrize("tolerant", [False, True])
def test_gradients_are_those_of_differences(tolerant):
    query, key = rows(4, seed=1).requires_grad_(), rows(6, seed=2).requires_grad_()
    meaning = (rows(4, 3, seed=4), rows(6, 3, seed=5)) if tolerant else None
    own = torch.tensor([5, 0, 3, 1])

    def loss(a, b):
        return region_info_nce(a, b, temperature=0.3, own=own, meaning=meaning)

    assert torch.autograd.gradcheck(loss, (query, key))


def test_tiles_give_the_whole_matrix(monkeypatch):
    query, key = rows(50, seed=1), rows(60, seed=2)
    own, meaning = torch.arange(50) + 10, (rows(50, 3), rows(60, 3, seed=9))
    whole = region_info_nce(query, key, own=own, block=None)
    assert region_info_nce(query, key, own=own, block=8).item() == pytest.approx(whole.item())
    tolerant = region_info_nce(query, key, own=own, meaning=meaning)
    module = importlib.import_module("densecl.losses.region_info_nce")  # not the function
    monkeypatch.setattr(module, "BLOCK", 7)
    again = region_info_nce(query, key, own=own, meaning=meaning)
    assert again.item() == pytest.approx(tolerant.item(), rel=1e-12)


def test_the_order_of_regions_and_of_keys_does_not_matter():
    query, key = rows(9, seed=1), rows(9, seed=2)
    first = region_info_nce(query, key).item()
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    assert region_info_nce(query[order], key[order]).item() == pytest.approx(first)
    moved = region_info_nce(query, key[order], own=order.argsort())
    assert moved.item() == pytest.approx(first)


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("keys", [0, 3])
def test_without_regions_the_loss_is_a_zero_that_takes_part(tolerant, keys):
    query, key = torch.zeros(0, 4, requires_grad=True), torch.randn(keys, 4, requires_grad=True)
    meaning = (torch.ones(0, 2), torch.ones(keys, 2)) if tolerant else None
    none = torch.zeros(0, dtype=torch.int64)
    loss = region_info_nce(query, key, own=none, meaning=meaning)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(key.grad, torch.zeros_like(key))
    assert query.grad.shape == (0, 4)


@pytest.mark.parametrize("tolerant", [False, True])
def test_a_region_alone_has_no_loss_and_a_finite_gradient(tolerant):
    query, key = torch.randn(1, 4, requires_grad=True), torch.randn(1, 4, requires_grad=True)
    meaning = (torch.ones(1, 2), torch.ones(1, 2)) if tolerant else None
    loss = region_info_nce(query, key, meaning=meaning)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(query.grad, torch.zeros(1, 4))
    assert torch.equal(key.grad, torch.zeros(1, 4))


@pytest.mark.parametrize("tolerant", [False, True])
def test_half_precision_is_scored_in_float32(tolerant):
    query, key = rows(30, 16, 1).bfloat16(), rows(30, 16, 2).bfloat16()
    meaning = (rows(30, 3).bfloat16(),) * 2 if tolerant else None
    with torch.autocast("cpu", torch.bfloat16):
        loss = region_info_nce(query, key, meaning=meaning)
    exact = np.mean(by_loop(query, key, 0.07, None, meaning))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"own": torch.tensor([0, 1, 5])}, "own"),
        ({"own": torch.tensor([0, 1])}, "3 queries"),
        ({"temperature": 0.0}, "temperature"),
        ({"meaning": (torch.ones(2, 2), torch.ones(3, 2))}, "meaning"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        region_info_nce(rows(3), rows(3), **options)
    with pytest.raises(ValueError, match="whose is whose"):
        region_info_nce(rows(3), rows(4))
