from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from painted import Colours, Painted

from densecl.data.sample import Frame, Sample
from densecl.transfer.finetuning import FinetuneSpec

TINY = {"type": "ResNet", "depth": 18, "width": 4}


@dataclass
class Blocks:
    """Images of coloured blocks: the class of a pixel is told by its colour; 255 on the rim."""

    count: int
    size: tuple[int, int] = (32, 48)
    seed: int = 0
    reads: int = 0

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"blocks{self.seed}/{index:03d}"

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        generator = np.random.default_rng([self.seed, index])
        label = np.kron(generator.integers(0, 3, (2, 3)), np.ones((16, 16), np.int64))
        label = label[: self.size[0], : self.size[1]].astype(np.uint8)
        colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]])
        noise = generator.integers(-30, 31, (*label.shape, 3))
        image = np.clip(colours[label] + noise, 0, 255).astype(np.uint8)
        label[0] = 255
        return Sample((Frame(image, {"label": label}),), index, self.name(index))


@pytest.fixture
def blocks():
    return Blocks


@pytest.fixture
def tiny_backbone():
    return dict(TINY)


@pytest.fixture
def tiny_spec():
    return FinetuneSpec(
        backbone=dict(TINY),
        num_classes=3,
        channels=8,
        steps=4,
        batch_size=4,
        crop=(32, 32),
        warmup=1,
        lr=0.05,
        curve_every=2,
    )


@pytest.fixture
def colours():
    return Colours


@pytest.fixture
def painted():
    return Painted
