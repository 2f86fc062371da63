from __future__ import annotations

import pytest
import torch

from densecl.pairs.ragged import blocks, expand, join, joint_ids, rank_in_run, sample_positions


def test_expand_enumerates_every_entry():
    owner, place = expand(torch.tensor([2, 0, 3]))
    assert owner.tolist() == [0, 0, 2, 2, 2]
    assert place.tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_blocks_cover_all_rows_within_the_limit(limit):
    count = torch.tensor([3, 0, 2, 5, 1, 0, 0, 4])
    ranges = list(blocks(count, limit))
    assert [a for a, _ in ranges] == [0, *[b for _, b in ranges[:-1]]]
    assert ranges[-1][1] == len(count)
    assert all(b - a == 1 or int(count[a:b].sum()) <= limit for a, b in ranges)
    assert list(blocks(count[:0], limit)) == []


def test_rank_in_run_restarts_with_each_id():
    assert rank_in_run(torch.tensor([4, 4, 1, 4, 4, 4])).tolist() == [0, 1, 0, 0, 1, 2]
    assert rank_in_run(torch.empty(0, dtype=torch.int64)).tolist() == []


def test_joint_ids_agree_iff_all_columns_agree(gen):
    a, b = (torch.randint(-2, 3, (n, 3), generator=gen) for n in (20, 30))
    x, y = joint_ids(list(a.unbind(1)), list(b.unbind(1)))
    expected = (a.unsqueeze(1) == b).all(2)
    assert torch.equal(x.unsqueeze(1) == y, expected)


def test_join_lists_all_equal_ids(gen):
    a, b = (torch.randint(0, 5, (n,), generator=gen) for n in (13, 17))
    i, j = join(a, b)
    assert torch.equal(torch.stack([i, j], 1), (a.unsqueeze(1) == b).nonzero())


def test_sample_positions_are_distinct_and_short_rows_complete(gen):
    count = torch.tensor([0, 1, 3, 10, 4])
    owner, place = sample_positions(count, 4, gen)
    for row, n in enumerate(count.tolist()):
        chosen = place[owner == row].tolist()
        assert len(set(chosen)) == len(chosen) == min(n, 4)
        assert all(0 <= p < n for p in chosen)


def test_sample_positions_are_uniform(gen):
    rows = 6000
    _, place = sample_positions(torch.full((rows,), 5), 2, gen)
    counts = torch.bincount(place, minlength=5).double()
    pairs = torch.bincount(place[::2] * 5 + place[1::2], minlength=25).double()
    # five standard deviations of a binomial count
    assert ((counts - rows * 0.4).abs() < 5 * (rows * 0.4 * 0.6) ** 0.5).all()
    subsets = pairs[pairs > 0]
    assert len(subsets) == 10
    assert ((subsets - rows * 0.1).abs() < 5 * (rows * 0.1 * 0.9) ** 0.5).all()
