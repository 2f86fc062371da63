from __future__ import annotations

import pytest

from densecl.transfer.detection.task import DetectionSpec


@pytest.fixture
def spec() -> DetectionSpec:
    return DetectionSpec(
        {"type": "ResNet", "depth": 18, "width": 8},
        num_classes=2,
        channels=16,
        strides=(8, 16),
        extra_levels=0,
        anchor_scale=2.0,
        steps=40,
        batch_size=4,
        crop=(64, 64),
        scale=(1.0, 1.0),
        lr=5e-3,
        warmup=3,
    )
