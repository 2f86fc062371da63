from __future__ import annotations

import pytest
import torch

from densecl.errors import UsageError
from densecl.models.build import build_backbone
from densecl.models.contract import Features
from densecl.models.mmseg_config import mmseg_config
from densecl.transfer.initialisation import (
    feature_difference,
    random_backbone,
    starting_backbone,
    transplant,
)
from densecl.transfer.segmentation import (
    build_mmseg_backbone,
    build_segmentor,
)


def warm(backbone):
    """Give batch norm statistics and offsets of its own, so that a lost buffer shows."""
    generator = torch.Generator().manual_seed(1)
    for name, value in backbone.state_dict().items():
        if name.endswith("running_mean") or name.endswith("bias"):
            value.copy_(torch.randn(value.shape, generator=generator))
        elif name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return backbone


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("stem", ["v1", "v1c"])
@pytest.mark.parametrize("norm", ["bn", "gn"])
@pytest.mark.parametrize("output_stride", [None, 8])
def test_features_survive_the_move_into_the_segmentor(depth, stem, norm, output_stride):
    cfg = {"type": "ResNet", "depth": depth, "width": 4, "stem": stem, "norm": norm}
    source = warm(random_backbone(cfg, 0))
    segmentor = build_segmentor("fcn", cfg, 3, 8, output_stride=output_stride)
    assert transplant(source, segmentor.backbone, cfg) < 1e-4


def test_an_mmseg_backbone_survives_too():
    cfg = {"type": "mmseg.ResNetV1c", "depth": 18, "base_channels": 4, "stem_channels": 4}
    source = warm(build_backbone(cfg))
    segmentor = build_segmentor("fcn", cfg, 3, 8)
    assert transplant(source, segmentor.backbone, cfg) == 0


@pytest.mark.parametrize("name", ["layer1.0.conv1.weight", "layer4.1.bn2.running_mean"])
def test_one_changed_tensor_is_seen(tiny_backbone, name):
    source = warm(random_backbone(tiny_backbone, 0))
    other = build_mmseg_backbone(mmseg_config(tiny_backbone))
    other.load_state_dict(source.state_dict())
    assert feature_difference(source, other)[0] < 1e-5
    other.state_dict()[name].add_(0.05)
    assert feature_difference(source, other)[0] > 1e-3


def test_wrong_strides_of_pretraining_are_an_error(tiny_backbone):
    source = random_backbone(
        tiny_backbone | {"strides": (1, 2, 2, 1), "dilations": (1, 1, 1, 2)}, 0
    )
    segmentor = build_segmentor("fcn", tiny_backbone, 3, 8)
    with pytest.raises(UsageError, match="has shape"):
        transplant(source, segmentor.backbone, tiny_backbone)


def test_wrong_dilation_of_pretraining_is_an_error(tiny_backbone):
    source = random_backbone(tiny_backbone | {"dilations": (1, 2, 1, 1)}, 0)
    segmentor = build_segmentor("fcn", tiny_backbone, 3, 8)
    with pytest.raises(UsageError, match="gives other features"):
        transplant(source, segmentor.backbone, tiny_backbone)


def test_modes_are_restored(tiny_backbone):
    source = random_backbone(tiny_backbone, 0)
    source.train()
    source.layer2.eval()
    segmentor = build_segmentor("fcn", tiny_backbone, 3, 8)
    before = {name: value.clone() for name, value in source.state_dict().items()}
    transplant(source, segmentor.backbone, tiny_backbone)
    assert source.training
    assert not source.layer2[0].training
    for name, value in source.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_scratch_is_a_function_of_the_seed_and_leaves_the_global_state(tiny_backbone):
    state = torch.get_rng_state()
    one, two = (starting_backbone(None, tiny_backbone, seed) for seed in (3, 3))
    other = starting_backbone(None, tiny_backbone, 4)
    assert torch.equal(one.conv1.weight, two.conv1.weight)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_state_dict_must_fit_key_by_key(tiny_backbone):
    state = random_backbone(tiny_backbone, 0).state_dict()
    loaded = starting_backbone(state, tiny_backbone, 9)
    assert torch.equal(loaded.conv1.weight, state["conv1.weight"])
    del state["conv1.weight"]
    with pytest.raises(UsageError, match=r"conv1\.weight"):
        starting_backbone(state, tiny_backbone, 0)


def test_file_of_a_known_layout_is_read(tmp_path, tiny_backbone):
    source = warm(random_backbone(tiny_backbone, 5))
    torch.save(source.state_dict(), tmp_path / "resnet.pth")
    loaded = starting_backbone(tmp_path / "resnet.pth", tiny_backbone, 0)
    assert torch.equal(loaded.layer3[0].conv1.weight, source.layer3[0].conv1.weight)
    segmentor = build_segmentor("fcn", tiny_backbone, 3, 8)
    assert transplant(loaded, segmentor.backbone, tiny_backbone) < 1e-4
    wide = tiny_backbone | {"width": 8}
    with pytest.raises(UsageError, match="does not fit"):
        transplant(loaded, build_segmentor("fcn", wide, 3, 8).backbone, wide)


def test_of_maps_with_one_size_the_deeper_one_is_compared():
    deep = torch.ones(1, 2, 4, 4)

    class Ours(torch.nn.Module):
        def forward(self, x):
            return Features({16: deep})

    class Theirs(torch.nn.Module):
        def forward(self, x):
            return 5 * deep, deep

    assert feature_difference(Ours(), Theirs()) == (0.0, 1.0)
