from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from densecl.pairs import Pairs, PointSet, match_by_label, match_by_similarity, pair_stats, purity


def test_stats_by_hand():
    sample = torch.tensor([0, 0, 1, 1, 2])
    coord = torch.arange(10.0).reshape(5, 2)
    src = PointSet({}, sample, coord, num_samples=3, valid=torch.tensor([True] * 4 + [False]))
    dst = PointSet({}, sample, coord + torch.tensor([3.0, 4.0]), num_samples=3)
    pairs = Pairs(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2]), num_src=5, num_dst=5)
    reverse = Pairs(torch.tensor([1, 2]), torch.tensor([0, 2]), num_src=5, num_dst=5)
    distance = (5 + math.hypot(5, 6) + 5 + 5) / 4
    assert pair_stats(pairs, src, dst, reverse) == pytest.approx(
        {
            "pairs": 4,
            "many_to_one": 0.5,
            "one_to_many": 0.5,
            "mutual": 0.5,
            "per_sample_min": 0,
            "per_sample_mean": 4 / 3,
            "per_sample_max": 3,
            "empty_fraction": 1 / 3,
            "coverage": 3 / 4,
            "mean_distance": distance,
        }
    )
    assert pairs.stats(src, replace(dst, frame=("scan", "m"))).keys() >= {"coverage"}
    assert "mean_distance" not in pairs.stats(src, replace(dst, frame=("scan", "m")))


def test_stats_of_nothing_are_finite(ragged):
    rows = ragged()
    none = Pairs.empty(len(rows), len(rows))
    assert all(math.isfinite(v) for v in none.stats(rows, rows, none).values())
    empty = rows.select(torch.zeros(len(rows), dtype=torch.bool))
    assert all(math.isfinite(v) for v in Pairs.empty(0, 0).stats(empty, empty).values())


def test_purity_agrees_with_counting_and_shuffling(ragged):
    a, b = ragged(0), ragged(1)
    a, b = replace(a, valid=None), replace(b, valid=None)
    pairs = match_by_similarity(a, b, field="f")
    got = purity(pairs, a, b, ignore=3)
    known = [
        (int(a.sample[i]), int(a.label[i]), int(b.label[j]))
        for i, j in zip(pairs.src, pairs.dst, strict=True)
        if a.label[i] != 3 and b.label[j] != 3
    ]
    assert got.count == len(known)
    assert got.share == pytest.approx(sum(x == y for _, x, y in known) / len(known))
    g = torch.Generator().manual_seed(0)
    agree, repeats = 0, 2000
    for _ in range(repeats):
        for sample in range(4):
            x = torch.tensor([k[1] for k in known if k[0] == sample])
            y = torch.tensor([k[2] for k in known if k[0] == sample])
            agree += int((x == y[torch.randperm(len(y), generator=g)]).sum())
    # about 30 pairs a shuffle: standard error below 0.003
    assert got.chance == pytest.approx(agree / repeats / len(known), abs=0.012)


def test_pairs_of_one_label_are_pure(ragged):
    a = ragged()
    assert purity(match_by_label(a, a), a, a).share == 1.0


def test_purity_of_nothing_is_unknown(ragged):
    a = ragged()
    got = purity(Pairs.empty(40, 40), a, a)
    assert got.count == 0
    assert math.isnan(got.share)
    with pytest.raises(ValueError, match="dst has no label"):
        purity(Pairs.empty(40, 40), a, replace(a, label=None))
    with pytest.raises(ValueError, match="rows for"):
        purity(Pairs.empty(4, 4), a, a)
