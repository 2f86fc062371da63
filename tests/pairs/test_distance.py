from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from densecl.pairs import Pairs, PointSet, match_by_distance
from densecl.pairs import distance as module
from densecl.views.geometry import Affine, DenseMap

SEARCHES = ("grid", "tree", "hash", "all")
FULL = (0.0, 0.0, 56.0, 56.0)


def oracle(src: PointSet, dst: PointSet, radius, normaliser="cell", k=None, scale=None) -> list:
    """All pairs by loops, in float64."""
    found = []
    for i in range(len(src)):
        near = []
        for j in range(len(dst)):
            ok = src.valid_mask()[i] and dst.valid_mask()[j] and src.sample[i] == dst.sample[j]
            if not ok:
                continue
            factor = np.ones(src.coord.shape[1]) if scale is None else scale[src.sample[i]]
            gap = (src.coord[i].double() - dst.coord[j].double()).numpy() * factor
            unit = 1.0
            if normaliser == "cell":
                cells = (src.cell[i].double().numpy(), dst.cell[j].double().numpy())
                unit = max(np.sqrt(((cell * factor) ** 2).sum()) for cell in cells)
            d = np.sqrt((gap**2).sum()) / unit
            if d < radius:
                near.append((d, j))
        if k is not None:
            near = sorted(near)[:k]
        found += [(i, j) for j in sorted(j for _, j in near)]
    return found


def as_list(pairs: Pairs) -> list:
    return list(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True))


@pytest.mark.parametrize("search", SEARCHES)
def test_identical_crops_pair_each_cell_with_itself(make_map, search):
    boxes = [FULL, (3.5, 1, 20, 17.5)]
    a, b = make_map(boxes), make_map(boxes)
    pairs = match_by_distance(a, b, radius=0.7, search=search)
    assert as_list(pairs) == [(i, i) for i in range(98)]


@pytest.mark.parametrize("search", SEARCHES)
def test_a_flip_pairs_the_mirrored_column(make_map, search):
    a, b = make_map([FULL]), make_map([FULL], flips=[True])
    pairs = match_by_distance(a, b, radius=0.7, search=search)
    expected = [(i * 7 + j, i * 7 + 6 - j) for i in range(7) for j in range(7)]
    assert as_list(pairs) == expected


@pytest.mark.parametrize("search", SEARCHES)
def test_quarter_crop_against_the_full_image_gives_133(make_map, search):
    quarter = make_map([(0, 0, 28, 28)])
    pairs = match_by_distance(quarter, make_map([FULL]), radius=0.7, search=search)
    assert len(pairs) == 133
    assert pairs.per_row().aminmax() == (1, 3)


@pytest.mark.parametrize("search", SEARCHES)
def test_a_crop_shifted_by_whole_cells_pairs_shifted_cells(make_map, search):
    a, b = make_map([FULL]), make_map([(16, 8, 72, 64)])
    pairs = match_by_distance(a, b, radius=0.5, search=search)
    expected = [(i * 7 + j, (i - 1) * 7 + j - 2) for i in range(1, 7) for j in range(2, 7)]
    assert as_list(pairs) == expected


@pytest.mark.parametrize("search", SEARCHES)
def test_disjoint_crops_have_no_pair(make_map, search):
    a, b = make_map([(0, 0, 20, 20)]), make_map([(40, 40, 56, 56)])
    pairs = match_by_distance(a, b, radius=0.7, search=search)
    assert len(pairs) == 0
    assert (pairs.num_src, pairs.num_dst) == (49, 49)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("k", [None, 1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_random_flipped_crops_agree_with_loops(make_map, search, k, seed):
    g = np.random.default_rng(seed)

    def crops() -> dict:
        corner = g.uniform(0, 30, (3, 2))
        extent = g.uniform(8, 40, (3, 2))
        return {
            "boxes": np.concatenate([corner, corner + extent], 1).tolist(),
            "flips": (g.random(3) < 0.5).tolist(),
            "valid": torch.from_numpy(g.random((3, 56, 56)) < 0.8),
        }

    a, b = make_map(shape=(4, 5), **crops()), make_map(shape=(6, 3), **crops())
    pairs = match_by_distance(a, b, radius=0.9, k=k, search=search)
    assert as_list(pairs) == oracle(a, b, 0.9, k=k)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("radius", [0.6, 3.0, 100.0])
def test_rotated_and_sheared_views_agree_with_loops(search, radius, gen):
    def view() -> PointSet:
        linear = torch.randn(2, 2, 2, generator=gen)
        shift = torch.rand(2, 2, 1, generator=gen) * 8
        geometry = Affine(torch.cat([linear, shift], 2))
        features = {"f": torch.zeros(2, 1, 5, 4)}
        return PointSet.from_map(features, geometry=geometry, size=(10, 12))

    a, b = view(), view()
    for normaliser in ("cell", None):
        pairs = match_by_distance(a, b, radius=radius, normaliser=normaliser, search=search)
        assert as_list(pairs) == oracle(a, b, radius, normaliser)


@pytest.mark.parametrize("search", ["tree", "hash", "all"])
@pytest.mark.parametrize("d", [2, 3])
def test_ragged_points_agree_with_loops(ragged, search, d):
    a, b = ragged(0, 40, d), ragged(1, 55, d)
    plain = {"radius": 2.5, "normaliser": None}
    for options in ({"radius": 0.9}, plain, {"radius": 1.5, "k": 2}, {**plain, "k": 2}):
        pairs = match_by_distance(a, b, search=search, **options)
        assert as_list(pairs) == oracle(a, b, **options)


def test_volumes_use_their_grid(gen):
    def view(shift: float) -> PointSet:
        matrix = torch.cat(
            [torch.diag(torch.tensor([1.0, -1.5, 0.7])), torch.ones(3, 1) * shift], 1
        )
        features = {"f": torch.zeros(2, 1, 3, 4, 5)}
        size = (6, 8, 10)
        return PointSet.from_map(
            features, geometry=Affine(matrix).stack([Affine(matrix)] * 2), size=size
        )

    a, b = view(0.0), view(1.3)
    assert as_list(match_by_distance(a, b, radius=0.7, search="grid")) == oracle(a, b, 0.7)


def test_a_map_and_its_rows_in_any_order_give_the_same_pairs(make_map, shuffled):
    boxes = [(0, 0, 30, 44), (10, 3, 50, 50)]
    a, b = make_map(boxes), make_map(boxes[::-1], flips=[True, False])
    expected = match_by_distance(a, b, radius=0.8)
    (la, place_a), (lb, place_b) = shuffled(a, 1), shuffled(b, 2)
    for k in (None, 1):
        expected = match_by_distance(a, b, radius=0.8, k=k)
        moved = Pairs(place_a[expected.src], place_b[expected.dst], num_src=98, num_dst=98).sort()
        # nearest: ties are resolved by the row, so only lists in one order are comparable
        got = match_by_distance(la, lb, radius=0.8, k=k)
        if k is None:
            assert as_list(got) == as_list(moved)
        else:
            assert got.per_row().tolist() == moved.per_row().tolist()


def test_nearest_takes_the_lowest_row_on_ties():
    a = PointSet({}, torch.zeros(1, dtype=torch.int64), torch.zeros(1, 2))
    corners = torch.tensor([[2.0, 0], [0, 1], [1, 0], [-1, 0]])
    b = PointSet({}, torch.zeros(4, dtype=torch.int64), corners)
    for search in ("tree", "hash", "all"):
        pairs = match_by_distance(a, b, radius=3, normaliser=None, k=1, search=search)
        assert pairs.dst.tolist() == [1]
        pairs = match_by_distance(a, b, radius=3, normaliser=None, k=3, search=search)
        assert pairs.dst.tolist() == [1, 2, 3]


def test_the_radius_itself_is_outside():
    a = PointSet({}, torch.zeros(1, dtype=torch.int64), torch.zeros(1, 2))
    b = PointSet({}, torch.zeros(2, dtype=torch.int64), torch.tensor([[3.0, 4.0], [3.0, 3.99]]))
    assert match_by_distance(a, b, radius=5, normaliser=None).dst.tolist() == [1]


def test_anisotropic_divides_by_the_extent_of_the_source(make_map):
    span = torch.tensor([[100.0, 40.0]])
    a = make_map([(0, 0, 30, 30)], span=span)
    b = make_map([(5, 2, 50, 40)], span=span)
    scale = (1 / span).double().numpy()
    for search in SEARCHES:
        got = match_by_distance(a, b, radius=0.6, metric="anisotropic", search=search)
        assert as_list(got) == oracle(a, b, 0.6, scale=scale)
    assert as_list(got) != as_list(match_by_distance(a, b, radius=0.6))


def test_samples_without_rows_or_valid_rows_are_empty(make_map, ragged):
    a = ragged()
    none = a.select(torch.zeros(len(a), dtype=torch.bool))
    assert len(match_by_distance(a, none, radius=9)) == 0
    assert len(match_by_distance(none, a, radius=9)) == 0
    crop = make_map([FULL])
    hidden = make_map([FULL], valid=torch.zeros(1, 56, 56, dtype=torch.bool))
    for search in SEARCHES:
        assert len(match_by_distance(crop, hidden, radius=0.7, search=search)) == 0
        assert len(match_by_distance(hidden, crop, radius=0.7, search=search)) == 0


def test_coordinates_that_are_nan_never_match(make_map):
    crop = make_map([FULL])
    coord = crop.coord.clone()
    coord[10] = torch.nan
    coord[11] = torch.inf
    broken = replace(crop, coord=coord, grid=None)
    expected = [(i, i) for i in range(49) if i not in (10, 11)]
    for search in ("tree", "hash", "all"):
        assert as_list(match_by_distance(broken, crop, radius=0.7, search=search)) == expected
        assert as_list(match_by_distance(crop, broken, radius=0.7, search=search)) == expected
    assert as_list(match_by_distance(broken, crop, radius=0.7, search="grid")) == expected


def test_a_dense_map_pairs_like_the_affine_it_samples(make_map):
    box = (4.0, 6.0, 39.0, 55.0)
    affine = Affine.from_crop(box, (56, 56))
    y, x = torch.meshgrid(torch.arange(56) + 0.5, torch.arange(56) + 0.5, indexing="ij")
    field = affine.to_canonical(torch.stack([x, y], -1)).unsqueeze(0)
    dense = PointSet.from_map(
        {"f": torch.zeros(1, 1, 7, 7)}, geometry=DenseMap(field), size=(56, 56)
    )
    full = make_map([FULL])
    expected = as_list(match_by_distance(full, make_map([box]), radius=0.7))
    assert as_list(match_by_distance(full, dense, radius=0.7)) == expected


def test_blocks_do_not_change_the_result(make_map, monkeypatch):
    a, b = make_map([FULL, (3, 3, 30, 40)]), make_map([(10, 10, 50, 50), FULL])
    searches = ("grid", "hash", "all")
    expected = [as_list(match_by_distance(a, b, radius=1.2, search=s)) for s in searches]
    monkeypatch.setattr(module, "BLOCK", 5)
    got = [as_list(match_by_distance(a, b, radius=1.2, search=s)) for s in searches]
    assert got == expected
    assert got[0] == got[1]


def test_auto_uses_the_tree_for_large_lists(make_map, shuffled, monkeypatch):
    a, b = make_map([FULL]), shuffled(make_map([FULL], flips=[True]))[0]
    expected = as_list(match_by_distance(a, b, radius=0.7))
    monkeypatch.setattr(module, "SMALL", 10)
    monkeypatch.setattr(module, "in_sample", None)
    assert as_list(match_by_distance(a, b, radius=0.7)) == expected


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"frame": ("scan", "m")}, {}, "frames"),
        ({"coord": None}, {}, "no coord"),
        ({"cell": None}, {}, "no cell"),
        ({"num_samples": 2}, {}, "num_samples differ"),
        ({}, {"radius": 0.0}, "positive"),
        ({}, {"k": 0}, "positive"),
        ({}, {"normaliser": "pixel"}, "normaliser"),
        ({}, {"metric": "manhattan"}, "metric"),
        ({}, {"metric": "anisotropic"}, "span"),
        ({}, {"search": "octree"}, "search"),
        ({"grid": None}, {"search": "grid"}, "complete map"),
    ],
)
def test_wrong_input_is_named(make_map, change, options, message):
    crop = make_map([FULL])
    with pytest.raises(ValueError, match=message):
        match_by_distance(crop, replace(crop, **change), **{"radius": 0.7, **options})
