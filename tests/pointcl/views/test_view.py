from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch

from pointcl.sparse import SparseTensor, VoxelGrid, voxelise
from pointcl.views import CloudBatch, CloudViewGenerator, collate_clouds

RECIPE = {"centre": True, "axis": "any", "angle": 180.0, "jitter": 0.02, "point_dropout": (0, 0.5)}


@pytest.fixture
def views(make_scan):
    """One view of four clouds, the third one empty."""
    made = [
        CloudViewGenerator(RECIPE, 1)(make_scan(k, n=60 + 50 * k, source=10 + k), 0)[0]
        for k in range(4)
    ]
    made[2] = CloudViewGenerator(RECIPE, 1, range=(500.0, 600.0))(make_scan(2, source=12), 0)[0]
    return made


def test_clouds_are_joined_and_never_padded(views):
    batch = CloudBatch.collate(views)
    assert len(batch) == 4
    assert batch.counts == tuple(len(view) for view in views)
    assert batch.counts[2] == 0
    assert len(batch.points) == sum(batch.counts)
    assert batch.source.tolist() == [10, 11, 12, 13]
    expected = [b for b, view in enumerate(views) for _ in range(len(view))]
    assert batch.sample.tolist() == expected
    for b, view in enumerate(views):
        rows = batch.sample == b
        assert torch.equal(batch.clouds[b], view.points)
        assert torch.equal(batch.rows_of("normal")[b], view.fields["normal"])
        assert torch.equal(batch.index[rows], view.index)
        assert torch.equal(batch.label[rows], view.label)
        assert torch.equal(batch.regions["segment"][rows], view.regions["segment"])
        assert (batch.canonical()[rows] - view.canonical()).abs().sum() < 1e-3


def test_a_view_without_jitter_beside_one_with(views, make_scan):
    plain = CloudViewGenerator(RECIPE, 1, jitter=0.0)(make_scan(4, source=14), 0)[0]
    batch = CloudBatch.collate([views[0], plain])
    assert torch.allclose(batch.canonical()[batch.sample == 1], plain.canonical(), atol=1e-4)
    assert torch.equal(batch.rigid[batch.sample == 1], plain.points)


def test_batches_survive_pickling_and_moving(views):
    batch = CloudBatch.collate(views)
    for other in (pickle.loads(pickle.dumps(batch)), batch.to("cpu")):
        assert torch.equal(other.canonical(), batch.canonical())
        assert other.names == batch.names
    meta = batch.to("meta")
    assert {meta.points.device.type, meta.rigid.device.type, meta.label.device.type} == {"meta"}
    assert meta.geometry.matrix.device.type == "meta"
    assert all(value.device.type == "meta" for value in meta.fields.values())
    assert all(value.device.type == "meta" for value in meta.regions.values())


def test_slots_are_batched_apart(make_scan):
    items = [CloudViewGenerator("csc", 3)(make_scan(k, source=k), 0) for k in range(2)]
    batches = collate_clouds(items)
    assert [len(batch) for batch in batches] == [2, 2, 2]
    for number, batch in enumerate(batches):
        assert torch.equal(batch.clouds[1], items[1][number].points)


def test_rows_of_points_are_canonical(views):
    batch = CloudBatch.collate(views)
    points = batch.to_point_set()
    assert torch.equal(points.coord, batch.canonical())
    assert points.num_samples == 4
    assert points.frame == ("scan", "m")
    assert torch.equal(points.source, batch.source[batch.sample])
    assert torch.equal(points.index, batch.index)
    assert set(points.fields) == {"intensity", "colour", "normal"}
    assert set(points.regions) == {"segment", "instance"}


def test_rows_of_voxels_are_read_at_their_representatives(views, make_scan):
    batch = CloudBatch.collate(views)
    voxels = voxelise(batch.clouds, VoxelGrid(8.0))
    rows = batch.to_point_set(
        {"f": voxels.tensor, "g": torch.rand(len(voxels.tensor.features), 2)}, voxels
    )
    assert len(rows) == len(voxels.representative)
    for n in range(len(rows)):
        b = int(voxels.tensor.sample[n])
        view, row = views[b], int(voxels.representative[n])
        assert int(rows.sample[n]) == b
        assert int(rows.index[n]) == int(view.index[row])
        assert int(rows.label[n]) == int(view.label[row])
        assert (rows.coord[n] - view.canonical()[row]).abs().max() < 1e-4


def test_voxels_of_other_clouds_are_refused(views):
    batch = CloudBatch.collate(views)
    voxels = voxelise(batch.clouds[:1], VoxelGrid(8.0))
    with pytest.raises(ValueError, match="the batch has"):
        batch.to_point_set({}, voxels)
    with pytest.raises(ValueError, match="its voxels are needed"):
        batch.to_point_set({"f": voxels.tensor})
    other = voxelise(batch.clouds, VoxelGrid(3.0))
    tensor = voxelise(batch.clouds, VoxelGrid(8.0)).tensor
    assert isinstance(tensor, SparseTensor)
    with pytest.raises(ValueError):
        batch.to_point_set({"f": tensor}, other)


@pytest.mark.parametrize(
    "change",
    [{"frame": ("world", "m")}, {"fields": {}}, {"regions": {}}, {"label": None}],
)
def test_views_that_do_not_fit_are_refused(views, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        CloudBatch.collate([views[0], replace(views[1], **change)])


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="empty list"):
        CloudBatch.collate([])
