from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from densecl.pairs import Pairs, SoftRegions, match_by_index, match_by_label, match_by_region


def as_list(pairs: Pairs) -> list:
    return list(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True))


def oracle(src, dst, ids_a, ids_b, within, unusable=()) -> list:
    return [
        (i, j)
        for i in range(len(src))
        for j in range(len(dst))
        if src.valid_mask()[i]
        and dst.valid_mask()[j]
        and ids_a[i] == ids_b[j]
        and int(ids_a[i]) >= 0
        and int(ids_a[i]) not in unusable
        and (within == "batch" or src.sample[i] == dst.sample[j])
    ]


@pytest.mark.parametrize("within", ["sample", "batch"])
def test_regions_agree_with_loops(ragged, within):
    a, b = ragged(0), ragged(1, n=25)
    got = match_by_region(a, b, within=within)
    ids = a.regions["region"], b.regions["region"]
    assert as_list(got) == oracle(a, b, *ids, within)
    for level in (0, 1):
        got = match_by_region(a, b, region="tree", level=level, within=within)
        ids = a.regions["tree"][:, level], b.regions["tree"][:, level]
        assert as_list(got) == oracle(a, b, *ids, within)


@pytest.mark.parametrize("within", ["sample", "batch"])
def test_labels_agree_with_loops(ragged, within):
    a, b = ragged(0), ragged(1, n=25)
    got = match_by_label(a, b, within=within, ignore=2)
    assert as_list(got) == oracle(a, b, a.label, b.label, within, unusable=(2,))


def test_skip_self_drops_only_the_diagonal(ragged):
    a = ragged()
    got = match_by_label(a, a, skip_self=True)
    expected = [(i, j) for i, j in oracle(a, a, a.label, a.label, "batch") if i != j]
    assert as_list(got) == expected


@pytest.mark.parametrize("skip_self", [False, True])
@pytest.mark.parametrize("within", ["sample", "batch"])
def test_max_per_row_draws_distinct_partners(ragged, within, skip_self):
    a = ragged(n=60)
    all_pairs = match_by_label(a, a, within=within, skip_self=skip_self)
    for k in (1, 3, 50):
        g = torch.Generator().manual_seed(3)
        got = match_by_label(a, a, within=within, max_per_row=k, skip_self=skip_self, generator=g)
        assert set(as_list(got)) <= set(as_list(all_pairs))
        assert as_list(got) == sorted(set(as_list(got)))
        assert torch.equal(got.per_row(), all_pairs.per_row().clamp(max=k))


def test_the_draw_is_a_function_of_the_generator(ragged):
    a = ragged(n=60)
    draws = [
        as_list(match_by_label(a, a, max_per_row=2, generator=torch.Generator().manual_seed(seed)))
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_skipping_oneself_leaves_a_uniform_draw():
    from densecl.pairs import PointSet

    n, repeats = 4, 4000
    sample = torch.arange(repeats).repeat_interleave(n)
    points = PointSet({}, sample, label=torch.zeros_like(sample))
    g = torch.Generator().manual_seed(0)
    got = match_by_label(
        points, points, within="sample", max_per_row=2, skip_self=True, generator=g
    )
    counts = torch.bincount((got.src % n) * n + got.dst % n, minlength=n * n).reshape(n, n)
    assert counts.diag().sum() == 0
    # each of the 3 others with probability 2/3; five standard deviations
    off = counts[~torch.eye(n, dtype=torch.bool)].double()
    assert ((off - repeats * 2 / 3).abs() < 5 * (repeats * 2 / 9) ** 0.5).all()


@pytest.mark.parametrize("within", ["sample", "batch"])
def test_index_needs_the_same_row_of_the_same_source(ragged, within):
    a, b = ragged(0), ragged(1, n=30)
    mixed = replace(b, source=b.source.roll(1))
    for other in (b, mixed):
        got = match_by_index(a, other, within=within)
        ids = [
            torch.where((p.index >= 0) & (p.source >= 0), p.source * 100 + p.index, -1)
            for p in (a, other)
        ]
        assert as_list(got) == oracle(a, other, *ids, within)


def test_identity_views_pair_by_index(make_map):
    a = make_map([(0, 0, 8, 8)] * 2)
    rows = torch.arange(98)
    a = replace(a, index=rows % 49)
    order = torch.randperm(98, generator=torch.Generator().manual_seed(0))
    pairs = match_by_index(a, a.select(order))
    assert torch.equal(order[pairs.dst], pairs.src)
    assert len(pairs) == 98


def test_missing_ids_are_named(ragged):
    a = ragged()
    with pytest.raises(ValueError, match="dst has no label"):
        match_by_label(a, replace(a, label=None))
    with pytest.raises(ValueError, match="src has no index"):
        match_by_index(replace(a, index=None), a)
    with pytest.raises(ValueError, match="no region 'slic'"):
        match_by_region(a, a, region="slic")
    none = torch.zeros(0, dtype=torch.int64)
    soft = replace(a, regions={"region": SoftRegions(none, none, none.float())})
    with pytest.raises(ValueError, match="soft"):
        match_by_region(soft, soft)
    with pytest.raises(ValueError, match="within"):
        match_by_label(a, a, within="image")
    with pytest.raises(ValueError, match="max_per_row"):
        match_by_label(a, a, max_per_row=0)
    with pytest.raises(ValueError, match="skip_self"):
        match_by_label(a, a.select(torch.arange(3)), skip_self=True)


def test_nothing_matches_nothing(ragged):
    a = ragged()
    none = a.select(torch.zeros(len(a), dtype=torch.bool))
    assert len(match_by_label(a, none)) == len(match_by_region(none, a)) == 0
    assert len(match_by_index(none, none)) == 0
    assert len(match_by_label(none, none, max_per_row=2)) == 0
