"""Runs on points: resuming, workers, what a checkpoint says, the dress rehearsal."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from point_worlds import UNET, Rooms, config

import pointcl
from densecl.engine.build import build_parts
from densecl.engine.checkpoint import load_checkpoint
from densecl.engine.config import load_config
from densecl.engine.hooks.scalars import read_scalars
from densecl.engine.preflight import validate
from densecl.engine.runner import pretrain
from densecl.errors import UsageError
from pointcl.engine.domain import POINTS
from pointcl.sparse import VoxelGrid
from pointcl.views import CloudViewGenerator, Voxeliser, VoxelViews


def run(folder, resume=False, max_steps=None, **changes):
    return pretrain(
        config(**changes), work_dir=folder, domain=POINTS, resume=resume, max_steps=max_steps
    )


def state_of(path):
    state = torch.load(path, weights_only=True)
    flat = {f"method.{k}": v for k, v in state["method"].items()}
    for index, buffers in state["optimizer"]["state"].items():
        flat.update({f"optimizer.{index}.{k}": v for k, v in buffers.items()})
    return {**flat, "rng": state["rng"]["torch"]}


EVERY_DRAW = {
    "voxels": {"size": 0.4, "representative": "random", "max_voxels": 150},
    "method": {"max_pairs": 60},
    "data": {"type": "Rooms", "count": 400},
    "loader": {"batch_size": 2, "num_workers": 1},
    "train": {"accumulate": 2, "threads": 1, "device": "cpu"},
}


def test_three_steps_and_three_more_are_six_bit_for_bit(tmp_path):
    whole = run(tmp_path / "whole", **EVERY_DRAW)
    run(tmp_path / "parts", max_steps=3, **EVERY_DRAW)
    parts = run(tmp_path / "parts", resume=True, **EVERY_DRAW)
    assert whole.steps == parts.steps == 6
    one, other = state_of(whole.checkpoint), state_of(parts.checkpoint)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    losses = [[line["loss"] for line in read_scalars(tmp_path / n)] for n in ("whole", "parts")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 6


def test_another_voxel_size_is_another_run(tmp_path):
    run(tmp_path, max_steps=3)
    with pytest.raises(UsageError, match=r"voxels\.size: 0\.25 in the checkpoint, 0\.3 now"):
        run(tmp_path, resume=True, voxels={"size": 0.3})


def batches(workers, **changes):
    options = {"loader": {"batch_size": 2, "num_workers": workers}, **changes}
    parts = build_parts(load_config(config(**options), domain=POINTS), domain=POINTS)
    stream = iter(parts.loader)
    return [next(stream) for _ in range(6)]


def test_batches_do_not_depend_on_the_number_of_workers():
    voxels = {"size": 0.4, "representative": "random", "max_voxels": 120}
    for one, other in zip(batches(0, voxels=voxels), batches(2, voxels=voxels), strict=True):
        for a, b in zip(one.views, other.views, strict=True):
            assert torch.equal(a.voxels.tensor.coordinates, b.voxels.tensor.coordinates)
            assert torch.equal(a.cloud.points, b.cloud.points)
            assert torch.equal(a.cloud.index, b.cloud.index)
            assert a.cloud.names == b.cloud.names


def test_the_checkpoint_says_how_its_voxels_were_made_and_loads_as_a_backbone(tmp_path):
    voxels = {"size": [0.3, 0.3, 0.2], "features": ["intensity"], "max_voxels": 400}
    result = run(tmp_path, max_steps=1, voxels=voxels)
    content = load_checkpoint(result.checkpoint)
    meta = content["meta"]
    assert meta["method"] == "PointContrast"
    assert meta["voxels"]["size"] == [0.3, 0.3, 0.2]
    assert meta["voxels"]["features"] == ["intensity"]
    assert meta["voxels"]["kind"] == "cartesian"
    assert meta["backbone"] == UNET
    assert meta["mean"] is None  # no picture went in
    backbone = pointcl.load_backbone(result.checkpoint)
    assert backbone.meta["voxels"] == meta["voxels"]
    prefix = meta["backbone_prefix"]
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, content["method"][prefix + name])


def test_losses_and_health_are_logged_per_scan(tmp_path):
    run(tmp_path, max_steps=2)
    lines = read_scalars(tmp_path)
    assert {"loss", "loss_info_nce", "pairs_per_scan", "scans_per_second"} <= set(lines[0])
    assert "effective_rank" in lines[1]
    assert "images_per_second" not in lines[0]
    assert all(math.isfinite(line["loss"]) for line in lines)


def test_a_rehearsal_reports_and_writes_nothing(tmp_path):
    report = validate(config(), work_dir=tmp_path / "run", domain=POINTS)
    assert not list(tmp_path.iterdir())
    assert (report.samples, report.steps) == (8, 6)
    assert {"loss", "positive_similarity", "pairs_per_scan"} <= set(report.scalars)


def test_a_learning_rate_falls_by_a_factor_every_so_many_steps(tmp_path):
    schedule = {"type": "exponential", "decay": 0.5, "decay_every": 2}
    run(tmp_path, schedule=schedule, optim={"dampening": 0.1})
    rates = [line["lr"] for line in read_scalars(tmp_path)]
    assert rates == [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]
    group = torch.load(tmp_path / "last.pth", weights_only=True)["optimizer"]["param_groups"][0]
    assert group["dampening"] == 0.1


def voxel_batch(scans, **options):
    views = VoxelViews(CloudViewGenerator("pointcontrast"), Voxeliser(VoxelGrid(0.3), **options))
    return views.collate([views(scan, 0) for scan in scans])


def test_thinned_views_keep_the_same_place_and_no_more_voxels():
    dataset = Rooms(3, count=2500)
    batch = voxel_batch([dataset[i] for i in range(3)], max_voxels=100)
    whole = voxel_batch([dataset[i] for i in range(3)])
    for view, all_of_it in zip(batch.views, whole.views, strict=True):
        assert (view.voxels.tensor.sites.counts == 100).all()
        assert (all_of_it.voxels.tensor.sites.counts > 300).all()
    first, second = (view.to_point_set({}) for view in batch.views)
    for sample in range(3):
        a, b = (points.coord[points.sample == sample] for points in (first, second))
        near = torch.cdist(a, b).min(1).values < 0.45
        assert near.float().mean() > 0.7
        assert (a.mean(0) - b.mean(0)).norm() < 0.5


def test_a_random_representative_is_any_point_of_its_voxel_and_changes_with_the_epoch():
    scan = Rooms(1, count=2500)[0]
    voxeliser = Voxeliser(VoxelGrid(1.0), representative="random")
    views = VoxelViews(CloudViewGenerator("none"), voxeliser)
    picked = []
    for epoch in range(2):
        view = views.collate([views(scan, epoch)]).views[0]
        rows = view.to_point_set({}).index
        picked.append(rows)
        place = torch.floor(torch.from_numpy(scan.points)[rows].double() / 1.0)
        assert torch.equal(place.int(), view.voxels.tensor.coordinates[:, 1:])
    assert not torch.equal(*picked)
    first = VoxelViews(CloudViewGenerator("none"), Voxeliser(VoxelGrid(1.0)))
    rows = first.collate([first(scan, 0)]).views[0].to_point_set({}).index
    assert (rows <= picked[0]).all()  # the first of each voxel has the lowest row
    assert (rows < picked[0]).any()


def test_features_of_a_voxel_are_those_named_in_their_order():
    scan = Rooms(1)[0]
    view = voxel_batch([scan], features=("xyz", "ones", "intensity", "ones")).views[0]
    row = view.to_point_set({}).index
    rows = view.voxels.tensor.features
    points = view.cloud.points[torch.isin(view.cloud.index, row)]
    assert rows.shape[1] == 6
    torch.testing.assert_close(rows[:, :3].sum(0), points.sum(0), rtol=1e-4, atol=1e-2)
    assert (rows[:, [3, 5]] == 1).all()
    torch.testing.assert_close(rows[:, 4], torch.from_numpy(scan.intensity)[row])


def test_a_feature_that_a_scan_lacks_is_named_with_a_way_out():
    with pytest.raises(UsageError, match=r"room0/0 has no intensity") as caught:
        voxel_batch([Rooms(1, bare=True)[0]], features=("intensity",))
    assert "features=[ones]" in caught.value.fix


def test_bare_coordinates_are_enough(tmp_path):
    result = run(tmp_path, max_steps=2, data={"type": "Rooms", "bare": True})
    assert result.steps == 2


def test_bf16_trains_on_float32_weights(tmp_path):
    train = {"amp": "bf16", "threads": 1, "device": "cpu"}
    result = run(tmp_path, max_steps=2, train=train)
    weights = torch.load(result.checkpoint, weights_only=True)["method"]
    assert all(v.dtype in (torch.float32, torch.int64) for v in weights.values())
    assert all(math.isfinite(line["loss"]) for line in read_scalars(tmp_path))
