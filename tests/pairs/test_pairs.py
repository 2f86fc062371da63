from __future__ import annotations

import pytest
import torch

from densecl.pairs import Pairs, PointSet


def pairs(p=12, seed=0, **options) -> Pairs:
    g = torch.Generator().manual_seed(seed)
    return Pairs(
        torch.randint(0, 5, (p,), generator=g),
        torch.randint(0, 7, (p,), generator=g),
        torch.rand(p, generator=g),
        torch.rand(p, generator=g),
        num_src=5,
        num_dst=7,
        **options,
    )


def as_set(x: Pairs) -> list[tuple[int, int]]:
    return list(zip(x.src.tolist(), x.dst.tolist(), strict=True))


def test_filter_keeps_weights_with_their_pairs():
    x = pairs()
    keep = x.src > 2
    got = x.filter(keep)
    assert as_set(got) == [pair for pair in as_set(x) if pair[0] > 2]
    assert torch.equal(got.weight, x.weight[keep])
    assert torch.equal(x.filter(torch.tensor([4, 1])).target, x.target[[4, 1]])


def test_swap_twice_is_the_same():
    x = pairs()
    assert as_set(x.swap()) == [(b, a) for a, b in as_set(x)]
    assert (x.swap().num_src, x.swap().num_dst) == (7, 5)
    assert as_set(x.swap().swap()) == as_set(x)


def test_unique_is_sorted_and_keeps_the_first_weight():
    x = pairs(40)
    got = x.unique()
    assert as_set(got) == sorted(set(as_set(x)))
    for pair, weight in zip(as_set(got), got.weight, strict=True):
        assert weight == x.weight[as_set(x).index(pair)]


def test_mutual_keeps_pairs_that_exist_both_ways():
    a, b = pairs(20, 1), pairs(20, 2).swap()
    back = set(as_set(b))
    assert as_set(a.mutual(b)) == [(i, j) for i, j in as_set(a) if (j, i) in back]
    assert len(a.mutual(Pairs.empty(7, 5))) == 0
    with pytest.raises(ValueError, match="needed 7 x 5"):
        a.mutual(a)


def test_contains_looks_up_single_pairs():
    x = pairs(20, 3)
    i, j = torch.cartesian_prod(torch.arange(5), torch.arange(7)).unbind(1)
    expected = [pair in set(as_set(x)) for pair in zip(i.tolist(), j.tolist(), strict=True)]
    assert x.contains(i, j).tolist() == expected


def test_cat_joins_lists_or_stacks_sets():
    a, b = pairs(3, 1), pairs(4, 2)
    assert as_set(Pairs.cat([a, b])) == as_set(a) + as_set(b)
    stacked = Pairs.cat([a, b], offset=True)
    assert as_set(stacked) == as_set(a) + [(i + 5, j + 7) for i, j in as_set(b)]
    assert (stacked.num_src, stacked.num_dst) == (10, 14)
    with pytest.raises(ValueError, match="sizes differ"):
        Pairs.cat([a, b.swap()])


def test_cat_fills_missing_weights_with_one():
    a = Pairs.identity(2)
    b = Pairs(torch.tensor([0]), torch.tensor([1]), torch.tensor([0.5]), num_src=2, num_dst=2)
    assert Pairs.cat([a, b]).weight.tolist() == [1.0, 1.0, 0.5]
    assert Pairs.cat([a, a]).weight is None


def test_counts_per_row_and_sample():
    rows = PointSet(fields={}, sample=torch.tensor([0, 0, 2, 2, 2]), num_samples=4)
    x = pairs(30)
    for row in range(5):
        assert x.per_row()[row] == sum(i == row for i, _ in as_set(x))
    for sample in range(4):
        expected = sum(int(rows.sample[i]) == sample for i, _ in as_set(x))
        assert x.per_sample(rows)[sample] == expected
    with pytest.raises(ValueError, match="num_src"):
        x.swap().per_sample(rows)


def test_empty_pairs_do_everything():
    x = Pairs.empty(5, 7)
    assert len(x.filter(x.src > 0)) == len(x.unique()) == len(x.swap()) == 0
    assert x.per_row().tolist() == [0] * 5
    assert len(Pairs.cat([x, pairs()])) == 12
    assert x.stats()["pairs"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"src": torch.tensor([0, 5])}, "src must be < num_src = 5, got 5"),
        ({"dst": torch.tensor([-1, 0])}, "dst must be >= 0, got -1"),
        ({"dst": torch.tensor([0])}, r"dst \(1,\).*src \(2,\)"),
        ({"src": torch.tensor([0.0, 1.0])}, "src must be int64"),
        ({"weight": torch.ones(3)}, r"weight \(3,\).*src \(2,\)"),
        ({"weight": torch.tensor([1, 1])}, "weight must be a float"),
        ({"weight": torch.tensor([1.0, -1.0])}, r"weight must be in \[0, inf\]"),
        ({"weight": torch.tensor([1.0, torch.nan])}, r"weight must be in \[0, inf\]"),
        ({"target": torch.tensor([0.0, 1.5])}, r"target must be in \[0, 1\]"),
    ],
)
def test_wrong_pairs_are_refused(change, message):
    good = {"src": torch.tensor([0, 1]), "dst": torch.tensor([2, 3])}
    with pytest.raises(ValueError, match=message):
        Pairs(**{**good, **change}, num_src=5, num_dst=7)


def test_to_moves_every_tensor():
    moved = pairs().to("meta")
    tensors = moved.src, moved.dst, moved.weight, moved.target
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert (moved.num_src, moved.num_dst) == (5, 7)
