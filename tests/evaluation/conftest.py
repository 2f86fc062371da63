from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
import torch

from densecl.models.resnet import ResNet
from densecl.weights.names import to_detectron2

MEASURE = """
import time
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import torch

from densecl.errors import UsageError
from densecl.transfer.columns import Column
from densecl.transfer.features import FrozenInput

CALLS = []


class Backbone:
    def __init__(self, module):
        self.module = module

    def state_dict(self):
        return {}


@dataclass(frozen=True)
class Brightness:
    input: FrozenInput
    scale: float = 1.0
    columns: ClassVar = (Column("energy", "energy"),)
    steps = 0

    @property
    def backbone(self):
        return self.input.backbone

    def to_dict(self):
        return asdict(self)

    def at(self, rate, steps=None):
        return self

    def select(self, dataset, indices=None):
        chosen = range(len(dataset)) if indices is None else indices
        return [dataset[i].frames[0].image for i in chosen]

    def run(self, init, train, evaluation, *, seed, device):
        CALLS.append((init, seed))
        began = time.perf_counter()
        trained = self.restore({}, init, seed=seed, device=device)
        result = self.score(trained, evaluation, device)
        seconds = {"evaluate": time.perf_counter() - began}
        return {**result, "seconds": seconds, "feature_difference": 0.0, "diverged": False}, trained

    def restore(self, state, init, *, seed, device):
        return Backbone(self.input.open(init, seed, device))

    def score(self, trained, items, device):
        maps = [self.input.maps(trained.module, image) for image in items]
        return {"energy": self.scale * float(torch.cat(maps).square().mean())}

    def pictures(self, trained, items, device):
        return {"first": np.concatenate([items[0]] * len(trained), axis=1)}
"""

PROTOCOL = """
version = 1
data = dict(
    val=dict(type="ImageFolder", root="val"),
    test=dict(type="ImageFolder", root="test"),
    unlabelled=dict(type="ImageFolder", root="val"),
)
task = dict(type="toy_measure:Brightness")
seeds = (0, 1)
"""


@pytest.fixture
def network():
    """A tiny network's weights in torchvision's names."""

    def make(seed, **config):
        torch.manual_seed(seed)
        return ResNet(**{"depth": 18, "width": 4, **config}).state_dict()

    return make


@pytest.fixture
def untold(network):
    """Write a file in detectron2's names, which does not say how its input is normalised."""

    def write(path):
        torch.save({to_detectron2(name): value for name, value in network(0).items()}, path)
        return path

    return write


@pytest.fixture
def world(tmp_path, network, monkeypatch):
    """Pictures, two weight files, a protocol of a measure of one's own, and its calls."""
    noise = np.random.default_rng(0)
    for split in ("val", "test"):
        (tmp_path / split).mkdir()
        for k in range(3):
            image = noise.integers(0, 255, (32, 48, 3), np.uint8)
            cv2.imwrite(str(tmp_path / split / f"{k}.png"), image)
    for name, seed in (("one", 1), ("two", 2)):
        torch.save(network(seed), tmp_path / f"{name}.pth")
    (tmp_path / "toy_measure.py").write_text(MEASURE)
    (tmp_path / "toy.py").write_text(PROTOCOL)
    (tmp_path / "toy_scaled.py").write_text(
        PROTOCOL.replace('Brightness"', 'Brightness", scale=2.0')
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy_measure", raising=False)
    yield tmp_path
    sys.modules.pop("toy_measure", None)


@pytest.fixture
def evaluate(world, capsys):
    """Run ``densecl evaluate`` on the toy protocol; returns (exit code, what it printed)."""
    from densecl.cli import main

    def evaluate(*arguments, protocols=("toy.py",), out="out"):
        named = [str(world / name) for name in protocols]
        code = main(
            [
                *("evaluate", *map(str, arguments), "--protocols", *named),
                *("--data-root", str(world), "--out", str(world / out), "--device", "cpu"),
            ]
        )
        return code, capsys.readouterr().out

    return evaluate
