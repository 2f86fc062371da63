from __future__ import annotations

import pytest
import torch

from densecl.pairs import Pairs, PointSet
from pointcl.pairs import at_most, at_most_per_row, one_per_row


def pairs_of(*rows, num_src=5, num_dst=9, **extra) -> Pairs:
    src, dst = torch.tensor(rows).T
    return Pairs(src, dst, num_src=num_src, num_dst=num_dst, **extra)


@pytest.fixture
def many() -> Pairs:
    g = torch.Generator().manual_seed(0)
    key = torch.randperm(20 * 30, generator=g)[:150]
    return Pairs(key // 30, key % 30, num_src=20, num_dst=30)


def test_the_published_draw():
    pairs = pairs_of((0, 5), (0, 7), (3, 2))
    chosen = one_per_row(pairs, draw=torch.full((5,), 0.6))
    assert chosen.src.tolist() == [0, 3]
    assert chosen.dst.tolist() == [7, 2]


def test_shuffled_pairs_give_the_same_partners(many):
    draw = torch.rand(20, generator=torch.Generator().manual_seed(1))
    expected = one_per_row(many, draw=draw)
    known = set(zip(many.src.tolist(), many.dst.tolist(), strict=True))
    for seed in range(5):
        order = torch.randperm(150, generator=torch.Generator().manual_seed(seed))
        chosen = one_per_row(many.filter(order), draw=draw)
        assert torch.equal(chosen.key(), expected.key())
        assert set(zip(chosen.src.tolist(), chosen.dst.tolist(), strict=True)) <= known
    assert expected.src.tolist() == sorted(set(many.src.tolist()))


def test_each_partner_is_equally_likely():
    pairs = pairs_of((0, 1), (0, 4), (0, 8), (2, 3))
    g = torch.Generator().manual_seed(0)
    drawn = torch.cat([one_per_row(pairs, generator=g).dst for _ in range(900)])
    count = torch.bincount(drawn, minlength=9)
    assert count[3] == 900
    # binomial(900, 1/3): five standard deviations are 71
    assert ((count[[1, 4, 8]] - 300).abs() < 71).all()


def test_weights_go_with_their_pairs():
    pairs = pairs_of((3, 2), (0, 7), (0, 5), weight=torch.tensor([0.3, 0.7, 0.5]))
    chosen = one_per_row(pairs, draw=torch.tensor([0.6, 0, 0, 0.9999999, 0]))
    assert chosen.weight.tolist() == pytest.approx([0.7, 0.3])
    # a draw that rounds up to its end stays among the partners
    assert one_per_row(pairs, draw=torch.ones(5)).dst.tolist() == [7, 2]


def test_a_batch_keeps_at_most_so_many(many):
    g = torch.Generator().manual_seed(0)
    seen = torch.zeros(600, dtype=torch.int64)
    for _ in range(200):
        few = at_most(many, 30, generator=g)
        assert len(few) == 30
        assert bool(many.contains(few.src, few.dst).all())
        seen += torch.bincount(few.key(), minlength=600)
    kept = seen[many.key()]
    # binomial(200, .2): six standard deviations are 34
    assert ((kept - 40).abs() < 34).all()
    every = at_most(many, 150)
    assert torch.equal(every.key(), many.key())


def test_each_sample_keeps_at_most_so_many(many):
    sample = torch.arange(20) // 7
    points = PointSet({}, sample, num_samples=3)
    few = at_most(many, 12, points=points)
    assert few.per_sample(points).tolist() == [12, 12, 12]
    lots = at_most(many, 48, points=points).per_sample(points)
    assert torch.equal(lots, many.per_sample(points).clamp(max=48))


def test_each_row_keeps_at_most_so_many(many):
    few = at_most_per_row(many, 3, torch.Generator().manual_seed(0))
    assert torch.equal(few.per_row(), many.per_row().clamp(max=3))
    assert torch.equal(few.key(), few.key().sort().values)


def test_no_pairs_stay_no_pairs():
    none = Pairs.empty(4, 5)
    points = PointSet({}, torch.zeros(4, dtype=torch.int64))
    for got in (
        one_per_row(none),
        at_most(none, 3),
        at_most(none, 3, points=points),
        at_most_per_row(none, 3),
    ):
        assert len(got) == 0
        assert (got.num_src, got.num_dst) == (4, 5)


def test_wrong_input_is_refused(many):
    with pytest.raises(ValueError, match="draw must be"):
        one_per_row(many, draw=torch.rand(3))
    with pytest.raises(ValueError, match="1 or more"):
        at_most(many, 0)
    with pytest.raises(ValueError, match="num_src is 20"):
        at_most(many, 3, points=PointSet({}, torch.zeros(4, dtype=torch.int64)))
