from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.losses import hardest_contrastive, normalise
from densecl.losses.hardest_contrastive import TILE, nearest_candidate
from densecl.pairs import Pairs, not_in


def unit(n, d=6, seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    return normalise(torch.randn(n, d, dtype=dtype, generator=draw))


def by_loop(query, key, key_candidates, query_candidates, margins, allowed=None, known=None):
    """Both terms pair by pair; ``allowed`` and ``known`` are (P, K) arrays for either side."""
    query, key = np.asarray(query), np.asarray(key)
    sides = ((query, np.asarray(key_candidates)), (key, np.asarray(query_candidates)))
    apart = ((query - key) ** 2).sum(1)
    positive = [max(a - margins[0], 0.0) for a in apart]
    total = np.mean(positive) if len(query) else 0.0
    for side, (rows, candidates) in enumerate(sides):
        terms = []
        for i, row in enumerate(rows):
            best, place = np.inf, -1
            for j, other in enumerate(candidates):
                if allowed is not None and not allowed[side][i, j]:
                    continue
                distance = np.sqrt(((row - other) ** 2).sum() + 1e-7)
                if distance < best:
                    best, place = distance, j
            if place < 0 or (known is not None and not known[side][i, place]):
                continue
            terms.append(max(margins[1] - best, 0.0) ** 2)
        total += 0.5 * np.mean(terms) if terms else 0.0
    return float(total)


def test_the_published_numbers_of_one_pair():
    """Two rows 0.4 apart in square; the candidate (0, 1) is out of reach of one, near the other."""
    query, key = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.8, 0.6]])
    candidate = torch.tensor([[0.0, 1.0]])
    positive, forth, back = hardest_contrastive(query, key, candidate, candidate, reduction="parts")
    assert positive[0].item() == pytest.approx(0.30, abs=1e-6)
    assert forth[0].item() == 0.0  # sqrt(2) is beyond the margin of 1.4
    assert 2 * back[0].item() == pytest.approx(0.255604, abs=1e-6)
    whole = hardest_contrastive(query, key, candidate, candidate)
    assert whole.item() == pytest.approx(0.30 + 0.255604 / 2, abs=1e-6)


def test_the_margins_act_on_the_squared_distance_and_on_the_distance():
    """The other way round (margin on the plain, or on the squared distance) gives other numbers."""
    query, key = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.8, 0.6]])
    candidate = torch.tensor([[0.0, 1.0]])
    parts = hardest_contrastive(query, key, candidate, candidate, reduction="parts")
    gap = (query - key).norm()
    assert parts[0][0].item() != pytest.approx((gap - 0.1).item(), abs=0.1)
    back = (key - candidate).norm()
    assert 2 * parts[2][0].item() != pytest.approx((1.4 - back**2).relu().square().item(), abs=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_loss_equals_the_loop_over_pairs_and_candidates(seed):
    query, key = unit(9, seed=seed), unit(9, seed=seed + 10)
    ours, theirs = unit(5, seed=seed + 20), unit(7, seed=seed + 30)
    margins = (0.4, 1.2)
    got = hardest_contrastive(
        query, key, theirs, ours, positive_margin=margins[0], negative_margin=margins[1]
    )
    assert got.item() == pytest.approx(by_loop(query, key, theirs, ours, margins), rel=1e-12)


def test_rules_pass_candidates_over_and_drop_pairs_as_the_loop_does():
    query, key = unit(8), unit(8, seed=1)
    ours, theirs = unit(6, seed=2), unit(6, seed=3)
    draw = torch.Generator().manual_seed(4)
    masks = [torch.rand(8, 6, generator=draw) < 0.6 for _ in range(4)]
    masks[0][2] = False  # a pair without any candidate

    def rule(mask):
        return lambda rows, keys: mask[rows][:, keys]

    got = hardest_contrastive(
        query,
        key,
        theirs,
        ours,
        allowed=(rule(masks[0]), rule(masks[1])),
        known=(rule(masks[2]), rule(masks[3])),
    )
    arrays = [mask.numpy() for mask in masks]
    expected = by_loop(query, key, theirs, ours, (0.1, 1.4), arrays[:2], arrays[2:])
    assert got.item() == pytest.approx(expected, rel=1e-12)


def test_a_pair_whose_hardest_is_listed_drops_out_and_takes_no_other_candidate():
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    candidates = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    listed = Pairs(torch.tensor([0]), torch.tensor([0]), num_src=2, num_dst=2)
    hardest, pair = nearest_candidate(query, candidates, None, not_in(listed))
    assert pair.tolist() == [1]
    assert hardest.tolist() == [1]
    # An excluded one is passed over instead.
    hardest, pair = nearest_candidate(query, candidates, not_in(listed), None)
    assert (pair.tolist(), hardest.tolist()) == ([0, 1], [1, 1])


def test_order_of_pairs_and_of_candidates_does_not_matter():
    query, key, ours, theirs = unit(8), unit(8, seed=1), unit(6, seed=2), unit(6, seed=3)
    draw = torch.Generator().manual_seed(0)
    p, a, b = (torch.randperm(n, generator=draw) for n in (8, 6, 6))
    one = hardest_contrastive(query, key, theirs, ours)
    other = hardest_contrastive(query[p], key[p], theirs[a], ours[b])
    assert other.item() == pytest.approx(one.item(), rel=1e-12)


def test_blocks_of_any_size_give_the_same(monkeypatch):
    query, key, ours, theirs = unit(40), unit(40, seed=1), unit(30, seed=2), unit(25, seed=3)
    one = hardest_contrastive(query, key, theirs, ours)
    monkeypatch.setitem(TILE, "cpu", 64)
    assert hardest_contrastive(query, key, theirs, ours).item() == pytest.approx(
        one.item(), rel=1e-12
    )


def test_gradcheck_reaches_pairs_and_candidates():
    rows = [unit(n, 4, seed=s).requires_grad_() for s, n in enumerate((5, 5, 3, 4))]
    assert torch.autograd.gradcheck(lambda *r: hardest_contrastive(*r), rows)


@pytest.mark.parametrize(("pairs", "candidates"), [(0, 4), (5, 0), (0, 0)])
def test_nothing_to_contrast_is_finite_and_attached(pairs, candidates):
    query, key = unit(pairs).requires_grad_(), unit(pairs, seed=1).requires_grad_()
    some = unit(candidates, seed=2)
    loss = hardest_contrastive(query, key, some, some)
    loss.backward()
    assert torch.isfinite(loss)
    assert query.grad is not None
    if pairs == 0:
        assert loss.item() == 0.0


def test_equal_rows_have_a_finite_gradient():
    query = unit(3, dtype=torch.float32).requires_grad_()
    loss = hardest_contrastive(query, query.detach(), query.detach(), query.detach())
    loss.backward()
    assert torch.isfinite(query.grad).all()


def test_half_precision_is_scored_in_full():
    rows = [unit(n, seed=s, dtype=torch.float32) for s, n in enumerate((6, 6, 5, 5))]
    with torch.autocast("cpu", torch.bfloat16):
        low = hardest_contrastive(*(r.bfloat16() for r in rows))
    assert low.dtype == torch.float32
    # bfloat16 rows have 8 bits.
    assert low.item() == pytest.approx(hardest_contrastive(*rows).item(), rel=0.05)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": torch.zeros(3, 2)}, "query and key"),
        ({"key_candidates": torch.zeros(3, 5)}, "key_candidates"),
        ({"query_candidates": torch.zeros(3)}, "query_candidates"),
        ({"negative_margin": 0.0}, "margins"),
        ({"positive_margin": float("nan")}, "margins"),
        ({"reduction": "sum"}, "reduction"),
    ],
)
def test_wrong_input_is_refused_by_name(change, words):
    rows = torch.zeros(4, 2)
    given = {"query": rows, "key": rows, "key_candidates": rows, "query_candidates": rows}
    with pytest.raises(ValueError, match=words):
        hardest_contrastive(**(given | change))
