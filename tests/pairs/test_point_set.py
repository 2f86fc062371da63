from __future__ import annotations

import pytest
import torch

from densecl.pairs import PointSet, SoftRegions
from densecl.views.geometry import Affine, DenseMap
from densecl.views.view import View, ViewBatch


def points(n=6, **options) -> PointSet:
    options.setdefault("sample", torch.arange(n) // 2)
    return PointSet(fields={"f": torch.randn(n, 3)}, **options)


def test_row_of_a_map_is_b_h_w_plus_i_w_plus_j():
    x = torch.randn(2, 3, 4, 5)
    rows = PointSet.from_map({"f": x}, geometry=None, size=(8, 10))
    for b, i, j in [(0, 0, 0), (0, 1, 2), (1, 3, 4)]:
        row = b * 20 + i * 5 + j
        assert torch.equal(rows.fields["f"][row], x[b, :, i, j])
        assert rows.sample[row] == b
        assert rows.coord[row].tolist() == [(j + 0.5) * 2, (i + 0.5) * 2]


def test_to_map_undoes_from_map():
    x = torch.randn(2, 3, 4, 5)
    rows = PointSet.from_map({"f": x}, geometry=None, size=(8, 10))
    assert torch.equal(rows.to_map("f"), x)
    assert torch.equal(rows.to_map(rows.sample)[1], torch.ones(4, 5, dtype=torch.int64))
    volume = torch.randn(2, 3, 2, 4, 5)
    rows = PointSet.from_map({"f": volume}, geometry=None, size=(4, 8, 10))
    assert torch.equal(rows.to_map("f"), volume)
    assert rows.coord[-1].tolist() == [9.0, 7.0, 3.0]


def test_gradient_reaches_the_map():
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    rows = PointSet.from_map({"f": x}, geometry=None, size=(8, 10))
    (rows.fields["f"] * torch.arange(40.0).unsqueeze(1)).sum().backward()
    assert torch.equal(x.grad[:, 1].reshape(-1), torch.arange(40.0))


def test_cells_of_a_flipped_crop(make_map):
    crop = make_map([(10, 20, 38, 76)], flips=[True])
    step_x, step_y = 28 / 7, 56 / 7
    assert torch.allclose(crop.coord[0], torch.tensor([38 - step_x / 2, 20 + step_y / 2]))
    assert torch.allclose(crop.cell[0], torch.tensor([[-step_x, 0], [0, step_y]]))


def test_edges_of_sheared_cells_lead_to_the_next_cells():
    geometry = Affine(torch.tensor([[[1.0, 0.5, 3.0], [-0.25, 2.0, 1.0]]]))
    rows = PointSet.from_map({"f": torch.zeros(1, 1, 3, 4)}, geometry=geometry, size=(6, 12))
    right, below = rows.coord[1] - rows.coord[0], rows.coord[4] - rows.coord[0]
    assert torch.allclose(rows.cell, torch.stack([right, below]).expand(12, 2, 2))
    assert right.tolist() == [3.0, -0.75]


def test_dense_map_of_an_affine_gives_its_cells(make_map):
    crop = make_map([(10, 20, 38, 76)], flips=[True])
    y, x = torch.meshgrid(torch.arange(56) + 0.5, torch.arange(56) + 0.5, indexing="ij")
    affine = Affine.from_crop((10, 20, 38, 76), (56, 56), hflip=True)
    field = affine.to_canonical(torch.stack([x, y], -1))
    other = PointSet.from_map(
        {"f": torch.zeros(1, 1, 7, 7)}, geometry=DenseMap(field.unsqueeze(0)), size=(56, 56)
    )
    # one float32 rounding of coordinates up to 76 each way
    assert torch.allclose(other.coord, crop.coord, atol=5e-5)
    assert torch.allclose(other.cell, crop.cell, atol=5e-4)
    assert other.grid.matrix is None


def test_maps_become_label_and_regions():
    label = torch.arange(16).reshape(1, 4, 4)
    rows = PointSet.from_map(
        {"f": torch.zeros(1, 1, 2, 2)},
        geometry=None,
        size=(4, 4),
        maps={"label": label, "instance": label + 100},
        valid=label < 10,
        source=torch.tensor([7]),
    )
    assert rows.label.tolist() == [5, 7, 13, 15]
    assert rows.regions["instance"].tolist() == [105, 107, 113, 115]
    assert rows.valid.tolist() == [True, True, False, False]
    assert rows.source.tolist() == [7] * 4


def batch(frames=(0, 0)) -> ViewBatch:
    views = [
        View(
            image=torch.zeros(3, 8, 8, dtype=torch.uint8),
            geometry=Affine.from_crop((s, 0, s + 16, 16), (8, 8)),
            source=40 + s,
            source_size=(30, 20 + s),
            frame=frame,
            maps={"label": torch.full((8, 8), s)},
        )
        for s, frame in enumerate(frames)
    ]
    return ViewBatch.collate(views)


def test_from_view_takes_everything_from_the_view():
    rows = PointSet.from_view({"f": torch.zeros(2, 3, 2, 2)}, batch())
    assert rows.coord[0].tolist() == [4.0, 4.0]
    assert rows.coord[4].tolist() == [5.0, 4.0]
    assert rows.source.tolist() == [40] * 4 + [41] * 4
    assert rows.label.tolist() == [0] * 4 + [1] * 4
    assert rows.span.tolist() == [[20.0, 30.0], [21.0, 30.0]]
    assert rows.frame == ("image", "px")


def test_frames_of_a_clip_are_different_frames():
    assert PointSet.from_view({"f": torch.zeros(2, 3, 2, 2)}, batch((1, 1))).frame == (
        "image@1",
        "px",
    )
    with pytest.raises(ValueError, match="frames"):
        PointSet.from_view({"f": torch.zeros(2, 3, 2, 2)}, batch((0, 1)))


def test_select_takes_every_attribute(ragged):
    rows = ragged()
    index = torch.tensor([3, 0, 3])
    some = rows.select(index)
    for name in ("sample", "coord", "cell", "valid", "source", "index", "label"):
        assert torch.equal(getattr(some, name), getattr(rows, name)[index])
    assert torch.equal(some.regions["tree"], rows.regions["tree"][index])
    assert some.num_samples == rows.num_samples
    assert len(rows.select(rows.valid)) == int(rows.valid.sum())
    assert len(rows.select(torch.zeros(len(rows), dtype=torch.bool))) == 0


def test_select_renumbers_soft_regions():
    soft = SoftRegions(
        torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2]), torch.tensor([0.3, 0.7, 1.0, 0.5])
    )
    rows = points(3, sample=torch.zeros(3, dtype=torch.int64), regions={"r": soft})
    got = rows.select(torch.tensor([2, 0, 0])).regions["r"]
    columns = got.row.tolist(), got.region.tolist(), got.weight.tolist()
    entries = sorted(zip(*columns, strict=True))
    expected = [(0, 2, 0.5), (1, 0, 0.3), (1, 1, 0.7), (2, 0, 0.3), (2, 1, 0.7)]
    assert [e[:2] for e in entries] == [e[:2] for e in expected]
    assert torch.allclose(
        torch.tensor([e[2] for e in entries]), torch.tensor([e[2] for e in expected])
    )


def test_cat_numbers_samples_on_or_keeps_them(ragged):
    a, b = ragged(0), ragged(1, n=7)
    on, keep = PointSet.cat([a, b]), PointSet.cat([a, b], same_samples=True)
    assert on.num_samples == 8
    assert keep.num_samples == 4
    assert torch.equal(on.sample, torch.cat([a.sample, b.sample + 4]))
    assert torch.equal(keep.sample, torch.cat([a.sample, b.sample]))
    assert torch.equal(on.coord[40:], b.coord)
    assert torch.equal(on.select(torch.arange(40)).regions["region"], a.regions["region"])


def test_cat_moves_the_rows_of_soft_regions():
    soft = SoftRegions(torch.tensor([1]), torch.tensor([5]), torch.tensor([0.5]))
    rows = points(3, sample=torch.zeros(3, dtype=torch.int64), regions={"r": soft})
    assert PointSet.cat([rows, rows]).regions["r"].row.tolist() == [1, 4]


def test_cat_refuses_what_does_not_fit(ragged):
    a = ragged()
    with pytest.raises(ValueError, match="frames"):
        PointSet.cat([a, PointSet(**{**a.__dict__, "frame": ("scan", "m")})])
    with pytest.raises(ValueError, match="label"):
        PointSet.cat([a, PointSet(**{**a.__dict__, "label": None})])
    with pytest.raises(ValueError, match="fields differ"):
        PointSet.cat([a, a.with_fields(g=torch.zeros(40, 1))])


def test_only_a_complete_map_becomes_a_map(make_map):
    rows = make_map([(0, 0, 8, 8)])
    with pytest.raises(ValueError, match="from_map"):
        rows.select(torch.arange(49)).to_map("f")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("coord", torch.zeros(5, 2), r"coord \(5, 2\).*sample \(6,\)"),
        ("coord", torch.zeros(6, 2, dtype=torch.int64), "coord must be a float"),
        ("label", torch.zeros(6), "label must be int64"),
        ("source", torch.zeros(5, dtype=torch.int64), r"source \(5,\).*sample \(6,\)"),
        ("valid", torch.zeros(6), "valid"),
        ("cell", torch.zeros(6, 2), "cell must be a float tensor with 3"),
        ("regions", {"r": torch.zeros(7, dtype=torch.int64)}, r"regions\['r'\] \(7,\)"),
        ("num_samples", 2, "sample must be < num_samples = 2, got 2"),
        ("sample", torch.zeros(6, dtype=torch.int32), "sample must be int64"),
        ("sample", torch.zeros(4, dtype=torch.int64), r"fields\['f'\] \(6, 3\).*sample \(4,\)"),
        ("span", torch.zeros(2, 2), "span"),
    ],
)
def test_wrong_attributes_are_named(name, value, message):
    with pytest.raises(ValueError, match=message):
        points(**{name: value})


def test_from_map_refuses_two_grids():
    with pytest.raises(ValueError, match="one grid"):
        PointSet.from_map(
            {"a": torch.zeros(1, 1, 2, 2), "b": torch.zeros(1, 1, 2, 3)}, geometry=None, size=(4, 4)
        )


def test_empty_sets_are_legal(ragged):
    none = ragged().select(torch.zeros(40, dtype=torch.bool))
    assert len(PointSet.cat([none, none])) == 0
    assert len(PointSet(fields={}, sample=torch.zeros(0, dtype=torch.int64))) == 0


def test_to_moves_every_tensor(make_map, ragged):
    for rows in (make_map([(0, 0, 8, 8)], span=torch.ones(1, 2)), ragged()):
        moved = rows.to("meta")
        tensors = [moved.sample, moved.coord, moved.cell, *moved.fields.values()]
        tensors += [moved.source, *moved.regions.values()]
        if moved.grid is not None:
            tensors += [moved.grid.matrix, moved.span]
        assert {tensor.device.type for tensor in tensors} == {"meta"}
