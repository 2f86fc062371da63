"""`pointcl pretrain`, `validate`, `pairs` and `configs`, from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from point_worlds import room

from pointcl.cli import COMMANDS, main

SMOKE = "pointcontrast_unet14w8_1xb2-120s_streets-50cm"
TINY = [
    "--cfg-options",
    "method.backbone.width=4",
    "voxels.size=0.6",
    "loader.num_workers=0",
    "log.tensorboard=False",
    "schedule.max_steps=2",
    "schedule.warmup_steps=0",
]


@pytest.fixture
def scans(tmp_path):
    """Five files of coordinates and nothing else."""
    folder = tmp_path / "scans" / "drive"
    folder.mkdir(parents=True)
    for k in range(5):
        np.save(folder / f"{k}.npy", room(k, 500)[0].astype(np.float32))
    return folder.parent


def test_one_line_pretrains_on_bare_coordinates_and_says_what_to_run_next(scans, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["pretrain", SMOKE, "--data", str(scans), "--work-dir", str(run), *TINY]) == 0
    out, error = capsys.readouterr()
    assert "pointcl export" in out
    assert "scans/s" in error
    assert torch.load(run / "last.pth", weights_only=True)["step"] == 2


def test_a_stopped_run_is_told_how_to_go_on_and_ends_on_the_same_weights(scans, tmp_path, capsys):
    def weights(name, *extra):
        arguments = ["pretrain", SMOKE, "--data", str(scans), "--work-dir", str(tmp_path / name)]
        assert main([*arguments, *extra, *TINY]) == 0
        return torch.load(tmp_path / name / "last.pth", weights_only=True)

    unbroken = weights("unbroken")
    assert weights("broken", "--max-steps", "1")["step"] == 1
    assert "resume with: pointcl pretrain" in capsys.readouterr().err
    resumed = weights("broken", "--resume")
    for name, value in unbroken["method"].items():
        assert torch.equal(value, resumed["method"][name]), name


def test_validate_prints_the_estimate_and_the_command(scans, capsys):
    assert main(["validate", SMOKE, "--data", str(scans), *TINY]) == 0
    out = capsys.readouterr().out
    assert "5 samples" in out
    assert f"pointcl pretrain {SMOKE}" in out


def test_pairs_are_counted_sample_by_sample(scans, capsys):
    drawn = scans.parent / "pairs.png"
    arguments = ["pairs", SMOKE, "--data", str(scans), "--count", "2", "--out", str(drawn)]
    assert main([*arguments, *TINY]) == 0
    picture = cv2.imread(str(drawn))
    assert picture.shape == (1200, 1200, 3)
    assert (picture.max(2) - picture.min(2) > 60).mean() > 0.005  # places in colour
    out = capsys.readouterr().out
    assert out.count("voxels with a partner") == 2
    assert "mean distance" in out


def test_pairs_of_labelled_scans_come_with_their_purity(capsys):
    data = ["data._delete_=True", "data.type=Rooms", "data.length=4"]
    assert main(["pairs", SMOKE, "--count", "1", *TINY, *data]) == 0
    out = capsys.readouterr().out
    assert "same label" in out
    assert "two objects" in out


def test_configs_are_listed_shown_and_copied_to_a_file_that_runs(tmp_path, capsys):
    assert main(["configs", "list"]) == 0
    listed = capsys.readouterr().out
    assert SMOKE in listed
    assert "densecl_r18" not in listed
    copy = tmp_path / "mine.py"
    assert main(["configs", "copy", SMOKE, str(copy)]) == 0
    assert f"pointcl pretrain {copy}" in capsys.readouterr().out
    assert main(["configs", "show", str(copy)]) == 0
    assert "'PointContrast'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["pretrain", "pointcontrst"], "no config"),
        (["pretrain", SMOKE, "--data", "no/such/folder"], "no/such/folder"),
        (["pretrain", SMOKE, "--cfg-options", "voxels.sise=1"], "voxels.sise"),
        (["validate", SMOKE, "--cfg-options", "voxels.features=[intensity,ones]"], "in_channels"),
        (["pairs", SMOKE, "--count", "0"], "--count"),
    ],
)
def test_bad_input_ends_with_one_message_that_names_it(arguments, named, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert named in error
    assert "Traceback" not in error


@pytest.mark.parametrize("command", ["pretrain", "validate", "pairs", "configs", "curves"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert COMMANDS[command][:20] in capsys.readouterr().out
