from __future__ import annotations

from collections import Counter

import pytest
import torch

from pointcl.regions.majority import voxel_regions


def slow(ids, voxel, count):
    found = []
    for v in range(count):
        votes = Counter(i for i, w in zip(ids, voxel, strict=True) if w == v)
        best = max(votes.values(), default=0)
        winners = sorted(k for k, n in votes.items() if n == best)
        some = [k for k in winners if k >= 0]
        found.append(some[0] if some else -1)
    return found


def test_the_majority_wins_as_counted_by_hand():
    for _ in range(20):
        count = int(torch.randint(0, 60, ()))
        ids, voxel = torch.randint(-1, 4, (count,)), torch.randint(-1, 9, (count,))
        found = voxel_regions(ids, voxel, 10)
        assert found.tolist() == slow(ids.tolist(), voxel.tolist(), 10)
        assert found.dtype == torch.int64


def test_none_votes_too_and_loses_a_draw():
    voxel = torch.zeros(3, dtype=torch.int64)
    assert voxel_regions(torch.tensor([-1, -1, 5]), voxel).tolist() == [-1]
    assert voxel_regions(torch.tensor([-1, 5]), voxel[:2]).tolist() == [5]
    assert voxel_regions(torch.tensor([7, 5]), voxel[:2]).tolist() == [5]


def test_nothing_and_unequal_lengths():
    none = torch.zeros(0, dtype=torch.int64)
    assert voxel_regions(none, none).tolist() == []
    assert voxel_regions(none, none, 2).tolist() == [-1, -1]
    assert voxel_regions(torch.tensor([3]), torch.tensor([-1]), 1).tolist() == [-1]
    with pytest.raises(ValueError, match="point_to_voxel"):
        voxel_regions(none, torch.zeros(2, dtype=torch.int64))
