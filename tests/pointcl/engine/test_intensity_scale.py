"""The scale of intensity: what the network sees, what checkpoints and tables say of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from point_worlds import Rooms, config

from densecl.engine.config import config_text, load_config, plain_config
from densecl.engine.runner import pretrain
from densecl.errors import UsageError
from pointcl.engine.domain import POINTS, build_voxeliser
from pointcl.sparse import VoxelGrid
from pointcl.transfer.clouds import input_fields, voxeliser_of
from pointcl.transfer.initialisation import input_of, input_of_config, starting_backbone
from pointcl.views import CloudViewGenerator, Voxeliser
from pointcl.views.view import CloudBatch
from pointcl.weights import export, load_backbone

UNET = {"type": "MinkUNet", "depth": 14, "width": 4, "in_channels": 1}
BYTES = {"size": 0.25, "features": ["intensity"], "intensity_scale": 255}


def clouds():
    views = CloudViewGenerator("none", num_views=1)
    return CloudBatch.collate([views(Rooms(colour=True)[0], 0)[0]])


def voxels_of(**options):
    return Voxeliser(VoxelGrid(0.25), **options)(clouds()).voxels.tensor.features


def test_intensity_alone_is_multiplied():
    names = ("ones", "intensity", "xyz", "intensity", "colour")
    plain = voxels_of(features=names)
    scaled = voxels_of(features=names, intensity_scale=255.0)
    others = [0, 2, 3, 4, 6, 7, 8]
    assert torch.equal(scaled[:, others], plain[:, others])
    assert torch.equal(scaled[:, [1, 5]], plain[:, [1, 5]] * 255.0)
    mean = voxels_of(features=("intensity",), representative="mean", intensity_scale=255.0)
    assert torch.allclose(
        mean, voxels_of(features=("intensity",), representative="mean") * 255, rtol=1e-5
    )


def test_a_config_that_leaves_it_out_is_the_one_it_was():
    silent = load_config(config(), domain=POINTS)
    assert "intensity_scale" not in silent["voxels"]
    assert config_text(load_config(config(voxels={"intensity_scale": 1.0}), domain=POINTS)) == (
        config_text(silent)
    )
    assert build_voxeliser(silent).intensity_scale == 1.0
    scaled = load_config(config(voxels={"intensity_scale": 255}), domain=POINTS)
    assert build_voxeliser(scaled).intensity_scale == 255
    for bad in (0, -1, "many"):
        with pytest.raises(UsageError, match=r"voxels\.intensity_scale"):
            load_config(config(voxels={"intensity_scale": bad}), domain=POINTS)


def test_what_decides_the_input_is_what_it_was_where_nothing_new_is_said():
    section = {"size": 0.25, "features": ["intensity"], "max_voxels": 3}
    names = {"size", "kind", "low", "high", "features", "representative"}
    assert set(input_fields(section)) == names
    said = {**section, "intensity_scale": 255, "origin": "low"}
    assert set(input_fields(said)) == {*names, "intensity_scale", "origin"}
    assert set(input_fields({**said, "intensity_scale": 1.0, "origin": "zero"})) == names


def test_transfer_cuts_the_voxels_that_pretraining_cut():
    low, high = [-4.1, -4.1, -4.1], [4.1, 4.1, 4.1]
    section = {**BYTES, "low": low, "high": high, "origin": "low"}
    whole = plain_config(
        load_config(config(method={"backbone": UNET}, voxels=section), domain=POINTS)
    )
    known = input_of_config(whole)
    ours, theirs = voxeliser_of(known["voxels"]), build_voxeliser(whole)
    assert ours.intensity_scale == theirs.intensity_scale == 255
    a, b = ours(clouds()).voxels, theirs(clouds()).voxels
    assert torch.equal(a.tensor.coordinates, b.tensor.coordinates)
    assert torch.equal(a.tensor.features, b.tensor.features)
    assert known["backbone"]["width"] == 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    sections = config(
        method={"backbone": UNET}, voxels=BYTES, schedule={"max_steps": 1}, health={"every": 0}
    )
    folder = tmp_path_factory.mktemp("run")
    return pretrain(sections, work_dir=folder, domain=POINTS).checkpoint


def test_checkpoints_and_exports_say_it(checkpoint, tmp_path):
    kept = tmp_path / "net.safetensors"
    export(checkpoint, "safetensors", kept)
    for path in (checkpoint, kept):
        assert load_backbone(path).meta["voxels"]["intensity_scale"] == 255
        assert input_of(path, "from checkpoint")["voxels"]["intensity_scale"] == 255


def test_a_protocol_or_a_run_of_another_scale_is_refused(checkpoint):
    stated = {"features": ["intensity"], "intensity_scale": 1.0}
    with pytest.raises(UsageError, match=r"intensity_scale = 255, the protocol says 1\.0"):
        input_of(checkpoint, stated)
    known = input_of(checkpoint, "from checkpoint")
    starting_backbone(checkpoint, known["backbone"], known["voxels"], 0)
    bare = {k: v for k, v in known["voxels"].items() if k != "intensity_scale"}
    with pytest.raises(UsageError, match="intensity_scale"):
        starting_backbone(checkpoint, known["backbone"], {**bare, "intensity_scale": 2.0}, 0)
    with pytest.raises(UsageError, match="intensity_scale"):
        starting_backbone(checkpoint, known["backbone"], bare, 0)
