"""One InfoNCE a cell, against loops in float64, closed forms and the whole matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from densecl.losses import info_nce, normalise, partition_info_nce


@dataclass
class Table:
    """Cells that are looked up."""

    cell: Tensor

    def __call__(self, query_rows: Tensor, key_rows: Tensor) -> Tensor:
        return self.cell[query_rows][:, key_rows]


PUBLISHED = Table(torch.tensor([[-1, 0, 3], [1, -1, 3], [2, 2, -1]]))
"""Above and below, near and far, of (0, 0, 0), (3, 0, 1) and (0, 0, -30), radii 2 and 20."""


def world(n=23, num_cells=3, dim=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(2, n, dim, dtype=torch.float64, generator=draw)
    query, key = normalise(rows).unbind()
    cell = torch.randint(-1, num_cells, (n, n), generator=draw)
    return query.clone().requires_grad_(), key.clone().requires_grad_(), Table(cell)


def by_loop(query, key, cell, num_cells, temperature):
    """(n, P): each anchor against the other keys of each cell, one exponential at a time."""
    q, k = query.detach().numpy(), key.detach().numpy()
    n = len(q)
    values = torch.zeros(n, num_cells, dtype=torch.float64)
    for i in range(n):
        scores = [float(q[i] @ k[j]) / temperature for j in range(n)]
        for p in range(num_cells):
            inside = [j for j in range(n) if j != i and int(cell[i, j]) == p]
            total = math.exp(scores[i]) + sum(math.exp(scores[j]) for j in inside)
            values[i, p] = -math.log(math.exp(scores[i]) / total)
    return values


def test_the_published_numbers_of_three_points():
    eye = torch.eye(3, dtype=torch.float64)
    values = partition_info_nce(eye, eye, PUBLISHED, 4, temperature=0.4, reduction="none")
    expected = [0.0262966, 0.0262966, 0.0506695, 0.0525932]
    assert values.mean(0).tolist() == pytest.approx(expected, abs=1e-7)
    loss = partition_info_nce(eye, eye, PUBLISHED, 4, temperature=0.4)
    assert loss.item() == pytest.approx(0.0389639, abs=1e-7)
    one = Table(torch.zeros(3, 3, dtype=torch.int64))
    assert partition_info_nce(eye, eye, one, 1).item() == pytest.approx(0.1520084, abs=1e-7)


@pytest.mark.parametrize("temperature", [0.07, 0.4, 2.0])
def test_the_loss_is_the_loop(temperature):
    query, key, cells = world()
    expected = by_loop(query, key, cells.cell, 3, temperature)
    options = {"temperature": temperature}
    found = partition_info_nce(query, key, cells, 3, reduction="none", **options)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    for block in ("auto", 1, 7, None):
        loss = partition_info_nce(query, key, cells, 3, block=block, **options)
        assert loss.item() == pytest.approx(expected.mean().item(), rel=1e-12)


def test_one_cell_of_everything_is_info_nce():
    query, key, _ = world()
    cells = Table(torch.zeros(23, 23, dtype=torch.int64))
    expected = info_nce(
        query, key, key, temperature=0.3, allowed=lambda q, k: q[:, None] != k[None]
    )
    loss = partition_info_nce(query, key, cells, 1, temperature=0.3)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("block", ["auto", 1, 5])
def test_rows_at_a_time_give_the_gradient_of_the_whole_matrix(block):
    query, key, cells = world()
    weight = torch.tensor([1.0, 2.0, 0.5])
    options = {"temperature": 0.2, "cell_weight": weight}
    whole = partition_info_nce(query, key, cells, 3, block=None, **options) * 1.7
    expected = torch.autograd.grad(whole, (query, key))
    streamed = partition_info_nce(query, key, cells, 3, block=block, **options) * 1.7
    found = torch.autograd.grad(streamed, (query, key))
    torch.testing.assert_close(streamed, whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_gradcheck():
    query, key, cells = world(n=6, dim=3)

    def loss(q, k):
        return partition_info_nce(
            q, k, cells, 3, temperature=0.5, cell_weight=torch.tensor([2.0, 1.0, 0.0]), block=2
        )

    assert torch.autograd.gradcheck(loss, [query, key])


def test_a_gradient_reaches_only_who_asks_for_it():
    query, key, cells = world()
    partition_info_nce(query, key.detach(), cells, 3).backward()
    assert query.grad is not None
    expected = query.grad.clone()
    query.grad = None
    partition_info_nce(query, key, cells, 3).backward()
    torch.testing.assert_close(query.grad, expected)
    with torch.no_grad():
        assert not partition_info_nce(query, key, cells, 3).requires_grad


def test_an_own_key_is_no_negative_whatever_the_cells_say():
    query, key, cells = world()
    loss = partition_info_nce(query, key, cells, 3).item()
    for own in (-1, 0, 2):
        other = cells.cell.clone().fill_diagonal_(own)
        assert partition_info_nce(query, key, Table(other), 3).item() == pytest.approx(loss)


def test_an_empty_cell_is_zero_and_counts():
    query, key, cells = world()
    three = partition_info_nce(query, key, cells, 3, temperature=0.4)
    six = partition_info_nce(query, key, cells, 6, temperature=0.4)
    assert six.item() == pytest.approx(three.item() / 2)
    nothing = Table(torch.full((23, 23), -1))
    loss = partition_info_nce(query, key, nothing, 3)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(query.grad, torch.zeros_like(query))


@pytest.mark.parametrize("block", ["auto", None])
def test_without_rows_the_loss_is_an_attached_zero(block):
    rows = torch.zeros(0, 4, requires_grad=True)
    loss = partition_info_nce(rows, rows, Table(torch.zeros(0, 0).long()), 3, block=block)
    loss.backward()
    assert loss.item() == 0.0
    assert rows.grad is not None


def test_one_row_has_no_negatives():
    row = torch.ones(1, 1, requires_grad=True)
    loss = partition_info_nce(row, row, Table(torch.zeros(1, 1).long()), 2)
    loss.backward()
    assert (loss.item(), row.grad.item()) == (0.0, 0.0)


def test_the_order_of_the_rows_does_not_matter():
    query, key, cells = world()
    order = torch.randperm(23, generator=torch.Generator().manual_seed(1))
    other = Table(cells.cell[order][:, order])
    loss = partition_info_nce(query, key, cells, 3)
    assert partition_info_nce(query[order], key[order], other, 3).item() == pytest.approx(
        loss.item(), rel=1e-12
    )


def test_cells_far_below_the_highest_score_keep_their_digits():
    """At a low temperature scores of one row lie 200 apart: each cell has its own maximum."""
    angle = torch.tensor([0.0, 0.1, 3.0, 3.1])
    rows = torch.stack([angle.cos(), angle.sin()], 1)
    key = rows.roll(1, 0)  # the own key is the far one for some
    cells = Table(torch.tensor([[0, 0, 1, 1]] * 4))
    exact = partition_info_nce(rows.double(), key.double(), cells, 2, temperature=0.01)
    found = partition_info_nce(rows, key, cells, 2, temperature=0.01)
    assert torch.isfinite(found)
    assert found.item() == pytest.approx(exact.item(), rel=1e-5)


def test_half_precision_is_scored_in_float32_under_autocast():
    query, key, cells = world()
    q, k = query.detach().bfloat16(), key.detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = partition_info_nce(q, k, cells, 3)
    assert found.dtype == torch.float32
    expected = partition_info_nce(q.double(), k.double(), cells, 3)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_parts_say_what_the_mean_divides_by():
    query, key, cells = world()
    weight = torch.tensor([2.0, 1.0, 1.0])
    total, mass = partition_info_nce(query, key, cells, 3, cell_weight=weight, reduction="parts")
    assert mass.item() == 23 * 3
    mean = partition_info_nce(query, key, cells, 3, cell_weight=weight)
    assert (total / mass).item() == pytest.approx(mean.item())


def test_nothing_is_as_large_as_the_matrix(monkeypatch):
    """Cells and scores are asked for a few rows at a time, each row once, with gradients too."""
    query, key, cells = world(n=60)
    asked = []

    def watched(query_rows, key_rows):
        asked.append((query_rows.tolist(), len(key_rows)))
        return cells(query_rows, key_rows)

    partition_info_nce(query, key, watched, 3, block=8).backward()
    assert [row for rows, _ in asked for row in rows] == list(range(60))
    assert max(len(rows) for rows, _ in asked) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"num_cells": 0}, "num_cells"),
        ({"cell_weight": torch.ones(2)}, "cell_weight"),
        ({"block": 0}, "block"),
        ({"block": "big"}, "block"),
        ({"reduction": "median"}, "reduction"),
        ({"key": torch.zeros(3, 2)}, "one \\(n, D\\) shape"),
    ],
)
def test_arguments_out_of_range_are_refused(change, message):
    query, key, cells = world()
    given = {"key": key, "num_cells": 3, **change}
    with pytest.raises(ValueError, match=message):
        partition_info_nce(query, cells=cells, **given)
