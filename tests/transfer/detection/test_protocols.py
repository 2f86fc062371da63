"""The shipped protocols of detection."""

from __future__ import annotations

import pytest

from densecl.transfer.detection import DetectionSpec
from densecl.transfer.protocol_file import read_protocol

INPUT = {
    "backbone": {"type": "ResNet", "depth": 18, "width": 8},
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
    "channel_order": "RGB",
}


@pytest.mark.parametrize(
    ("name", "detector"),
    [
        ("retinanet_streets-10pct", "retinanet"),
        ("fcos_streets-10pct", "fcos"),
        ("faster-rcnn_streets-10pct", "faster-rcnn"),
        ("retinanet_bccd", "retinanet"),
    ],
)
def test_a_protocol_is_a_detection_run(name, detector, tmp_path):
    protocol = read_protocol(name, data_root=tmp_path)
    task = protocol.kind.task_for(protocol, INPUT, 3, "cpu")
    assert isinstance(task, DetectionSpec)
    assert task.detector == detector
    assert task.num_classes == 3
    assert protocol.fractions[0] < 0.5


def test_blood_cells_are_looked_for_below_the_data_root(tmp_path):
    protocol = read_protocol("retinanet_bccd", data_root=tmp_path)
    train = protocol.data["train"]
    assert train["names"] == str(tmp_path / "ImageSets/Main/train.txt")
    assert train["classes"] == ["RBC", "WBC", "Platelets"]
    assert train["degenerate"] == "drop"
    assert protocol.data["val"]["names"] != train["names"]
