"""Both correspondences as whole tables on the embedded streets, from checkpoint to files."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from densecl.engine.config import list_configs, load_config
from densecl.engine.runner import pretrain
from densecl.errors import UsageError
from densecl.transfer.protocol_file import check_protocol, read_protocol
from densecl.transfer.tables import transfer_tables
from pointcl.engine.domain import POINTS
from pointcl.transfer.correspondence_task import CorrespondenceSpec
from pointcl.transfer.image_correspondence_task import ImageCorrespondenceSpec
from pointcl.transfer.of_scans import SCANS

BACKBONE = {"type": "MinkUNet", "depth": 14, "width": 4, "in_channels": 1}


def quiet(text):
    pass


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A step of PointContrast."""
    config = load_config(
        {
            "method": {"type": "PointContrast", "backbone": BACKBONE, "dim": 8},
            "views": {"recipe": {"base": "pointcontrast", "axis": "z"}},
            "voxels": {"size": 1.0, "max_voxels": 200},
            "data": {"type": "Layers", "length": 4, "labelled": False},
            "loader": {"batch_size": 2, "num_workers": 0},
            "optim": {"type": "SGD", "lr": 0.1, "scaling": "none"},
            "schedule": {"max_steps": 1, "warmup_steps": 0},
            "train": {"device": "cpu"},
            "log": {"tensorboard": False},
        },
        domain=POINTS,
    )
    return pretrain(config, work_dir=tmp_path_factory.mktemp("run"), domain=POINTS).checkpoint


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """Config of a few scans of a split; they are rendered once."""
    cache = str(tmp_path_factory.mktemp("streets"))

    def streets(split, **options):
        small = {"length": 2, "beams": 6, "steps": 60, "camera_size": (32, 48), "cache": cache}
        return {"type": "LidarStreets", "split": split, "compensate": True, **small, **options}

    return streets


def table(protocol, checkpoint, out):
    tables = transfer_tables(
        protocol, {"pc": {0: checkpoint, 1: checkpoint}}, out, kind=SCANS, device="cpu", log=quiet
    )
    (found,) = tables.values()
    return found


def test_recall_in_the_next_scan_makes_a_table(checkpoint, streets, tmp_path):
    clips = {"clip": 2, "cameras": ()}
    parts = {part: {"type": "PosedPairs", "dataset": streets(part, **clips)} for part in ("val",)}
    parts["test"] = {"type": "PosedPairs", "dataset": streets("test", **clips)}
    parts["unlabelled"] = streets("val", **clips)
    section = {"points": 100, "candidates": 200, "turn": 30.0}
    protocol = check_protocol(
        "toy", {"data": parts, "correspondence": section, "seeds": [0, 1]}, kind=SCANS
    )
    found = table(protocol, checkpoint, tmp_path)
    assert [row.name for row in found.rows] == [
        "random",
        "random, batch norm re-estimated",
        "pc, permuted",
        "points alone (x, y, z)",
        "pc",
    ]
    assert found.complete
    assert (found.split, found.test_reads) == ("test", 1)
    assert found.columns[0].key == "recall_1"
    summary = json.loads((tmp_path / "all" / "summary.json").read_text())
    assert summary["protocol"]["run"]["voxels"]["size"] == [1.0] * 3
    # chance and "same place" are the same for every row
    for name in ("chance_1", "chance_2", "still_1", "still_2"):
        assert len({str(row.more[name]) for row in found.rows}) == 1
    assert len((tmp_path / "all" / "table.md").read_text()) > 100
    pairs = json.loads((tmp_path / "all" / "items.json").read_text())["rows"]["pc"]
    assert all(len(items) == 1 for items in pairs.values())
    # taken up again, nothing is run
    cells = sorted((tmp_path / "all" / "cells").iterdir())
    before = [file.stat().st_mtime_ns for file in cells]
    again = table(protocol, checkpoint, tmp_path)
    assert again.to_dict()["rows"] == found.to_dict()["rows"]
    assert [file.stat().st_mtime_ns for file in cells] == before


def test_recall_in_the_picture_makes_a_table(checkpoint, streets, tmp_path):
    parts = {part: streets(part, clip=1) for part in ("train", "val")}
    section = {
        "teacher": "random",
        "teacher_backbone": {"type": "ResNet", "depth": 18, "width": 4},
        "teacher_stride": 8,
        "points": 60,
    }
    protocol = check_protocol(
        "toy", {"data": parts, "image_correspondence": section, "seeds": [0, 1]}, kind=SCANS
    )
    found = table(protocol, checkpoint, tmp_path)
    assert [row.name for row in found.rows] == [
        "random",
        "pc, permuted",
        "points alone (x, y, z, intensity)",
        "pc",
    ]
    assert found.complete
    assert found.split == "validation"
    assert len({str(row.more["chance_1"]) for row in found.rows}) == 1
    summary = json.loads((tmp_path / "all" / "summary.json").read_text())
    assert len(summary["protocol"]["run"]["teacher"]["sha256"]) == 64
    assert summary["protocol"]["subset_sizes"] == {"all": 2}


def test_the_shipped_protocols_are_valid(checkpoint):
    pose = read_protocol("streets_lidar_correspondence", kind=SCANS)
    assert pose.run == "correspondence"
    assert {"val", "test", "unlabelled"} == set(pose.data)
    task = SCANS.task(pose, {"pc": {0: checkpoint}}, 0, "cpu")
    assert (task.turn, task.metres) == (40.0, 1.0)
    # every pair is of one moment
    for part, section in pose.data.items():
        if part != "unlabelled":
            assert len(section["pairs"]) == section["dataset"]["length"] // 2
            assert all(
                b == a + 1 and a % section["dataset"]["clip"] == 0 for a, b in section["pairs"]
            )
    picture = read_protocol("streets_lidar_image_correspondence", kind=SCANS)
    assert {"train", "val", "test", "unlabelled"} == set(picture.data)
    with pytest.raises(UsageError, match=r"image_correspondence\.teacher.*no such file"):
        SCANS.task(picture, {"pc": {0: checkpoint}}, 0, "cpu")
    untrained = read_protocol(
        "streets_lidar_image_correspondence",
        ["image_correspondence.teacher=random"],
        kind=SCANS,
    )
    assert SCANS.task(untrained, {"pc": {0: checkpoint}}, 0, "cpu").opened.stride == 8
    assert {pose.name, picture.name} <= set(list_configs(POINTS))


PAGE = Path(__file__).parents[3] / "docs" / "metrics" / "point_correspondence.md"


@pytest.mark.parametrize("spec", [CorrespondenceSpec, ImageCorrespondenceSpec])
def test_the_page_lists_settings_with_their_defaults_and_columns(spec):
    scan, picture = PAGE.read_text().split("\n## The picture")
    text = scan if spec is CorrespondenceSpec else picture.split("\n## ")[0]
    defaults = {item.name: item.default for item in fields(spec)}
    if "teacher" in defaults:
        defaults["teacher"] = "none"
    listed = {}
    for names, values in re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", text, flags=re.MULTILINE):
        keys = re.findall(r"`(\w+)`", names)
        listed |= dict(zip(keys, values.split(", "), strict=True))
    assert listed == {
        name: str(value) for name, value in defaults.items() if name not in ("backbone", "voxels")
    }
    for column in spec.columns:
        assert column.title.partition(" at ")[0] in text
