import pytest

from densecl.weights.names import from_detectron2, from_mmseg, mmseg_key_map, to_mmseg


def test_group_norm_is_renamed_and_back_batch_norm_is_not():
    assert to_mmseg("layer1.0.bn2.weight", "gn") == "layer1.0.gn2.weight"
    assert to_mmseg("bn1.bias", "gn") == "gn1.bias"
    for name in ("layer1.0.bn2.weight", "bn1.bias", "layer2.0.downsample.1.weight", "stem.1.bias"):
        assert to_mmseg(name, "bn") == name
        assert from_mmseg(to_mmseg(name, "gn")) == name


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stem.conv1.weight", "conv1.weight"),
        ("backbone.bottom_up.stem.conv1.norm.bias", "bn1.bias"),
        ("res2.0.shortcut.weight", "layer1.0.downsample.0.weight"),
        ("res5.2.conv3.norm.running_var", "layer4.2.bn3.running_var"),
        ("backbone.bottom_up.res3.0.shortcut.norm.weight", "layer2.0.downsample.1.weight"),
    ],
)
def test_detectron2_names(theirs, ours):
    assert from_detectron2(theirs) == ours


def test_the_key_map_follows_the_config():
    assert mmseg_key_map(["bn1.bias"], {"type": "ResNet", "norm": "gn"}) == {"bn1.bias": "gn1.bias"}
    assert mmseg_key_map(["bn1.bias"], {"type": "ResNet"}) == {"bn1.bias": "bn1.bias"}
    assert mmseg_key_map(["net.a"], {"type": "mmseg.SwinTransformer"}) == {"net.a": "a"}
