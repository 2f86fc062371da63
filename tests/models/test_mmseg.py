import subprocess
import sys

import pytest
import torch

from densecl.errors import UsageError
from densecl.models import ResNet, build_backbone
from densecl.models import mmseg as adapter

pytest.importorskip("mmseg")

PYRAMID = {4: 8, 8: 16, 16: 32, 32: 64}
SMALL = {
    "ResNet": ({"depth": 18, "base_channels": 8, "stem_channels": 8}, PYRAMID),
    "ResNetV1c": ({"depth": 18, "base_channels": 8, "stem_channels": 8}, PYRAMID),
    "VisionTransformer": (
        {"img_size": 64, "patch_size": 16, "embed_dims": 16, "num_layers": 2, "num_heads": 2},
        {16: 16},
    ),
    "SwinTransformer": (
        {"embed_dims": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 2), "window_size": 4},
        PYRAMID,
    ),
    "MixVisionTransformer": (
        {"embed_dims": 8, "num_layers": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]},
        {4: 8, 8: 16, 16: 32, 32: 64},
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_forward_and_backward_by_stride(name):
    args, channels = SMALL[name]
    backbone = build_backbone({"type": f"mmseg.{name}", **args})
    if name == "MixVisionTransformer":
        channels = {s: 8 * h for s, h in zip((4, 8, 16, 32), args["num_heads"], strict=True)}
    assert backbone.channels == channels
    features = backbone(torch.randn(2, 3, 64, 96))
    shapes = {s: tuple(m.shape) for s, m in features.maps.items()}
    assert shapes == {s: (2, c, 64 // s, 96 // s) for s, c in channels.items()}
    assert (features.token is not None) == (name == "VisionTransformer")
    sum(m.square().mean() for m in features.maps.values()).backward()
    grads = [p.grad for p in backbone.parameters() if p.grad is not None]
    assert grads
    assert all(torch.isfinite(g).all() for g in grads)


def test_class_token_is_not_a_patch():
    backbone = build_backbone({"type": "mmseg.VisionTransformer", **SMALL["VisionTransformer"][0]})
    features = backbone(torch.randn(2, 3, 64, 64))
    assert features.token.shape == (2, 16)
    assert torch.equal(features.pooled(), features.token)


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("stem", ["v1", "v1c"])
@pytest.mark.parametrize(
    ("strides", "dilations"), [((1, 2, 2, 2), (1, 1, 1, 1)), ((1, 2, 1, 1), (1, 1, 2, 4))]
)
def test_ours_equals_mmsegs_network(depth, stem, strides, dilations):
    ours = ResNet(depth, width=8, stem=stem, strides=strides, dilations=dilations)
    theirs = build_backbone(
        {
            "type": "mmseg.ResNet" if stem == "v1" else "mmseg.ResNetV1c",
            "depth": depth,
            "base_channels": 8,
            "stem_channels": 8,
            "strides": strides,
            "dilations": dilations,
        }
    )
    theirs.net.load_state_dict(ours.state_dict(), strict=True)
    assert theirs.channels == ours.channels
    x = torch.randn(2, 3, 64, 96)
    for a, b in zip(ours.forward_stages(x), theirs.net(x), strict=True):
        assert torch.equal(a, b)


def test_half_width_equals_mmsegs_base_channels_32():
    ours = ResNet(18, width=32, stem_width=64)
    theirs = build_backbone({"type": "mmseg.ResNet", "depth": 18, "base_channels": 32})
    theirs.net.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 3, 64, 64)
    for a, b in zip(ours.forward_stages(x), theirs.net(x), strict=True):
        assert torch.equal(a, b)


def test_stub_is_there_only_without_the_real_operators():
    adapter.ensure_mmseg()
    if adapter.has_compiled_operators():
        assert not isinstance(sys.modules[adapter.EXTENSION], adapter._MissingOperators)
        return
    stub = sys.modules[adapter.EXTENSION]
    with pytest.raises(UsageError, match="'nms'"):
        stub.nms(1, 2)
    with pytest.raises(AttributeError):
        stub.__path__  # noqa: B018


def test_stub_never_shadows_a_real_extension(tmp_path):
    # A module of that name on the path stands for the compiled one.
    code = f"""
import sys, types, importlib.util
import mmcv
mmcv.__path__.append({str(tmp_path)!r})
from densecl.models.mmseg import ensure_mmseg, has_compiled_operators
assert has_compiled_operators()
try:
    ensure_mmseg()
except Exception as error:
    print(error)
ext = sys.modules.get("mmcv._ext")
assert ext is None or ext.MARK == "real", ext
assert importlib.import_module("mmcv._ext").MARK == "real"
"""
    (tmp_path / "_ext.py").write_text("MARK = 'real'\n")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_mmseg_names_the_extra():
    code = """
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda n, *a: None if n.startswith("mmseg") else real(n, *a)
from densecl.errors import UsageError
from densecl.models import build_backbone
try:
    build_backbone(dict(type="mmseg.ResNet", depth=18))
except UsageError as error:
    assert "densecl[seg]" in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_mmseg_type_is_named():
    with pytest.raises(UsageError, match="ResNetV9"):
        build_backbone({"type": "mmseg.ResNetV9"})


def test_building_prints_no_parameter_list(capfd):
    build_backbone({"type": "mmseg.ResNet", **SMALL["ResNet"][0]})
    captured = capfd.readouterr()
    assert "KaimingInit" not in captured.out + captured.err


def test_config_builds_the_same_network():
    backbone = build_backbone({"type": "mmseg.SwinTransformer", **SMALL["SwinTransformer"][0]})
    again = build_backbone(backbone.config())
    again.load_state_dict(backbone.state_dict(), strict=True)
