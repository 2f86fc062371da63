from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from densecl.pairs import Pairs, PointSet, match_by_similarity
from densecl.pairs import similarity as module


def as_list(pairs: Pairs) -> list:
    return list(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True))


def scores(src: PointSet, dst: PointSet, within: str) -> np.ndarray:
    a, b = (p.fields["f"].double().numpy() for p in (src, dst))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    cosine = a @ b.T
    cosine[:, ~dst.valid_mask().numpy()] = -np.inf
    cosine[~src.valid_mask().numpy()] = -np.inf
    if within == "sample":
        cosine[src.sample.numpy()[:, None] != dst.sample.numpy()[None]] = -np.inf
    return cosine


def oracle(src, dst, mutual=False, threshold=None, ratio=None, within="sample") -> list:
    cosine = scores(src, dst, within)
    found = []
    for i in range(len(src)):
        if len(dst) == 0 or cosine[i].max() == -np.inf:
            continue
        j = int(cosine[i].argmax())
        rest = np.delete(cosine[i], j).max(initial=-np.inf)
        far = np.inf if rest == -np.inf else np.sqrt(2 - 2 * rest)
        if threshold is not None and cosine[i, j] < threshold:
            continue
        if ratio is not None and not np.sqrt(max(2 - 2 * cosine[i, j], 0)) < ratio * far:
            continue
        if mutual and int(cosine[:, j].argmax()) != i:
            continue
        found.append((i, j))
    return found


OPTIONS = [
    {},
    {"mutual": True},
    {"threshold": 0.6},
    {"ratio": 0.8},
    {"within": "batch"},
    {"within": "batch", "mutual": True, "ratio": 0.9},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_maps_agree_with_loops(make_map, options, seed, gen):
    boxes = [(0, 0, 8, 8)] * 3
    valid = torch.rand(2, 3, 8, 8, generator=gen) < 0.7
    a = make_map(boxes, shape=(4, 5), size=(8, 8), seed=seed, valid=valid[0])
    b = make_map(boxes, shape=(3, 6), size=(8, 8), seed=seed + 9, valid=valid[1])
    assert as_list(match_by_similarity(a, b, field="f", **options)) == oracle(a, b, **options)


@pytest.mark.parametrize("options", OPTIONS)
def test_ragged_rows_agree_with_loops(ragged, options):
    a, b = ragged(0), ragged(5, n=30)
    assert as_list(match_by_similarity(a, b, field="f", **options)) == oracle(a, b, **options)


def one_hot(order) -> PointSet:
    n = len(order)
    features = torch.eye(n)[order].T.reshape(1, n, 1, n)
    return PointSet.from_map({"f": features}, geometry=None, size=(1, n))


def test_one_hot_cells_find_their_permutation():
    order = torch.tensor([2, 0, 3, 1])
    pairs = match_by_similarity(one_hot(order), one_hot(torch.arange(4)), field="f")
    assert pairs.dst.tolist() == order.tolist()


def test_equal_features_match_the_lowest_row():
    # sizes at which the products of equal columns may be rounded differently
    features = torch.randn(1, 257, 1, 1).expand(2, 257, 7, 9)
    points = PointSet.from_map({"f": features}, geometry=None, size=(7, 9))
    pairs = match_by_similarity(points, points, field="f")
    assert pairs.dst.tolist() == [0] * 63 + [63] * 63
    listed = points.select(torch.arange(126))
    assert match_by_similarity(listed, listed, field="f").dst.tolist() == pairs.dst.tolist()
    assert len(match_by_similarity(points, points, field="f", ratio=0.99)) == 0


def test_cosines_closer_than_float32_can_tell_are_ordered_right():
    # cos 1 - 2e-9 and 1 - 5e-10: both are 1 in float32
    angles = torch.tensor([0.0, 6.3e-5, 3.1e-5, 0.5], dtype=torch.float64)
    candidates = torch.stack([angles.cos(), angles.sin()], 1)[1:]
    src = PointSet({"f": torch.tensor([[1.0, 0.0]])}, torch.zeros(1, dtype=torch.int64))
    dst = PointSet({"f": candidates}, torch.zeros(3, dtype=torch.int64))
    assert match_by_similarity(src, dst, field="f").dst.tolist() == [1]


def test_zero_features_match_the_lowest_row():
    points = PointSet({"f": torch.zeros(5, 3)}, torch.zeros(5, dtype=torch.int64))
    assert match_by_similarity(points, points, field="f").dst.tolist() == [0] * 5


def test_scaling_the_features_changes_nothing(ragged):
    a, b = ragged(0), ragged(1)
    expected = as_list(match_by_similarity(a, b, field="f"))
    scale = torch.rand(len(b), 1) * 50 + 0.01
    scaled = b.with_fields(f=b.fields["f"] * scale)
    other = a.with_fields(f=a.fields["f"] * 7.3)
    assert as_list(match_by_similarity(other, scaled, field="f")) == expected


def test_rows_in_any_order_find_the_same_partners(make_map, shuffled):
    boxes = [(0, 0, 8, 8)] * 2
    a, b = make_map(boxes, seed=1), make_map(boxes, seed=2)
    (la, place_a), (lb, place_b) = shuffled(a, 1), shuffled(b, 2)
    expected = match_by_similarity(a, b, field="f", mutual=True)
    moved = Pairs(place_a[expected.src], place_b[expected.dst], num_src=98, num_dst=98).sort()
    assert as_list(match_by_similarity(la, lb, field="f", mutual=True)) == as_list(moved)


@pytest.mark.parametrize("block", [1, 30, 200])
def test_blocks_do_not_change_the_result(make_map, ragged, monkeypatch, block):
    boxes = [(0, 0, 8, 8)] * 3
    sets = [(make_map(boxes, seed=1), make_map(boxes, seed=2)), (ragged(0), ragged(1))]
    options = {"field": "f", "ratio": 0.95}
    expected = [as_list(match_by_similarity(a, b, **options)) for a, b in sets]
    monkeypatch.setattr(module, "BLOCK", block)
    assert [as_list(match_by_similarity(a, b, **options)) for a, b in sets] == expected


def test_no_gradient_and_no_low_precision(make_map):
    boxes = [(0, 0, 8, 8)] * 2
    a, b = make_map(boxes, seed=1), make_map(boxes, seed=2)
    expected = as_list(match_by_similarity(a, b, field="f"))
    a.fields["f"].requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pairs = match_by_similarity(a, b, field="f", threshold=0.0)
    assert not pairs.src.requires_grad
    assert a.fields["f"].grad is None
    assert set(as_list(pairs)) <= set(expected)


def test_frames_do_not_matter_for_features(ragged):
    a = ragged()
    other = replace(a, frame=("scan", "m"))
    assert len(match_by_similarity(a, other, field="f")) == int(a.valid.sum())


def test_empty_sets_and_samples(ragged):
    a = ragged()
    none = a.select(torch.zeros(len(a), dtype=torch.bool))
    hidden = replace(a, valid=torch.zeros(len(a), dtype=torch.bool))
    for within in ("sample", "batch"):
        for other in (none, hidden):
            assert len(match_by_similarity(a, other, field="f", within=within)) == 0
            assert len(match_by_similarity(other, a, field="f", within=within)) == 0


def test_wrong_input_is_named(ragged):
    a = ragged()
    with pytest.raises(ValueError, match="within"):
        match_by_similarity(a, a, field="f", within="image")
    with pytest.raises(ValueError, match="num_samples"):
        match_by_similarity(a, replace(a, num_samples=9), field="f")
