from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from densecl.errors import UsageError
from densecl.pairs import PointSet, match_by_distance
from densecl.transfer.measures.matching import FEATURES, build_matchings


def maps(seed, cells=(2, 3), pictures=3, **maps):
    features = torch.randn(pictures, 4, *cells, generator=torch.Generator().manual_seed(seed))
    return PointSet.from_map({FEATURES: features}, geometry=None, size=(8, 12), **maps)


def one(**section):
    (matching,) = build_matchings({"it": section})
    return matching


def test_a_search_is_compared_with_the_same_search_in_the_next_picture():
    src, dst = maps(0), maps(1)
    found = one(type="similarity").alignment(src, dst)
    a, b = (functional.normalize(s.fields[FEATURES].reshape(3, 6, 4), dim=2) for s in (src, dst))
    closest = [(a[n] @ b[n].T).max(1).values for n in range(3)]
    elsewhere = [(a[n] @ b[n - 1].T).max(1).values for n in range(3)]
    assert found.value == pytest.approx((2 - 2 * torch.cat(closest)).mean().item(), rel=1e-5)
    assert found.random == pytest.approx((2 - 2 * torch.cat(elsewhere)).mean().item(), rel=1e-5)
    assert found.count == 18


def test_identical_views_align_perfectly_and_better_than_another_picture():
    src = maps(0)
    for kind in ("same", "similarity"):
        found = one(type=kind).alignment(src, src)
        assert found.value == pytest.approx(0, abs=1e-12)
        assert found.net < -0.1


def test_options_reach_the_builder():
    src, dst = maps(0), maps(1)
    found = one(type="distance", radius=1.5).pairs(src, dst)
    assert torch.equal(found.key(), match_by_distance(src, dst, radius=1.5).key())
    assert len(found) > len(one(type="distance", radius=0.5).pairs(src, dst))


def test_drawn_partners_follow_the_seed():
    label = torch.zeros(3, 8, 12, dtype=torch.int64)
    src, dst = (maps(k, maps={"label": label}) for k in (0, 1))
    matching = one(type="label", max_per_row=1)
    first, again, other = (matching.pairs(src, dst, seed).dst for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(src.sample[torch.arange(18)], dst.sample[first])


def test_unknown_types_and_no_matching_are_refused():
    with pytest.raises(UsageError, match=r"builders.it.type = 'flow'"):
        one(type="flow")
    with pytest.raises(UsageError, match="empty"):
        build_matchings({})


def test_views_of_other_cells_have_no_same_cell():
    with pytest.raises(ValueError, match="18 and 36 cells"):
        one(type="same").pairs(maps(0), maps(1, cells=(4, 3)))
