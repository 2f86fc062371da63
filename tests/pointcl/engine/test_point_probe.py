"""The probe of a run on points, against the same one by hand, and what it must not disturb."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from point_worlds import UNET, Rooms, config

from densecl.engine.config import load_config
from densecl.engine.hooks.scalars import read_scalars
from densecl.engine.runner import pretrain
from densecl.errors import UsageError
from pointcl.engine.domain import POINTS
from pointcl.engine.probe import labelled_points
from pointcl.models import build_backbone
from pointcl.sparse import VoxelGrid, slice_to_points, voxelise
from pointcl.transfer.controls import Pointwise
from pointcl.weights import load_backbone

PROBE = {
    "every": 2,
    "data": {"type": "Rooms", "length": 6},
    "val": {"type": "Rooms", "length": 9},
    "scans": 3,
    "val_scans": 2,
    "points": 100,
}


def run(folder, **changes):
    return pretrain(config(**changes), work_dir=folder, domain=POINTS)


def state_of(path):
    state = torch.load(path, weights_only=True)
    return {**state["method"], "rng": state["rng"]["torch"]}


def test_weights_statistics_and_generators_do_not_notice_the_probe(tmp_path):
    a = state_of(run(tmp_path / "a", probe=PROBE).checkpoint)
    b = state_of(run(tmp_path / "b").checkpoint)
    assert [name for name in b if not torch.equal(a[name], b[name])] == []


def test_the_logged_scores_are_those_of_a_probe_by_hand(tmp_path):
    result = run(tmp_path, probe={**PROBE, "points": 10_000, "ridge": 0.01})
    lines = [line for line in read_scalars(tmp_path) if "probe_miou" in line]
    assert [line["step"] for line in lines] == [2, 4, 6]
    backbone = load_backbone(result.checkpoint)
    train = by_hand(backbone, Rooms(length=6), [0, 2, 5])  # 0, 2.5, 5 rounded to even
    val = by_hand(backbone, Rooms(length=9), [0, 8])
    x, y = train
    mean, std = x.mean(0), x.std(0)
    std[std < 1e-6 * std.max()] = 1.0  # channels that are always 0
    z = np.c_[(x - mean) / std, np.ones(len(x))]
    penalty = 0.01 * len(x) * np.eye(z.shape[1])
    penalty[-1, -1] = 0
    weight = np.linalg.solve(z.T @ z + penalty, z.T @ np.eye(y.max() + 1)[y])
    found = (np.c_[(val[0] - mean) / std, np.ones(len(val[0]))] @ weight).argmax(1)
    assert lines[-1]["probe_accuracy"] == pytest.approx((found == val[1]).mean(), abs=2e-3)
    iou = [
        ((found == k) & (val[1] == k)).sum() / ((found == k) | (val[1] == k)).sum()
        for k in range(4)
        if ((found == k) | (val[1] == k)).any()
    ]
    assert lines[-1]["probe_miou"] == pytest.approx(np.mean(iou), abs=2e-3)


def by_hand(backbone, rooms, chosen):
    """Features of every point, scan by scan: each map read between the centres of its voxels."""
    from pointcl.models import point_features

    rows, labels = [], []
    for k in chosen:
        scan = rooms[k]
        points = torch.from_numpy(scan.points)
        grid = VoxelGrid(0.25)
        voxels = voxelise([points], grid, [torch.ones(len(points), 1)])
        with torch.no_grad():
            maps = backbone(voxels.tensor)
            sample = torch.zeros(len(points), dtype=torch.long)
            read = point_features(maps, grid.positions(points), sample)
        rows.append(read.double().numpy())
        labels.append(scan.label)
    return np.concatenate(rows), np.concatenate(labels)


def test_a_backbone_that_passes_the_height_on_is_told_by_it():
    """A class that is a height is read off features that hold it, and by no constant."""
    settings = load_config(
        config(
            method={"backbone": {**UNET, "in_channels": 3}},
            voxels={"size": 0.02, "features": ["xyz"], "max_voxels": 5},
        ),
        domain=POINTS,
    )
    backbone = Pointwise(in_channels=3, width=None)
    features, labels = labelled_points(backbone, Rooms(length=4), 2, 50, settings, "cpu")
    assert features.shape == (100, 3)  # of whole scans, whatever max_voxels is
    scan = Rooms(length=4)[0]
    points = torch.from_numpy(scan.points)
    near = torch.cdist(features[:50], points).min(1)
    assert near.values.max() < 0.02 * 3**0.5
    assert torch.equal(torch.from_numpy(scan.label)[near.indices], labels[:50])
    again = labelled_points(backbone, Rooms(length=4), 2, 50, settings, "cpu")
    assert torch.equal(again[0], features)


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ({"every": 2}, "probe.every = 2"),
        ({**PROBE, "images": 3}, "probe.images"),
        ({**PROBE, "val": {"type": "Roms"}}, "probe.val.type"),
        ({**PROBE, "points": 0}, "probe.points"),
    ],
)
def test_a_bad_probe_is_refused_by_its_field(probe, said):
    with pytest.raises(UsageError, match=said):
        load_config(config(probe=probe), domain=POINTS)


def test_scans_without_labels_are_refused(tmp_path):
    bare = {"type": "Rooms", "bare": True}
    with pytest.raises(UsageError, match="no labels"):
        run(tmp_path, probe={**PROBE, "val": bare}, voxels={"size": 0.25})


def test_slices_agree_with_what_the_probe_reads():
    """At stride 1 and read at the nearest voxel, a point has the features of its own voxel."""
    from pointcl.models import point_features

    torch.manual_seed(0)
    points = torch.from_numpy(Rooms()[0].points)
    grid = VoxelGrid(0.25)
    voxels = voxelise([points], grid, [torch.ones(len(points), 1)])
    backbone = build_backbone(dict(UNET)).eval()
    with torch.no_grad():
        maps = backbone(voxels.tensor)
    sample = torch.zeros(len(points), dtype=torch.long)
    read = point_features(maps, grid.positions(points), sample, (1,), "nearest")
    assert torch.allclose(read, slice_to_points(maps.maps[1].features, voxels.point_to_voxel))
