from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from densecl.errors import UsageError
from pointcl.models import point_features
from pointcl.transfer.clouds import LabelledScans, whole_scans
from pointcl.transfer.initialisation import random_backbone
from pointcl.transfer.probe import point_scores, training_rows

UNET = {"type": "MinkUNet", "depth": 14, "width": 4, "in_channels": 4}


def test_the_probe_solves_the_regression_that_scikit_learn_solves(layers, tiny_probe):
    linear_model = pytest.importorskip("sklearn.linear_model")
    scans = LabelledScans(layers(2, seed=1))
    spec = replace(tiny_probe, decay=1e-2, iterations=300, num_classes=3)
    _, probed = spec.run(None, scans, scans, seed=0, device="cpu")
    rows, labels = training_rows(probed.backbone, scans, spec, 0)
    rows = (rows - probed.readout.mean) / probed.readout.std
    other = linear_model.LogisticRegression(C=1 / (1e-2 * len(rows)), max_iter=2000, tol=1e-8)
    other.fit(rows.numpy(), labels.numpy())
    ours = torch.softmax(rows @ probed.readout.weight.T + probed.readout.bias, 1)
    np.testing.assert_allclose(ours.numpy(), other.predict_proba(rows.numpy()), atol=2e-3)


def test_a_function_of_height_is_read_off_the_input_and_shuffled_labels_are_not(layers, tiny_probe):
    judged = LabelledScans(layers(3, seed=2))
    result, _ = tiny_probe.run(None, LabelledScans(layers(3, seed=1)), judged, seed=0, device="cpu")
    assert result["miou"] > 0.7
    shuffled = LabelledScans(layers(3, seed=1, shuffled=True))
    chance, _ = tiny_probe.run(None, shuffled, judged, seed=0, device="cpu")
    assert chance["miou"] < 0.35
    assert result["iou"][3] is None


def test_scores_are_those_of_the_map_on_features_of_all_levels(layers, tiny_probe):
    spec = replace(tiny_probe, backbone=UNET, strides=None, mode="trilinear", iterations=5)
    scans = LabelledScans(layers(2, seed=1))
    _, probed = spec.run(None, scans, scans, seed=0, device="cpu")
    _, batch = next(whole_scans(scans, spec.voxels, 2))
    with torch.no_grad():
        maps = probed.backbone(batch.voxels.tensor)
        where = batch.voxels.grid.positions(batch.cloud.points)
        rows = point_features(maps, where, batch.cloud.sample)
    readout = probed.readout
    assert rows.shape[1] == sum(probed.backbone.channels.values()) == readout.weight.shape[1]
    wanted = (rows - readout.mean) / readout.std @ readout.weight.T + readout.bias
    torch.testing.assert_close(
        point_scores(probed, batch, spec).double(), wanted.double(), atol=1e-3, rtol=1e-3
    )


def test_the_backbone_stays_as_it_is_and_its_statistics_too(layers, tiny_probe):
    spec = replace(tiny_probe, backbone=UNET, strides=None, iterations=2)
    scans = LabelledScans(layers(2))
    state = random_backbone(UNET, 3).state_dict()
    _, probed = spec.run(state, scans, scans, seed=0, device="cpu")
    for name, value in probed.backbone.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_points_are_drawn_by_seed_and_bounded(layers, tiny_probe):
    scans = LabelledScans(layers(4))
    backbone = random_backbone(tiny_probe.backbone, 0)

    def rows(seed, **changes):
        return training_rows(backbone, scans, replace(tiny_probe, **changes), seed)[0]

    assert len(rows(0, points=50)) == 200
    assert len(rows(0, points=50, max_points=80)) == 80
    assert torch.equal(rows(0, points=50), rows(0, points=50))
    assert not torch.equal(rows(0, points=50), rows(1, points=50))


def test_a_probe_is_restored_from_the_map_alone(layers, tiny_probe):
    scans = LabelledScans(layers(2))
    result, probed = tiny_probe.run(None, scans, scans, seed=1, device="cpu")
    assert set(probed.state_dict()) == {"weight", "bias", "mean", "std"}
    again = tiny_probe.restore(probed.state_dict(), None, seed=1, device="cpu")
    assert tiny_probe.score(again, scans, "cpu")["confusion"] == result["confusion"]
    assert tiny_probe.at(0.5, 9).decay == 0.5
    assert tiny_probe.steps == 0


def test_no_labelled_point_is_refused(layers, tiny_probe):
    scans = LabelledScans(layers(1))
    scans[0].label[:] = 255
    with pytest.raises(UsageError, match="no labelled point"):
        tiny_probe.run(None, scans, scans, seed=0, device="cpu")
