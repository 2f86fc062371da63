"""Runs that look at cameras: what a checkpoint says of the teacher, and which one may go on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import point_worlds
from camera_worlds import METHOD, PICTURES, TEACHER

import pointcl
from densecl.engine.build import build_parts
from densecl.engine.checkpoint import load_checkpoint
from densecl.engine.config import load_config
from densecl.engine.hooks.scalars import read_scalars
from densecl.engine.runner import pretrain
from densecl.errors import UsageError
from densecl.models import ResNet
from pointcl.cli import main
from pointcl.engine.domain import POINTS, build_grid


def config(kind="SLidR", method=None, pictures=None, **changes):
    return point_worlds.config(
        **{
            "method": {"type": kind, **METHOD, **(method or {})},
            "views": {
                "recipe": "slidr",
                "num_views": 1,
                "pictures": {**PICTURES, **(pictures or {})},
            },
            "data": {"type": "PaintedRooms"},
            **changes,
        }
    )


def run(folder, resume=False, max_steps=None, **changes):
    return pretrain(
        config(**changes), work_dir=folder, domain=POINTS, resume=resume, max_steps=max_steps
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A teacher's file of torchvision's names."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("teacher") / "weights.pth"
    torch.save(dict(ResNet(depth=18, width=8).state_dict()), path)
    return path


@pytest.mark.parametrize(("kind", "loss"), [("SLidR", "superpixels"), ("PPKT", "pixels")])
def test_three_steps_and_three_more_are_six_bit_for_bit(kind, loss, tmp_path):
    method = {"max_pairs": 60} if kind == "PPKT" else {"tolerant": True}
    options = {"kind": kind, "method": method, "loader": {"batch_size": 2, "num_workers": 1}}
    whole = run(tmp_path / "whole", **options)
    run(tmp_path / "parts", max_steps=3, **options)
    parts = run(tmp_path / "parts", resume=True, **options)
    one, other = (torch.load(r.checkpoint, weights_only=True)["method"] for r in (whole, parts))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    lines = read_scalars(tmp_path / "whole")
    assert {f"loss_{loss}", "links_per_scan", "pairs_per_scan"} <= set(lines[0])
    assert [line["loss"] for line in lines] == [
        line["loss"] for line in read_scalars(tmp_path / "parts")
    ]


def test_the_checkpoint_names_the_teacher_and_holds_none_of_its_weights(weights, tmp_path):
    result = run(tmp_path, max_steps=1, method={"teacher": str(weights), "teacher_backbone": None})
    content = load_checkpoint(result.checkpoint)
    told = content["meta"]["teacher"]
    assert told["path"] == str(weights)
    assert told["name"].endswith(f"{weights.parent.name}/weights.pth")
    assert told["stride"] == 8
    assert len(told["sha256"]) == 64
    names = [name for name in content["method"] if name.startswith("teacher")]
    assert names == ["teacher.fingerprint"]
    assert content["meta"]["mean"] is None  # of the backbone's input, which is no picture
    backbone = pointcl.load_backbone(result.checkpoint)
    prefix = content["meta"]["backbone_prefix"]
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, content["method"][prefix + name])


def test_a_run_goes_on_with_its_own_teacher_alone(tmp_path, weights):
    copy = tmp_path / "teacher.pth"
    copy.write_bytes(weights.read_bytes())
    method = {"teacher": str(copy), "teacher_backbone": None}
    run(tmp_path / "run", max_steps=3, method=method)
    state = torch.load(copy, weights_only=True)
    torch.save({name: value + 1e-3 for name, value in state.items()}, copy)
    with pytest.raises(UsageError, match="another teacher"):
        run(tmp_path / "run", resume=True, method=method)
    torch.save(state, copy)
    assert run(tmp_path / "run", resume=True, method=method).steps == 6


def test_pictures_are_normalised_as_the_teacher_wants_them():
    def norm(method, **changes):
        parts = build_parts(
            load_config(config(method=method, **changes), domain=POINTS), domain=POINTS
        )
        parts.method.teacher.input = method.pop("told", parts.method.teacher.input)
        return parts, parts.domain.build_model(parts.method, parts.config).norm

    other = {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0], "channel_order": "BGR"}
    parts, own = norm({}, input=other)
    assert own.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert not own.flip
    parts.method.teacher.input = None  # a file that cannot tell
    told = parts.domain.build_model(parts.method, parts.config).norm
    assert told.mean.flatten().tolist() == [1.0, 2.0, 3.0]
    assert told.flip
    batch = parts.model.prepare(next(iter(parts.loader)))
    assert batch.pictures.views.image.dtype == torch.float32
    assert batch.pictures.views.image.abs().max() < 3


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"pictures": {"superpixels": None}}, "superpixels = None with method SLidR"),
        ({"pictures": {"seed": 1}}, "views.pictures.seed"),
        ({"pictures": {"sise": [1, 2]}}, "sise"),
        ({"method": {"teacher_strid": 4}}, "teacher_stride"),
    ],
)
def test_wrong_settings_are_found_before_anything_is_built(changes, named):
    with pytest.raises(UsageError, match=named):
        load_config(config(**changes), domain=POINTS)


def test_pictures_for_a_method_that_looks_at_none_are_refused():
    sections = point_worlds.config(views={"pictures": {}})
    with pytest.raises(UsageError, match="PointContrast looks at no picture"):
        load_config(sections, domain=POINTS)


def test_without_a_word_slidr_gets_its_superpixels_and_ppkt_none():
    for kind, expected in (("SLidR", 150), ("PPKT", None)):
        sections = config(kind=kind)
        del sections["views"]["pictures"]
        found = POINTS.build_views(load_config(sections, domain=POINTS).to_dict())
        cut = found.pictures.superpixels
        assert (None if cut is None else cut.compute.segments) == expected
        assert found.pictures.cut.size == (224, 416)


def test_voxels_may_be_counted_from_the_low_corner():
    voxels = {"size": 0.5, "low": (-4.0, -4.0, -2.0), "high": (4.0, 4.0, 3.0)}
    zero = load_config(config(voxels=voxels), domain=POINTS)
    assert build_grid(zero).origin == (0.0, 0.0, 0.0)
    assert "origin" not in zero.voxels
    low = load_config(config(voxels={**voxels, "origin": "low"}), domain=POINTS)
    assert build_grid(low).origin == (-4.0, -4.0, -2.0)
    with pytest.raises(UsageError, match=r"without voxels\.low"):
        load_config(config(voxels={"origin": "low"}), domain=POINTS)


def test_pairs_of_points_and_superpixels_are_counted(tmp_path, capsys):
    assert TEACHER["depth"] == 18
    text = "\n".join(f"{name} = {section!r}" for name, section in config().items())
    path = tmp_path / "mine.py"
    path.write_text(text)
    assert main(["pairs", str(path), "--count", "2"]) == 0
    out = capsys.readouterr().out
    assert out.count("voxels with a partner") == 2
    assert "same label" in out
