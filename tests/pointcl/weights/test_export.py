from __future__ import annotations

import re
from importlib.util import find_spec

import pytest
import torch

from densecl.errors import UsageError
from densecl.weights.targets.target import read_torch_file
from pointcl.cli import COMMANDS, main
from pointcl.commands.export import SUFFIXES
from pointcl.models import MinkResNet, MinkUNet, Res16UNet, SpUNet, VoxelResNet
from pointcl.sparse import SparseTensor
from pointcl.weights import export, fold_biases, load_backbone
from pointcl.weights.targets import TARGETS
from pointcl.weights.targets import target as shared
from pointcl.weights.targets.probe import maps_of, random_voxels

GRID = (48, 40, 32)


LIBRARIES = [name for name in ("MinkowskiEngine", "spconv") if find_spec(name)]


@pytest.fixture(params=["stand-in", *(["library"] if LIBRARIES else [])])
def runner(request, monkeypatch):
    """With the libraries that are there, and as if there were none."""
    if request.param == "stand-in":
        monkeypatch.setattr(shared, "import_minkowski", lambda: None)
        monkeypatch.setattr(shared, "import_spconv", lambda: None)
    return request.param


CASES = {
    "MinkUNet": (lambda: MinkUNet(14, None, 4, width=8), {"minkowski", "spconv"}),
    "head": (lambda: Res16UNet(14, "C", 4, 5, width=4), {"minkowski", "spconv"}),
    "Res16UNet": (lambda: Res16UNet(34, "C", 3, width=4), {"minkowski", "spconv", "mmdet3d"}),
    "instance norm": (lambda: MinkUNet(14, "A", 3, width=4, norm="in"), {"minkowski"}),
    "MinkResNet": (lambda: MinkResNet(14, 4, 8), {"minkowski"}),
    "bottlenecks": (lambda: MinkResNet(50, 4, 4), {"minkowski"}),
    "SpUNet": (lambda: SpUNet(4, width=4), {"spconv", "pointcept"}),
    "SpUNet with head": (lambda: SpUNet(4, 3, width=4), {"spconv", "pointcept"}),
    "VoxelResNet": (lambda: VoxelResNet(GRID, 4), {"spconv", "openpcdet"}),
    "no biases": (lambda: VoxelResNet(GRID, 4, width=8, bias=False), {"spconv", "mmdet3d"}),
}


@pytest.mark.parametrize("name", CASES)
def test_each_network_goes_where_its_graph_exists_and_comes_back(name, runner, trained, tmp_path):
    build, fitting = CASES[name]
    net = trained(build())
    for target in TARGETS:
        report = export(net, target, tmp_path / "out.pth")
        if target not in fitting | {"safetensors"}:
            assert report.verdict == "refused", (target, report.summary())
            assert report.path is None
            assert report.reasons
            continue
        assert report.verdict.startswith("proven"), report.summary()
        assert report.coverage == 1
        again = load_backbone(report.path)
        assert list(again.state_dict()) == list(net.state_dict())
        for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True):
            assert torch.equal(a, b)


def test_a_library_that_is_absent_gives_a_proof_by_stand_in(monkeypatch, trained, tmp_path):
    monkeypatch.setattr(shared, "import_minkowski", lambda: None)
    net = trained(MinkUNet(14, "A", 3, width=4))
    report = export(net, "minkowski", tmp_path / "a.pth")
    assert report.verdict == "proven by stand-in"
    assert report.max_abs_diff < 1e-12


@pytest.mark.parametrize(
    ("target", "build", "reason"),
    [
        (
            "pointcept",
            lambda: Res16UNet(34, "C", 3, width=4),
            "strided convolutions change the wid",
        ),
        ("openpcdet", lambda: MinkUNet(14, "A", 3, width=4), "MinkUNet is no 3D backbone of OpenP"),
        ("openpcdet", lambda: VoxelResNet(GRID, 4, width=8), "width 8"),
        ("mmdet3d", lambda: MinkUNet(14, "A", 3, width=4), "stem of size 5"),
        ("mmdet3d", lambda: Res16UNet(14, "A", 3, 7, width=4), "`final` has no place"),
        ("mmdet3d", lambda: VoxelResNet(GRID, 4, width=8), "fold_biases"),
        ("spconv", lambda: MinkResNet(14, 3, 4), "writes every voxel"),
        ("spconv", lambda: MinkUNet(14, "A", 3, width=4, norm="in"), "no instance norm"),
        ("minkowski", lambda: SpUNet(3, width=4), "no network of MinkowskiEngine"),
    ],
)
def test_graphs_that_differ_are_refused_by_name(target, build, reason, tmp_path):
    report = export(build().eval(), target, tmp_path / "a.pth")
    assert report.verdict == "refused"
    assert re.search(re.escape(reason), report.summary())
    assert not (tmp_path / "a.pth").exists()


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("spconv", "block4.0.conv1.weight"),
        ("spconv", "convtr6p4s2.weight"),
        ("minkowski", "conv0p1s1.kernel"),
        ("mmdet3d", "backbone.encoder.1.1.downsample.1.running_var"),
    ],
)
def test_a_wrong_value_in_the_file_breaks_the_proof(target, name, runner, trained, tmp_path,
                                                    monkeypatch):  # fmt: skip
    real = shared.read_torch_file

    def spoilt(path):
        state = real(path)
        value = state[name]
        state[name] = value.flip(1) if value.ndim > 1 else value * 1.5
        return state

    monkeypatch.setattr(shared, "read_torch_file", spoilt)
    net = trained(Res16UNet(34, "C", 3, width=4))
    report = export(net, target, tmp_path / "a.pth")
    assert report.verdict == "refused"
    assert "differ by" in report.reasons[0]


def test_names_of_the_targets(trained, tmp_path):
    unet = trained(Res16UNet(34, "C", 3, width=4))
    export(unet, "mmdet3d", tmp_path / "a.pth")
    state = read_torch_file(tmp_path / "a.pth")
    for name in (
        "backbone.conv_input.0.0.weight", "backbone.conv_input.0.1.running_mean",
        "backbone.encoder.0.0.0.weight", "backbone.encoder.0.1.conv1.weight",
        "backbone.encoder.1.1.downsample.0.weight", "backbone.encoder.3.6.bn2.bias",
        "backbone.decoder.0.0.0.weight", "backbone.decoder.3.1.1.conv2.weight",
        "backbone.decoder.0.1.0.downsample.1.num_batches_tracked",
    ):  # fmt: skip
        assert name in state
    assert torch.equal(state["backbone.decoder.1.0.1.bias"], unet.get_submodule("bntr5").bn.bias)
    voxels = trained(VoxelResNet(GRID, 4))
    export(voxels, "openpcdet", tmp_path / "b.pth")
    file = torch.load(tmp_path / "b.pth", weights_only=True)
    for name in (
        "backbone_3d.conv_input.0.weight", "backbone_3d.conv1.0.conv1.bias",
        "backbone_3d.conv2.0.0.weight", "backbone_3d.conv2.1.bn1.running_var",
        "backbone_3d.conv_out.1.weight",
    ):  # fmt: skip
        assert torch.equal(file["model_state"][name], file["state_dict"][name])
    assert file["model_state"]["backbone_3d.conv_out.0.weight"].shape == (128, 3, 1, 1, 128)
    plain = fold_biases(voxels)
    export(plain, "mmdet3d", tmp_path / "c.pth")
    state = read_torch_file(tmp_path / "c.pth")
    kernel = state["middle_encoder.encoder_layers.encoder_layer1.2.0.weight"]
    assert torch.equal(kernel, file["model_state"]["backbone_3d.conv2.0.0.weight"])
    assert "middle_encoder.encoder_layers.encoder_layer4.1.conv2.weight" in state


def test_folded_biases_leave_the_features_as_they_are(trained):
    net = trained(VoxelResNet(GRID, 4, width=4)).double()
    probe = random_voxels(4, (48, 40, 33), torch.float64)
    for a, b in zip(maps_of(net, probe), maps_of(fold_biases(net), probe), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_meta_says_what_the_weights_expect(trained, tmp_path):
    net = trained(MinkUNet(14, "A", 1, width=4))
    meta = {"voxel_size": [0.1, 1.0, 0.1], "system": "cylindrical", "features": ["intensity"]}
    report = export(net, "safetensors", tmp_path / "a.safetensors", meta=meta)
    assert "cylindrical" in report.snippet
    again = load_backbone(tmp_path / "a.safetensors")
    assert again.meta["voxel_size"] == [0.1, 1.0, 0.1]
    assert again.meta["backbone"] == net.config()


def test_command_line(trained, tmp_path, capsys):
    net = trained(MinkUNet(14, "A", 3, width=4))
    torch.save(net.state_dict(), tmp_path / "net.pth")
    assert main(["export", str(tmp_path / "net.pth"), "--to", "spconv", "--key-map"]) == 0
    printed = capsys.readouterr().out
    assert "conv0p1s1.kernel -> conv0p1s1.weight" in printed
    assert (tmp_path / "net_spconv.pth").is_file()
    assert main(["export", str(tmp_path / "net.pth"), "--to", "pointcept"]) == 1
    assert main(["export", str(tmp_path / "none.pth")]) == 2
    assert main(["doctor"]) == 0
    assert "spconv" in capsys.readouterr().out
    assert set(SUFFIXES) == set(TARGETS)
    assert {name: each.suffix for name, each in TARGETS.items()} == SUFFIXES
    assert {"export", "doctor"} <= set(COMMANDS)


def test_unknown_target_is_refused(tmp_path):
    with pytest.raises(UsageError, match="export target 'caffe'"):
        export(MinkUNet(14, "A", 3, width=4), "caffe", tmp_path / "a")


def test_probe_reads_every_tap_of_every_strided_kernel():
    """Coordinates of both parities on each axis, so that no 2x2x2 tap goes unseen."""
    cells = random_voxels(1).cells
    x = SparseTensor.build(torch.ones(len(cells), 1), cells)
    for stride in (1, 2, 4, 8):
        fine = x.context.strided(x.sites, stride).coordinates[:, 1:] // stride % 2
        assert len(torch.unique(fine, dim=0)) == 8
