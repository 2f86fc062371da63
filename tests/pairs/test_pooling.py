from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from densecl.pairs import SoftRegions, match_by_region, pool_points, pool_regions


@pytest.mark.parametrize("reduce", ["mean", "sum", "max"])
@pytest.mark.parametrize("weighted", [False, True])
def test_pooling_agrees_with_loops(ragged, reduce, weighted):
    rows = ragged()
    x, ids = rows.fields["f"], rows.regions["region"]
    weights = torch.rand(len(rows)) if weighted else None
    got = pool_regions(x, ids, sample=rows.sample, reduce=reduce, weights=weights)
    groups = sorted(
        {(int(s), int(r)) for s, r in zip(rows.sample, ids, strict=True) if int(r) >= 0}
    )
    assert list(zip(got.sample.tolist(), got.region.tolist(), strict=True)) == groups
    for n, (sample, region) in enumerate(groups):
        member = [i for i in range(len(rows)) if (rows.sample[i], ids[i]) == (sample, region)]
        w = torch.ones(len(member)) if weights is None else weights[member]
        total = (x[member] * w.unsqueeze(1)).sum(0)
        expected = {"sum": total, "mean": total / w.sum(), "max": x[member].amax(0)}[reduce]
        # float32 sums of at most 40 terms in another order
        assert torch.allclose(got.feature[n], expected, atol=1e-5)
        assert torch.allclose(got.mass[n], w.sum())


def test_superpixels_of_two_modalities_match_by_id():
    # SLidR: points (1,0), (0,1), (.6,.8) in superpixels 0, 0, 2
    points = torch.tensor([[1.0, 0], [0, 1], [0.6, 0.8]])
    pooled = pool_regions(points, torch.tensor([0, 0, 2]))
    assert pooled.region.tolist() == [0, 2]
    assert torch.allclose(pooled.feature, torch.tensor([[0.5, 0.5], [0.6, 0.8]]))
    fixed = pool_regions(points, torch.tensor([0, 0, 2]), num_regions=3)
    assert fixed.mass.tolist() == [2, 0, 1]
    assert fixed.feature[1].tolist() == [0, 0]


def test_soft_weights_equal_a_dense_product(gen):
    dense = torch.rand(6, 4, generator=gen) * (torch.rand(6, 4, generator=gen) < 0.6)
    row, region = dense.nonzero().unbind(1)
    soft = SoftRegions(row, region, dense[row, region])
    x = torch.randn(6, 3, generator=gen)
    got = pool_regions(x, soft, num_regions=4, reduce="sum")
    assert torch.allclose(got.feature, dense.T @ x, atol=1e-6)
    got = pool_regions(x, soft, num_regions=4)
    assert torch.allclose(got.feature, (dense.T @ x) / dense.sum(0).unsqueeze(1), atol=1e-6)


def test_hard_ids_equal_soft_ids_of_weight_one(ragged):
    rows = ragged()
    ids = rows.regions["region"]
    row = (ids >= 0).nonzero().squeeze(1)
    soft = SoftRegions(row, ids[row], torch.ones(len(row)))
    hard = pool_regions(rows.fields["f"], ids, sample=rows.sample)
    other = pool_regions(rows.fields["f"], soft, sample=rows.sample)
    assert torch.equal(hard.feature, other.feature)


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_pooling_is_differentiable(ragged, reduce):
    rows = ragged(n=12)
    x = rows.fields["f"].requires_grad_()
    weights = torch.rand(12, requires_grad=True)
    pool_regions(x, rows.regions["region"], reduce=reduce, weights=weights).feature.sum().backward()
    inside = rows.regions["region"] >= 0
    assert (x.grad[inside] != 0).any()
    assert (x.grad[~inside] == 0).all()
    assert (weights.grad[inside] != 0).any() or reduce == "mean"


def test_no_region_gives_no_row_with_a_gradient():
    x = torch.randn(4, 3, requires_grad=True)
    pooled = pool_regions(x, torch.full((4,), -1))
    assert pooled.feature.shape == (0, 3)
    pooled.feature.sum().backward()
    assert (x.grad == 0).all()


def test_order_of_the_rows_does_not_matter(ragged, shuffled):
    rows = ragged()
    other = shuffled(rows)[0]
    a, b = pool_points(rows, "region"), pool_points(other, "region")
    assert torch.equal(a.regions["region"], b.regions["region"])
    assert torch.equal(a.sample, b.sample)
    assert torch.equal(a.source, b.source)
    assert torch.allclose(a.fields["f"], b.fields["f"], atol=1e-6)


def test_pooled_points_pair_by_region(ragged):
    a, b = pool_points(ragged(0), "region"), pool_points(ragged(1), "region")
    pairs = match_by_region(a, b)
    names = [
        list(zip(p.sample.tolist(), p.regions["region"].tolist(), strict=True)) for p in (a, b)
    ]
    assert [names[0][i] for i in pairs.src] == [names[1][j] for j in pairs.dst]
    assert len(pairs) == len(set(names[0]) & set(names[1]))


def test_pooled_points_leave_out_invalid_rows(ragged):
    rows = ragged()
    kept = rows.select(rows.valid)
    a, b = pool_points(rows, "region"), pool_points(replace(kept, valid=None), "region")
    assert torch.equal(a.fields["f"], b.fields["f"])
    assert torch.equal(a.coord, b.coord)


def test_wrong_input_is_named():
    x = torch.zeros(3, 2)
    ids = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="reduce"):
        pool_regions(x, ids, reduce="median")
    with pytest.raises(ValueError, match=r"regions \(2,\)"):
        pool_regions(x, ids[:2])
    with pytest.raises(ValueError, match=r"weights \(2,\)"):
        pool_regions(x, ids, weights=torch.ones(2))
    with pytest.raises(ValueError, match="must be < 1, got 3"):
        pool_regions(x, ids + 3, num_regions=1)
    with pytest.raises(ValueError, match="leave sample out"):
        pool_regions(x, ids, num_regions=1, sample=ids)
    with pytest.raises(ValueError, match="hard"):
        pool_regions(x, SoftRegions(ids[:1], ids[:1], torch.ones(1)), reduce="max")
