from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from densecl.diagnostics import alignment as module
from densecl.diagnostics.alignment import alignment, dense_alignment, uniformity
from densecl.pairs import Pairs, PointSet, match_by_similarity


def rows_of(n, d=5, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def unit(row):
    row = np.asarray(row, np.float64)
    return row / np.linalg.norm(row)


def slow_uniformity(rows, sample, t=2.0):
    """Loops over ordered pairs, each log mean in plain sums."""
    rows, sample = [unit(row) for row in rows.numpy()], sample.tolist()
    within, across = {}, []
    for i, j in itertools.permutations(range(len(rows)), 2):
        value = math.exp(-t * float(((rows[i] - rows[j]) ** 2).sum()))
        if sample[i] == sample[j]:
            within.setdefault(sample[i], []).append(value)
        else:
            across.append(value)
    everything = across + [value for values in within.values() for value in values]
    return (
        np.mean([math.log(np.mean(values)) for values in within.values()]),
        math.log(np.mean(across)),
        math.log(np.mean(everything)),
    )


@pytest.mark.parametrize("block", [1, 3, 1024])
@pytest.mark.parametrize("t", [2.0, 0.5])
def test_uniformities_equal_loops_for_every_block(monkeypatch, block, t):
    monkeypatch.setattr(module, "BLOCK", block)
    rows, sample = rows_of(11), torch.tensor([4, 0, 4, 9, 0, 9, 4, 4, 7, 0, 9])
    found = uniformity(rows, sample, t=t)
    expected = slow_uniformity(rows, sample, t)
    assert (found.image, found.batch, found.all) == pytest.approx(expected, rel=1e-12)


def test_constant_rows_are_aligned_and_not_uniform():
    rows = torch.full((6, 3), 0.7)
    found = uniformity(rows, torch.tensor([0, 0, 0, 1, 1, 1]))
    assert alignment(rows, rows) == 0
    assert (found.image, found.batch, found.all) == (0, 0, 0)


def test_two_opposite_rows_give_minus_eight():
    rows = torch.tensor([[0.3, -2.0], [-0.3, 2.0]])
    assert uniformity(rows, torch.tensor([0, 0])).image == pytest.approx(-8)
    assert uniformity(rows, torch.tensor([0, 1])).batch == pytest.approx(-8)
    assert alignment(rows, rows.flip(0)) == pytest.approx(4)


def test_orthonormal_rows_give_minus_four_and_a_shift_costs_two():
    rows = torch.eye(4)
    found = uniformity(rows, torch.tensor([0, 0, 1, 1]))
    assert (found.image, found.batch, found.all) == pytest.approx((-4, -4, -4))
    assert alignment(rows, rows) == 0
    assert alignment(rows, rows.roll(1, 0)) == pytest.approx(2)


def test_rotation_and_scale_change_nothing():
    rows, sample = rows_of(20, 6), torch.arange(20) // 5
    rotation = torch.linalg.qr(rows_of(6, 6, seed=1).double()).Q
    scale = torch.rand(20, 1, generator=torch.Generator().manual_seed(2)) + 0.1
    turned = rows.double() @ rotation * scale
    one, two = uniformity(rows, sample), uniformity(turned, sample)
    assert (one.image, one.batch, one.all) == pytest.approx((two.image, two.batch, two.all))
    assert alignment(rows[:10], rows[10:]) == pytest.approx(alignment(turned[:10], turned[10:]))


def test_a_cell_and_itself_are_no_pair():
    """Uniform rows give the same value for any number of them, which self pairs would shift."""
    rows = rows_of(2000, 128, seed=3)
    few, many = (uniformity(rows[:n], torch.zeros(n, dtype=torch.int64)).image for n in (50, 2000))
    # a self pair counts 1 and would raise 50 rows' value to log(1/50 + e^-3.94) = -3.3
    assert few == pytest.approx(many, abs=0.02)
    assert many == pytest.approx(-3.94, abs=0.02)


def test_without_such_pairs_there_is_no_number():
    rows = rows_of(3)
    alone = uniformity(rows, torch.tensor([0, 1, 2]))
    assert math.isnan(alone.image)
    assert not math.isnan(alone.batch)
    together = uniformity(rows, torch.tensor([5, 5, 5]))
    assert math.isnan(together.batch)
    assert together.image == pytest.approx(together.all)
    one, none = (
        uniformity(rows[:1], torch.tensor([0])),
        uniformity(rows[:0], torch.tensor([]).long()),
    )
    assert all(math.isnan(v) for each in (one, none) for v in (each.image, each.batch, each.all))
    assert math.isnan(alignment(rows[:0], rows[:0]))


def test_rows_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="rows"):
        alignment(rows_of(3), rows_of(2))


def sets(seed=0, samples=(0, 0, 0, 1, 1, 2)):
    sample = torch.tensor(samples)
    return tuple(
        PointSet({"z": rows_of(len(sample), 4, seed + k)}, sample, num_samples=3) for k in (0, 1)
    )


def test_chance_is_the_mean_over_all_shuffles_within_a_picture():
    src, dst = sets()
    pairs = Pairs(
        torch.tensor([0, 1, 2, 2, 3, 4, 5]),
        torch.tensor([2, 0, 1, 2, 4, 4, 5]),
        num_src=6,
        num_dst=6,
    )
    found = dense_alignment(src, dst, pairs, field="z")
    a, b = src.fields["z"][pairs.src].numpy(), dst.fields["z"][pairs.dst].numpy()
    gap = np.array([[((unit(x) - unit(y)) ** 2).sum() for y in b] for x in a])
    assert found.value == pytest.approx(np.diag(gap).mean())
    shuffles = []
    for one, two in itertools.product(
        itertools.permutations(range(4)), itertools.permutations((4, 5))
    ):
        order = [*one, *two, 6]
        shuffles.append(np.mean([gap[i, order[i]] for i in range(7)]))
    assert found.random == pytest.approx(np.mean(shuffles))
    assert found.net == pytest.approx(found.value - found.random)
    assert found.count == 7


def test_any_other_matching_is_no_closer_than_the_search_for_the_closest():
    src, dst = sets(5)
    best = dense_alignment(src, dst, match_by_similarity(src, dst, field="z"), field="z")
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        within = torch.cat(
            [torch.randperm(3, generator=generator), 3 + torch.randperm(2, generator=generator)]
        )
        other = Pairs(torch.arange(6), torch.cat([within, torch.tensor([5])]), num_src=6, num_dst=6)
        assert dense_alignment(src, dst, other, field="z").value >= best.value - 1e-12


def test_no_pair_has_no_alignment():
    src, dst = sets()
    found = dense_alignment(src, dst, Pairs.empty(6, 6), field="z")
    assert math.isnan(found.value)
    assert math.isnan(found.random)
    assert found.count == 0
