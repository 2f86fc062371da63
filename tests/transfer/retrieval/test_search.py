from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from densecl.transfer.retrieval import search
from densecl.transfer.retrieval.bank import MemoryRows
from densecl.transfer.retrieval.search import top_k

SCREENS = ["on", "off"]


def by_loop(queries, rows, k):
    """Python lists, sorted by (score, lower index); exact where the numbers are small integers."""
    queries, rows = queries.double().tolist(), rows.double().tolist()
    indices, scores = [], []
    for query in queries:
        dots = [sum(a * b for a, b in zip(query, row, strict=True)) for row in rows]
        order = sorted(range(len(rows)), key=lambda i: (-dots[i], i))[:k]
        indices.append(order)
        scores.append([dots[i] for i in order])
    return torch.tensor(scores), torch.tensor(indices)


def unit(*shape):
    return functional.normalize(torch.randn(*shape), dim=-1)


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize(("block", "tile"), [(5, 4), (33, 7), (64, 16), (4096, 1024)])
def test_integer_scores_full_of_ties_equal_the_loop_whatever_the_blocks(screen, block, tile):
    rows = torch.randint(-2, 3, (1200, 5)).half()
    queries = torch.randint(-2, 3, (9, 5)).float()
    score, index = by_loop(queries, rows, 3)
    found = top_k(queries, MemoryRows(rows), 3, screen=screen, block=block, tile=tile)
    assert torch.equal(found.score.double(), score)
    assert torch.equal(found.index, index)


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("spread", [1.0, 0.05, 1e-3])
def test_features_as_alike_as_those_of_random_weights_equal_the_whole_matrix(screen, spread):
    # all features share a large part: a threshold in rounded numbers alone would lose rows
    common = 3 * torch.randn(24)
    rows = functional.normalize(common + spread * torch.randn(6000, 24), dim=1).half()
    queries = functional.normalize(common + spread * torch.randn(40, 24), dim=1)
    exact = queries.double() @ rows.double().T
    found = top_k(queries, MemoryRows(rows), 7, screen=screen, block=512)
    # float32 sums of 24 products near 1 are right to within 2^-22
    assert torch.allclose(found.score.double(), exact.gather(1, found.index), atol=3e-7, rtol=0)
    best = exact.topk(7, dim=1).values
    assert torch.allclose(found.score.double(), best, atol=3e-7, rtol=0)
    assert all(len(set(row)) == 7 for row in found.index.tolist())


def test_screening_keeps_a_row_whose_every_number_is_rounded_down():
    # all roundings of the wanted row go one way, as far as Cauchy and Schwarz allow: its screened
    # product lies below the exact scores of three rows that are worse
    dim, query = 64, torch.full((1, 64), 1 + 2**-8 - 2**-20)
    worse, wanted = torch.full((3, dim), 1 + 2**-7), torch.full((1, dim), 1 + 2**-7 + 3 * 2**-10)
    half = torch.cat([worse, torch.zeros(1500, dim), wanted])
    rows = torch.cat([half, -half]).half()  # of mean zero
    found = top_k(query, MemoryRows(rows), 3, screen="on", block=256)
    assert found.index.tolist() == [[1503, 0, 1]]


def test_screening_leaves_most_products_to_bfloat16(monkeypatch):
    rows, queries = unit(9000, 32), unit(20, 32)
    pairs = []
    real = search._dots
    monkeypatch.setattr(search, "_dots", lambda *a: pairs.append(len(a[2])) or real(*a))
    top_k(queries, MemoryRows(rows), 5, screen="on", block=1024)
    assert 0 < sum(pairs) < 0.01 * 9000 * 20


@pytest.mark.parametrize("screen", SCREENS)
def test_copies_of_one_row_are_found_in_order(screen):
    row = unit(1, 48)
    rows = torch.cat([unit(9050, 48) * 0.3, row.repeat(400, 1), unit(300, 48) * 0.3, row])
    found = top_k(row, MemoryRows(rows), 30, screen=screen, block=128)
    assert found.index.tolist() == [list(range(9050, 9080))]


@pytest.mark.parametrize("screen", SCREENS)
def test_a_bank_sorted_the_worst_way_round_is_searched_right(screen):
    queries = unit(6, 8)
    rows = unit(5000, 8)
    rows = rows[(queries[0] @ rows.T).argsort()]
    found = top_k(queries, MemoryRows(rows), 4, screen=screen, block=256)
    assert torch.allclose(found.score, (queries @ rows.T).topk(4, dim=1).values, atol=1e-6)


@pytest.mark.parametrize("screen", SCREENS)
def test_a_bank_smaller_than_k_is_given_whole(screen):
    rows, queries = unit(5, 3), unit(4, 3)
    found = top_k(queries, MemoryRows(rows), 30, screen=screen)
    assert found.index.shape == (4, 5)
    assert found.index.sort(dim=1).values.tolist() == [list(range(5))] * 4
    assert (found.score.diff(dim=1) <= 0).all()


def test_no_query_has_no_neighbours():
    found = top_k(torch.empty(0, 3), MemoryRows(unit(5, 3)), 2)
    assert found.score.shape == found.index.shape == (0, 2)


def test_all_scores_negative_and_a_zero_query():
    rows = -torch.eye(4).repeat(40, 1)
    queries = torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0]])
    for screen in SCREENS:
        found = top_k(queries, MemoryRows(rows), 3, screen=screen, block=32)
        assert found.index.tolist() == [[0, 1, 2], [0, 1, 2]]
        assert found.score[0].tolist() == [-1.0] * 3


@pytest.mark.parametrize("shape", [(4, 2), (4, 4), (4,)])
def test_shapes_that_disagree_are_refused(shape):
    with pytest.raises(ValueError, match="queries"):
        top_k(torch.zeros(shape), MemoryRows(torch.zeros(5, 3)), 1)
    with pytest.raises(ValueError, match="k = 0"):
        top_k(torch.zeros(2, 3), MemoryRows(torch.zeros(5, 3)), 0)


def test_blocks_double_and_cover_every_row_once():
    bounds = list(search._bounds(10_000, 256, 4096))
    assert np.concatenate([np.arange(*b) for b in bounds]).tolist() == list(range(10_000))
    assert [stop - start for start, stop in bounds] == [256, 256, 512, 1024, 2048, 4096, 1808]
