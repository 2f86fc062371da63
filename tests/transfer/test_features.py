from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from densecl.data.seeding import rng
from densecl.errors import UsageError
from densecl.transfer.features import FrozenInput
from densecl.transfer.initialisation import random_backbone

MEAN, STD = (100.0, 110.0, 120.0), (50.0, 55.0, 60.0)


def _pictures(count=2, size=(48, 64)):
    return rng(0, 1).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def _by_hand(backbone, pictures, strides, size):
    x = torch.stack(
        [(torch.from_numpy(pictures[..., c].copy()).float() - MEAN[c]) / STD[c] for c in range(3)],
        dim=1,
    )
    with torch.no_grad():
        maps = backbone.eval()(x).maps
    return torch.cat(
        [
            functional.interpolate(maps[s], size, mode="bilinear", align_corners=False)
            for s in strides
        ],
        dim=1,
    )


def test_maps_of_two_strides_lie_on_the_grid_in_the_order_asked_for(tiny_backbone):
    backbone, pictures = random_backbone(tiny_backbone, 3), _pictures()
    strides = tuple(sorted(backbone.channels))[-2:][::-1]
    read = FrozenInput(tiny_backbone, MEAN, STD, strides=strides, grid=8)
    found = read.maps(read.open(None, 3, "cpu"), pictures)
    assert found.shape == (2, sum(backbone.channels[s] for s in strides), 6, 8)
    torch.testing.assert_close(found, _by_hand(backbone, pictures, strides, (6, 8)))


def test_the_deepest_map_is_read_as_it_is_unless_told_otherwise(tiny_backbone):
    backbone, pictures = random_backbone(tiny_backbone, 0), _pictures()
    read = FrozenInput(tiny_backbone, MEAN, STD)
    found = read.maps(backbone, pictures)
    deepest = max(backbone.channels)
    size = (-(-48 // deepest), -(-64 // deepest))
    torch.testing.assert_close(found, _by_hand(backbone, pictures, (deepest,), size))
    torch.testing.assert_close(read.maps(backbone, pictures[0]), found[:1])


def test_bgr_reads_the_channels_in_reverse_before_they_are_normalised(tiny_backbone):
    backbone, pictures = random_backbone(tiny_backbone, 0), _pictures()
    bgr = FrozenInput(tiny_backbone, MEAN, STD, channel_order="BGR").maps(backbone, pictures)
    rgb = FrozenInput(tiny_backbone, MEAN, STD).maps(backbone, pictures[..., ::-1])
    assert torch.equal(bgr, rgb)


def test_reading_leaves_the_mode_and_the_batch_norm_statistics(tiny_backbone):
    backbone = random_backbone(tiny_backbone, 0).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    assert not FrozenInput(tiny_backbone).maps(backbone, _pictures()).requires_grad
    assert backbone.training
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())


def test_a_stride_that_the_backbone_lacks_is_refused_with_those_it_has(tiny_backbone):
    backbone = random_backbone(tiny_backbone, 0)
    with pytest.raises(UsageError, match=r"strides that the backbone has: \["):
        FrozenInput(tiny_backbone, strides=(3,)).maps(backbone, _pictures())
