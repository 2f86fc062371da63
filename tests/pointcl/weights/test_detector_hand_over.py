"""From SLidR on pictures and points to the 3D backbone of two detection libraries.

The networks of the tests here are those of the shipped config, on fewer voxels; the names and the
layout of the targets are written out once more.
"""

from __future__ import annotations

import contextlib
import copy
import io
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import camera_worlds
from camera_worlds import PaintedRooms

from densecl.engine.config import load_config
from densecl.engine.runner import pretrain
from pointcl.cli import main
from pointcl.commands import pretrain as command
from pointcl.engine.domain import POINTS, build_voxeliser
from pointcl.models import build_backbone
from pointcl.registry import METHODS
from pointcl.views import CloudViewGenerator
from pointcl.views.view import CloudBatch
from pointcl.weights import fold_biases, load_backbone
from pointcl.weights.export import export
from pointcl.weights.standins import graphs
from pointcl.weights.standins.index_operators import Cells, IndexOperators

NAME = "slidr_voxelresnet_1xb2-120s_streets-30cm"
GRID = (32, 32, 28)
TOY: dict = {
    "data": {"_delete_": True, "type": "PaintedRooms", "length": 4, "count": 400},
    "method.backbone.grid_size": GRID,
    "method.teacher_backbone": {"_delete_": True, **camera_worlds.TEACHER},
    "views.pictures.size": (32, 48),
    "views.pictures.store": False,
    "views.pictures.min_links": 16,
    "voxels.size": (0.25, 0.25, 0.2),
    "voxels.low": (-4.0, -4.0, -2.0),
    "voxels.high": (4.0, 4.0, 3.6),
    "loader.num_workers": 0,
    "schedule.max_steps": 3,
    "schedule.warmup_steps": 0,
    "log.tensorboard": False,
}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def openpcdet_names() -> set[str]:
    """The state dict of OpenPCDet's VoxelResBackBone8x with USE_BIAS: False, in a detector."""
    found = set()

    def layer(name):  # spconv convolution, batch norm
        found.update({f"{name}.0.weight"} | {f"{name}.1.{part}" for part in NORM})

    layer("conv_input")
    for stage in (1, 2, 3, 4):
        blocks = (0, 1) if stage == 1 else (1, 2)
        if stage > 1:
            layer(f"conv{stage}.0")
        for block in blocks:
            for i in (1, 2):
                found.add(f"conv{stage}.{block}.conv{i}.weight")
                found.update(f"conv{stage}.{block}.bn{i}.{part}" for part in NORM)
    layer("conv_out")
    return {f"backbone_3d.{name}" for name in found}


def mmdet3d_names() -> set[str]:
    """Those of mmdetection3d's SparseEncoder with basic blocks: a stage ends where it strides."""
    renamed = set()
    for name in openpcdet_names():
        name = name.removeprefix("backbone_3d.")
        stage, _, rest = name.partition(".")
        if stage in ("conv_input", "conv_out"):
            renamed.add(f"middle_encoder.{name}")
            continue
        number, (block, _, tail) = int(stage[-1]), rest.partition(".")
        if number > 1 and block == "0":
            number, block = number - 1, "2"
        elif number > 1:
            block = str(int(block) - 1)
        renamed.add(f"middle_encoder.encoder_layers.encoder_layer{number}.{block}.{tail}")
    return renamed


NAMES = {"openpcdet": openpcdet_names, "mmdet3d": mmdet3d_names}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(config, path of a checkpoint) of three steps."""
    assert PaintedRooms
    folder = tmp_path_factory.mktemp("run")
    config = load_config(NAME, copy.deepcopy(TOY), domain=POINTS)
    return config, pretrain(config, work_dir=folder, domain=POINTS).checkpoint


@pytest.fixture(scope="module", params=list(NAMES))
def handed_over(request, run, tmp_path_factory):
    """(target, file, what the command printed)."""
    out, printed = tmp_path_factory.mktemp(request.param) / "out.pth", io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["export", str(run[1]), "--to", request.param, "--out", str(out)]) == 0
    return request.param, out, printed.getvalue()


def trained_weights(path) -> dict[str, torch.Tensor]:
    state = torch.load(path, weights_only=True)["method"]
    head = "online.backbone."
    return {n.removeprefix(head): v for n, v in state.items() if n.startswith(head)}


def test_the_file_holds_every_name_of_the_target_and_no_other(handed_over):
    target, file, printed = handed_over
    state = torch.load(file, weights_only=True)["state_dict"]
    assert set(state) == NAMES[target]()
    assert len(state) == 126
    assert f"export to {target}: proven" in printed
    assert "coverage: 100.0% of the target backbone, 126 keys mapped" in printed


def test_the_values_are_the_pretrained_ones_in_the_order_of_spconv(run, handed_over):
    target, file, _ = handed_over
    config, path = run
    ours, state = trained_weights(path), torch.load(file, weights_only=True)["state_dict"]
    stem = "middle_encoder." if target == "mmdet3d" else "backbone_3d."
    # offsets run over x first and z last; spconv's kernels are (out, z, y, x, in)
    kernel = ours["conv_input.0.kernel"].view(3, 3, 3, 4, 16).permute(4, 0, 1, 2, 3)
    assert torch.equal(state[f"{stem}conv_input.0.weight"], kernel)
    last = ours["conv_out.0.kernel"].view(3, 1, 1, 128, 128).permute(4, 0, 1, 2, 3)
    assert torch.equal(state[f"{stem}conv_out.0.weight"], last)
    deep = "encoder_layers.encoder_layer3.1.bn2" if target == "mmdet3d" else "conv3.2.bn2"
    assert torch.equal(state[f"{stem}{deep}.running_var"], ours["conv3.2.bn2.bn.running_var"])
    strided = "encoder_layers.encoder_layer2.2.0" if target == "mmdet3d" else "conv3.0.0"
    kernel = ours["conv3.0.0.kernel"].view(3, 3, 3, 32, 64).permute(4, 0, 1, 2, 3)
    assert torch.equal(state[f"{stem}{strided}.weight"], kernel)

    torch.manual_seed(config["seed"])
    before = METHODS.build(dict(config["method"])).online["backbone"].state_dict()
    moved = [n for n in ours if n.endswith("kernel") and not torch.equal(ours[n], before[n])]
    assert len(moved) == sum(name.endswith("kernel") for name in ours) == 21


def test_a_scan_has_the_same_birds_eye_map_in_the_names_of_the_target(run, handed_over):
    target, file, _ = handed_over
    config, path = run
    voxels = build_voxeliser(config)(
        CloudBatch.collate(CloudViewGenerator("none", num_views=1)(PaintedRooms(1)[0], 0))
    ).voxels.tensor
    backbone = build_backbone(config["method"]["backbone"]).double().eval()
    backbone.load_state_dict(trained_weights(path))
    state = torch.load(file, weights_only=True)["state_dict"]
    state = {n: v.double() if v.is_floating_point() else v for n, v in state.items()}
    operators = IndexOperators(state, "spconv zyx")
    rows = voxels.features.double()
    cells = Cells(rows, voxels.coordinates.long(), (GRID[0], GRID[1], GRID[2] + 1))
    if target == "openpcdet":
        found = graphs.voxelres(operators, cells, 16, False, 0, "backbone_3d.")
    else:
        found = graphs.sparse_encoder(operators, cells, 16, "middle_encoder.")
    with torch.no_grad():
        expected = backbone(voxels.with_features(rows)).bev
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(found[-1], expected, rtol=0, atol=1e-10)


def test_the_snippet_says_range_and_size_of_the_voxels(handed_over):
    target, _, printed = handed_over
    span, size = "[-4.0, -4.0, -2.0, 4.0, 4.0, 3.6]", "[0.25, 0.25, 0.2]"
    if target == "openpcdet":
        assert f"POINT_CLOUD_RANGE: {span}\nVOXEL_SIZE: {size}" in printed
        assert "USE_BIAS: False" in printed
    else:
        assert f"point_cloud_range = {span}\nvoxel_size = {size}" in printed
        assert "sparse_shape=[29, 32, 32]" in printed
    assert "features ['xyz', 'intensity']" in printed


def test_the_file_comes_back_as_the_backbone_that_it_was(run, handed_over):
    again = load_backbone(handed_over[1])
    ours = trained_weights(run[1])
    assert all(torch.equal(value, ours[name]) for name, value in again.state_dict().items())
    assert again.meta["voxels"]["size"] == [0.25, 0.25, 0.2]
    assert again.meta["method"] == "SLidR"


def test_an_encoder_with_biases_goes_to_mmdetection3d_folded(tmp_path):
    section = dict(load_config(NAME, copy.deepcopy(TOY), domain=POINTS)["method"]["backbone"])
    net = build_backbone({**section, "bias": True}).eval()
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.endswith("bias"):
                value.normal_()
    assert export(net, "mmdet3d", tmp_path / "a.pth").verdict == "refused"
    report = export(fold_biases(net), "mmdet3d", tmp_path / "a.pth")
    assert report.verdict.startswith("proven")
    assert set(torch.load(report.path, weights_only=True)["state_dict"]) == mmdet3d_names()


def test_a_finished_run_names_a_library_that_takes_its_backbone():
    section = load_config(NAME, domain=POINTS)["method"]["backbone"]
    assert command.SCANS.target(section) == "openpcdet"
    assert command.SCANS.target({"type": "Res16UNet"}) == "minkowski"
    assert command.SCANS.target({"type": "MyOwn"}) == "safetensors"
