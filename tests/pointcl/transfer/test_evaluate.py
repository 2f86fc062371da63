"""`pointcl evaluate`, from checkpoints of ``pointcl pretrain`` to the written files."""

from __future__ import annotations

import json

import pytest
import torch

from densecl.engine.config import load_config
from densecl.engine.runner import pretrain
from densecl.errors import UsageError
from densecl.transfer.protocol_file import check_protocol
from densecl.transfer.weight_file import Told
from pointcl.cli import main
from pointcl.engine.domain import POINTS
from pointcl.models import build_backbone
from pointcl.transfer.of_scans import SCANS

PROTOCOL = """
version = 1
data = dict(
    train=dict(type="Layers", length=4, seed=1),
    val=dict(type="Layers", length=2, seed=2),
    test=dict(type="Layers", length=2, seed=3),
    unlabelled=dict(type="Layers", length=2, seed=4, labelled=False),
)
probe = dict(points=60, iterations=5)
decays = (1e-4, 1e-2)
fractions = (0.5,)
subset_seeds = (0, 1)
seeds = (0, 1)
"""
BACKBONE = {"type": "MinkUNet", "depth": 14, "width": 4, "in_channels": 1}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Pretrain for a step on voxels of a size."""

    def make(size):
        config = load_config(
            {
                "method": {"type": "PointContrast", "backbone": BACKBONE, "dim": 8},
                "views": {"recipe": {"base": "pointcontrast", "axis": "z"}},
                "voxels": {"size": size, "max_voxels": 200},
                "data": {"type": "Layers", "length": 4, "labelled": False},
                "loader": {"batch_size": 2, "num_workers": 0},
                "optim": {"type": "SGD", "lr": 0.1, "scaling": "none"},
                "schedule": {"max_steps": 1, "warmup_steps": 0},
                "train": {"device": "cpu"},
                "log": {"tensorboard": False},
            },
            domain=POINTS,
        )
        folder = tmp_path_factory.mktemp("run")
        return pretrain(config, work_dir=folder, domain=POINTS).checkpoint

    return make


@pytest.fixture(scope="module")
def checkpoint(make):
    return make(0.5)


def evaluate(tmp_path, *arguments):
    (tmp_path / "probe.py").write_text(PROTOCOL)
    words = ["evaluate", *map(str, arguments), "--protocols", str(tmp_path / "probe.py")]
    return main([*words, "--out", str(tmp_path / "out"), "--device", "cpu"])


def test_scans_are_evaluated_by_the_same_machine(checkpoint, make, tmp_path, capsys):
    fine = make(0.25)
    bare = tmp_path / "bare.pth"
    torch.save(build_backbone(BACKBONE).state_dict(), bare)
    assert evaluate(tmp_path, f"pc={checkpoint}", f"fine={fine}", bare, "random") == 1
    said = capsys.readouterr().out
    assert "pc: PointContrast, layout densecl, branch online, " in said
    assert "size [0.5, 0.5, 0.5]" in said
    written = json.loads((tmp_path / "out/evaluation.json").read_text())
    (refused,) = written["refused"]
    assert refused["name"] == "bare"
    # other voxels are another input: a table of their own
    tables = written["protocols"][0]["tables"]
    assert [table["folder"] for table in tables] == [
        "probe/backbone1/50pct",
        "probe/backbone2/50pct",
    ]
    summaries = [
        json.loads((tmp_path / "out" / table["folder"] / "summary.json").read_text())
        for table in tables
    ]
    assert [row["name"] for row in summaries[0]["rows"]] == [
        "random",
        "random, batch norm re-estimated",
        "pc, permuted",
        "points alone (x, y, z, intensity)",
        "random, other seeds",
        "pc",
    ]
    assert summaries[0]["complete"]
    assert summaries[0]["rate"] == "decay"
    assert summaries[0]["rows"][-1]["confusion"]
    assert (tmp_path / "out/probe/backbone1/50pct/pictures/predictions.png").is_file()


def test_normalisation_of_pictures_cannot_be_told_of_scans(checkpoint):
    with pytest.raises(UsageError, match="voxels are stated in the protocol"):
        SCANS.inspect(checkpoint, Told(mean=(1.0,)))


def test_the_input_is_that_of_the_file_and_the_protocol_must_agree(checkpoint):
    data = {part: {"type": "Layers", "length": 2, "seed": 1} for part in ("train", "val")}
    file = SCANS.inspect(checkpoint, Told())
    asked = check_protocol("toy", {"data": data}, kind=SCANS)
    known = SCANS.known_for(file, Told(), asked)
    assert known["voxels"]["size"] == [0.5] * 3
    assert known["backbone"] == file.backbone
    assert SCANS.random(known, 3).state_dict().keys() == file.load().state_dict().keys()
    other = {"size": 0.25, "features": ["ones"]}
    stated = check_protocol("toy", {"data": data, "voxels": other}, kind=SCANS)
    with pytest.raises(UsageError, match=r"voxels\.size"):
        SCANS.known_for(file, Told(), stated)
