from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.errors import UsageError
from pointcl.transfer.clouds import LabelledScans
from pointcl.transfer.evaluation import evaluate, predict_scans

VOXELS = {
    "size": 0.5,
    "kind": "cartesian",
    "low": None,
    "high": None,
    "features": ["xyz"],
    "representative": "first",
}


def by_height(batch):
    """A wrong rule, per point: everything above 1.5 m is high, the rest low."""
    return torch.where(batch.cloud.points[:, 2] > 1.5, 2, 0)


def counted_by_loops(scans, rule, num_classes):
    """IoU per class and per-scan accuracy, point by point."""
    hit, union = np.zeros(num_classes), np.zeros(num_classes)
    accuracy = []
    for k in range(len(scans)):
        scan, right, seen = scans[k], 0, 0
        for point, label in zip(scan.points, scan.label, strict=True):
            if label == 255:
                continue
            answer = rule(point)
            seen += 1
            right += answer == label
            if answer == label:
                hit[label] += 1
                union[label] += 1
            else:
                union[label] += 1
                union[answer] += 1
        accuracy.append(right / seen)
    return hit / np.maximum(union, 1), accuracy


@pytest.mark.parametrize("batch", [1, 3])
def test_scores_are_those_of_a_count_point_by_point(layers, batch):
    scans = LabelledScans(layers(3, seed=5))
    options = {"voxels": VOXELS, "fallback": 1, "batch": batch}
    found = evaluate(by_height, scans, num_classes=4, **options)

    def rule(point):
        return 1 if np.isnan(point).any() else (2 if point[2] > 1.5 else 0)

    iou, accuracy = counted_by_loops(scans, rule, 4)
    assert found["iou"][:3] == pytest.approx(iou[:3].tolist())
    # a class that never occurs has no score: neither 0 nor 1, and the mean leaves it out
    assert found["iou"][3] is None
    assert found["miou"] == pytest.approx(iou[:3].mean())
    assert list(found["items"]) == [scans.name(k) for k in range(3)]
    each = [found["items"][scans.name(k)]["accuracy"] for k in range(3)]
    assert each == pytest.approx(accuracy)
    assert sum(map(sum, found["confusion"])) == sum((scans[k].label != 255).sum() for k in range(3))


def test_every_raw_point_is_answered_in_the_order_of_the_scan(layers):
    scans = LabelledScans(layers(2))
    one = predict_scans(by_height, scans, voxels=VOXELS, fallback=3)
    both = predict_scans(by_height, scans, voxels=VOXELS, fallback=3, batch=2)
    for k, (alone, together) in enumerate(zip(one, both, strict=True)):
        assert len(alone) == len(scans[k])
        assert alone[0] == 3
        np.testing.assert_array_equal(alone[1:], np.where(scans[k].points[1:, 2] > 1.5, 2, 0))
        np.testing.assert_array_equal(alone, together)


def test_scans_without_labels_are_refused_by_name(layers):
    with pytest.raises(UsageError, match="0/001 carries no labels"):
        LabelledScans(layers(2, labelled=False))[1]
    with pytest.raises(UsageError, match="no labelled scan"):
        LabelledScans(layers(2), [])


def test_a_data_set_without_one_labelled_point_is_refused(layers, monkeypatch):
    scans = LabelledScans(layers(1))
    scans[0].label[:] = 255
    with pytest.raises(UsageError, match="no labelled point"):
        evaluate(by_height, scans, num_classes=4, voxels=VOXELS, fallback=0)
