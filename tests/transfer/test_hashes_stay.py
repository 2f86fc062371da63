"""Stored runs stay valid: their hashes are those of the release that wrote them."""

from __future__ import annotations

import pytest
import torch

from densecl.transfer.cells import Cell
from densecl.transfer.finetuning import FinetuneSpec
from densecl.transfer.frozen import FrozenSpec
from densecl.transfer.probe import ProbeSpec
from pointcl.transfer.finetuning import FinetuneSpec as ScansFinetuneSpec
from pointcl.transfer.probe import FrozenSpec as ScansFrozenSpec

RESNET = {"type": "ResNet", "depth": 18, "width": 4}
UNET = {"type": "MinkUNet", "depth": 14, "width": 4, "in_channels": 1}
VOXELS = {"size": [0.1] * 3, "features": ["ones"]}
UPERNET = {"head": "upernet", "steps": 150, "optimizer": "adamw", "resize": (180, 240)}


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        (FinetuneSpec(RESNET, 3), "8b98034725551e25abf1"),
        (FinetuneSpec(RESNET, 11, **UPERNET).at(0.003), "58fcd8179c94a060a73a"),
        (FrozenSpec(RESNET, ProbeSpec(3)), "a5bceab86893fc66f769"),
        (
            FrozenSpec(RESNET, ProbeSpec(11, strides=(16, 32)), (180, 240)).at(1e-3),
            "e2f326550d3e40c49828",
        ),
        (
            ScansFinetuneSpec(backbone=UNET, voxels=VOXELS, num_classes=5),
            "ec98e5a70c990acee7bb",
        ),
        (ScansFrozenSpec(UNET, VOXELS, 5), "dd01cb2a05ae4f3bcbc7"),
    ],
)
def test_a_stored_run_is_found_again(spec, key, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "frozen")
    cell = Cell("r", spec, "random", 0, "5%", ("a", "b"), ("train", "val"))
    assert cell.key() == key
