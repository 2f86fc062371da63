from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from densecl.models.contract import Features
from densecl.transfer.images import LabelledImages
from densecl.transfer.initialisation import random_backbone
from densecl.transfer.probe import (
    ProbeSpec,
    dense_features,
    linear_probe,
)

SPEC = ProbeSpec(num_classes=3)


class Colours(nn.Module):
    """Average colours at strides 4, 8 and 16; a batch norm that must stay untouched."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3, affine=False)

    def forward(self, x, mask=None):
        x = self.norm(x)
        return Features({s: nn.functional.avg_pool2d(x, s) * s for s in (4, 8, 16)})


def test_features_are_the_two_deepest_maps_on_one_grid():
    image = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    backbone = Colours().eval()
    features = dense_features(backbone, image, None, 8)
    assert features.shape == (2, 6, 4, 6)
    maps = backbone(image).maps
    assert torch.equal(features[:, :3], maps[8])
    up = nn.functional.interpolate(maps[16], (4, 6), mode="bilinear", align_corners=False)
    assert torch.equal(features[:, 3:], up)
    assert dense_features(backbone, image, (4,), 8).shape == (2, 3, 4, 6)


def test_grid_rounds_up_when_the_image_does_not_divide():
    assert dense_features(Colours(), torch.zeros(1, 3, 36, 50), (4,), 8).shape[-2:] == (5, 7)


def test_colours_are_read_off_and_noise_is_not(blocks):
    train, evaluation = LabelledImages(blocks(6, seed=1)), LabelledImages(blocks(4, seed=2))
    backbone = Colours().train()
    state = {k: v.clone() for k, v in backbone.state_dict().items()}
    result = linear_probe(backbone, train, evaluation, SPEC)
    assert result.miou > 0.75
    assert backbone.training
    assert all(torch.equal(v, state[k]) for k, v in backbone.state_dict().items())
    assert result.confusion.sum() == 4 * 31 * 48

    class Noise(Colours):
        def forward(self, x, mask=None):
            generator = torch.Generator().manual_seed(int(x.sum().abs() * 1000) % 2**31)
            return super().forward(torch.randn(x.shape, generator=generator))

    assert linear_probe(Noise(), train, evaluation, SPEC).miou < 0.4


def test_probe_does_not_depend_on_the_scale_of_the_features(blocks):
    class Scaled(Colours):
        def forward(self, x, mask=None):
            maps = super().forward(x).maps
            return Features({s: m * 1000 + 5 for s, m in maps.items()})

    train, evaluation = LabelledImages(blocks(4, seed=1)), LabelledImages(blocks(3, seed=2))
    spec = replace(SPEC, solver="ridge")
    one = linear_probe(Colours().eval(), train, evaluation, spec)
    two = linear_probe(Scaled().eval(), train, evaluation, spec)
    assert two.miou == pytest.approx(one.miou, abs=0.01)


def test_probe_is_deterministic_and_survives_dead_channels(blocks, tiny_backbone):
    backbone = random_backbone(tiny_backbone, 0)
    with torch.no_grad():
        backbone.layer4[1].bn2.weight[0] = 0
        backbone.layer4[1].bn2.bias[0] = -100
    train, evaluation = LabelledImages(blocks(4, seed=1)), LabelledImages(blocks(3, seed=2))
    one = linear_probe(backbone, train, evaluation, SPEC)
    two = linear_probe(backbone, train, evaluation, SPEC)
    np.testing.assert_array_equal(one.confusion, two.confusion)
    assert np.isfinite(one.miou)


def test_probe_needs_a_label(blocks):
    class Void(type(blocks(1))):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            sample.frames[0].maps["label"][:] = 255
            return sample

    images = LabelledImages(Void(2))
    with pytest.raises(ValueError, match="no labelled cell"):
        linear_probe(Colours(), images, images, SPEC)
