"""Retrieval on scans, against a loop over all points and rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from densecl.diagnostics.segmentation_metrics import confusion_matrix
from densecl.errors import UsageError
from densecl.transfer.study import RowSpec
from pointcl.models import point_features
from pointcl.transfer.clouds import LabelledScans, whole_scans
from pointcl.transfer.of_scans import SCANS
from pointcl.transfer.probe import FrozenSpec, training_rows
from pointcl.transfer.retrieval import QUERIES, RetrievalSpec
from pointcl.transfer.showcase import row_predictions

UNET = {"type": "MinkUNet", "depth": 14, "width": 4, "in_channels": 4}
INPUT = {"type": "Pointwise", "in_channels": 4, "width": None}


@pytest.fixture
def spec(tiny_probe):
    return RetrievalSpec(
        backbone=dict(INPUT),
        voxels=tiny_probe.voxels,
        num_classes=4,
        mode="nearest",
        k=5,
        memory=300,
        dtype="float32",
        standardise=True,
    )


def loop(spec, retrieved, scans, reading):
    """Votes for each class and each point of the scans, one point after the other, in float64.

    And how much nearer the last neighbour that votes is than the first that does not.
    """
    bank, labels = training_rows(retrieved.backbone, scans, reading, 0)
    bank = bank.double()
    mean, std = torch.zeros(bank.shape[1]), torch.ones(bank.shape[1])
    if spec.standardise:
        mean, std = bank.mean(0), bank.std(0, correction=0)
        std = torch.where(std > 1e-6 * std.max(), std, 1.0)
    bank = ((bank - mean) / std).numpy()
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    found, gaps = [], []
    for _, batch in whole_scans(scans, spec.voxels, 1):
        with torch.no_grad():
            maps = retrieved.backbone(batch.voxels.tensor)
            where = batch.voxels.grid.positions(batch.cloud.points)
            rows = point_features(maps, where, batch.cloud.sample, spec.strides, spec.mode).double()
        for row in ((rows - mean) / std).numpy():
            cosine = bank @ row / np.linalg.norm(row)
            order = np.argsort(-cosine, kind="stable")
            nearest, gap = order[: spec.k], cosine[order[spec.k - 1]] - cosine[order[spec.k]]
            weight = np.exp((cosine[nearest] - cosine[nearest[0]]) / spec.temperature)
            votes = np.zeros(spec.num_classes)
            np.add.at(votes, labels.numpy()[nearest], weight)
            found.append(votes)
            gaps.append(gap)
    return np.array(found), np.array(gaps)


@pytest.mark.parametrize("backbone", [INPUT, UNET])
@pytest.mark.parametrize("standardise", [True, False])
def test_classes_are_those_of_the_loop(layers, spec, backbone, standardise):
    spec = replace(spec, backbone=backbone, standardise=standardise, mode="trilinear")
    scans = LabelledScans(layers(2, seed=1))
    _, retrieved = spec.run(None, scans, scans, seed=0, device="cpu")
    reading = FrozenSpec(
        spec.backbone, spec.voxels, 4, mode=spec.mode, points=spec.memory, max_points=spec.memory
    )
    votes, gap = loop(spec, retrieved, scans, reading)
    found = torch.cat([spec.predict(retrieved, b) for _, b in whole_scans(scans, spec.voxels)])
    best = np.sort(votes, 1)
    clear = (best[:, -1] - best[:, -2] > 1e-3 * best[:, -1]) & (gap > 1e-6)  # for float32
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found.numpy()[clear], votes.argmax(1)[clear])
    assert len(np.unique(found)) == 3


def test_height_is_found_by_position_and_shuffled_labels_are_not(layers, spec):
    judged = LabelledScans(layers(3, seed=2))
    spec = replace(spec, memory=700)
    result, retrieved = spec.run(
        None, LabelledScans(layers(3, seed=1)), judged, seed=0, device="cpu"
    )
    assert result["miou"] > 0.5
    assert result["iou"][3] is None  # a class that nobody has
    assert set(result["items"]) == {judged.name(i) for i in range(3)}
    assert {"seconds", "feature_difference", "diverged", "confusion"} <= set(result)
    shuffled = LabelledScans(layers(3, seed=1, shuffled=True))
    chance, _ = spec.run(None, shuffled, judged, seed=0, device="cpu")
    assert chance["miou"] < 0.35
    again = spec.restore(retrieved.state_dict(), None, seed=0, device="cpu")
    assert spec.score(again, judged, "cpu")["confusion"] == result["confusion"]


def test_the_memory_is_bounded_and_has_no_ignored_point(layers, spec):
    scans = LabelledScans(layers(3, seed=1))
    _, retrieved = replace(spec, memory=100).run(None, scans, scans, seed=0, device="cpu")
    bank = retrieved.bank.state_dict()
    assert len(bank["features"]) == 99  # 33 of each scan
    assert bank["labels"].sum(1).tolist() == [1.0] * 99
    torch.testing.assert_close(bank["features"].norm(dim=1), torch.ones(99))
    _, other = replace(spec, memory=100).run(None, scans, scans, seed=1, device="cpu")
    assert not torch.equal(other.bank.features.tensor, bank["features"])


def test_half_precision_changes_little(layers, spec):
    scans = LabelledScans(layers(2, seed=1))
    full, _ = spec.run(None, scans, scans, seed=0, device="cpu")
    half, kept = replace(spec, dtype="float16").run(None, scans, scans, seed=0, device="cpu")
    assert kept.bank.features.tensor.dtype == torch.float16
    assert abs(full["miou"] - half["miou"]) < 0.05


def test_fewer_rows_than_neighbours_vote_as_a_whole(layers, spec):
    scans = LabelledScans(layers(1, seed=1))
    spec = replace(spec, memory=2, k=30)
    result, retrieved = spec.run(None, scans, scans, seed=0, device="cpu")
    assert len(retrieved.bank) == 2
    assert 0 <= result["miou"] <= 1


def test_a_cloud_of_more_points_than_are_looked_up_together(layers, spec):
    scans = LabelledScans(layers(1, seed=1, count=QUERIES + 50))
    _, retrieved = spec.run(None, scans, scans, seed=0, device="cpu")
    _, batch = next(whole_scans(scans, spec.voxels))
    found = spec.predict(retrieved, batch)
    assert len(found) == len(batch.cloud.points) > QUERIES
    # a voxel's points have its features, whichever part they were looked up in
    voxel = batch.voxels.point_to_voxel
    for row in voxel[-20:].unique():
        assert len(found[voxel == row].unique()) == 1


def test_scans_without_labels_are_refused(layers, spec):
    with pytest.raises(UsageError, match="no labels"):
        spec.run(
            None, LabelledScans(layers(1, labelled=False)), LabelledScans(layers(1)),
            seed=0, device="cpu",
        )  # fmt: skip


def test_a_kept_run_predicts_as_it_was_scored(layers, spec, tmp_path):
    scans = LabelledScans(layers(2, seed=1))
    result, retrieved = spec.run(None, scans, scans, seed=0, device="cpu")
    torch.save(retrieved.state_dict(), tmp_path / "run.pth")
    found = row_predictions(RowSpec("random"), spec, tmp_path / "run.pth", 0, scans)
    counts = sum(confusion_matrix(found[k], scans[k].label, 4, 255) for k in range(2))
    assert counts.tolist() == result["confusion"]
    # a point without a return gets the class that most rows have
    assert np.isnan(scans[0].points[0]).all()
    most = retrieved.bank.labels.tensor.sum(0).argmax()
    assert found[0][0] == found[1][0] == retrieved.commonest == int(most)


def test_protocol_files_know_the_section():
    assert SCANS.runs["retrieval"].settings() is RetrievalSpec
    known = SCANS.runs["retrieval"].fields()
    assert known == {
        "strides", "mode", "k", "temperature", "memory", "dtype", "standardise", "ignore"
    }  # fmt: skip
    assert SCANS.runs["retrieval"].rate == ""


def test_coordinates_alone_are_a_row_of_the_table(spec, layers):
    row = SCANS.control("points", replace(spec, standardise=False), layers(1))
    assert row.task.backbone["width"] is None
    assert row.task.standardise
    assert list(row.task.voxels["features"]) == ["xyz", "intensity"]
