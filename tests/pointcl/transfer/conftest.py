from __future__ import annotations

import numpy as np
import pytest

from pointcl.data.base import ScanDataset
from pointcl.data.scan import Scan
from pointcl.registry import DATASETS
from pointcl.transfer.finetuning import FinetuneSpec
from pointcl.transfer.probe import FrozenSpec

TINY = {"type": "MinkUNet", "depth": 14, "width": 4, "in_channels": 4}
VOXELS = {
    "size": [0.5, 0.5, 0.5],
    "kind": "cartesian",
    "low": None,
    "high": None,
    "features": ["xyz", "intensity"],
    "representative": "first",
}


@DATASETS.register_module(force=True)
class Layers(ScanDataset):
    """Clouds whose class is their height: low, middle, high; a tenth is ignored.

    Args:
        length: scans, two in each sequence.
        seed: of the points.
        shuffled: the labels of a scan change places, which leaves nothing to learn.
        count: points.
        labelled: whether scans carry labels.
    """

    classes = ("low", "middle", "high", "never")
    palette = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [200, 200, 40]], np.uint8)

    def __init__(self, length=4, seed=0, shuffled=False, count=240, labelled=True):
        super().__init__([f"drive{k // 2}" for k in range(length)])
        self.seed, self.shuffled, self.count, self.labelled = seed, shuffled, count, labelled

    def name(self, index):
        return f"{self.seed}/{index:03d}"

    def fingerprint(self):
        return f"layers-{len(self)}-{self.seed}-{self.shuffled}-{self.count}"

    def load(self, index):
        random = np.random.default_rng((self.seed, index))
        points = random.uniform(-2, 2, (self.count, 3)).astype(np.float32)
        points[:, 2] = random.uniform(0, 3, self.count)
        label = np.clip(points[:, 2], 0, 2.99).astype(np.int64)
        if self.shuffled:
            label = random.permutation(label)
        label[random.random(self.count) < 0.1] = 255
        intensity = random.random(self.count).astype(np.float32)
        points[0], label[0] = np.nan, 2  # no return, but a label
        return Scan(
            points,
            index,
            self.name(index),
            intensity=intensity,
            label=label if self.labelled else None,
            sequence=self.sequences[index],
        )


@pytest.fixture
def layers():
    return Layers


@pytest.fixture
def tiny_spec():
    return FinetuneSpec(
        backbone=dict(TINY),
        voxels=dict(VOXELS),
        num_classes=4,
        steps=3,
        batch_size=2,
        warmup=1,
        lr=0.02,
        curve_every=2,
    )


@pytest.fixture
def tiny_probe():
    return FrozenSpec(
        backbone={"type": "Pointwise", "in_channels": 4, "width": None},
        voxels=dict(VOXELS),
        num_classes=4,
        strides=(1,),
        mode="nearest",
        iterations=60,
    )
