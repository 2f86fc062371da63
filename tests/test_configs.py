from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from densecl.engine.config import find_config, list_configs, load_config
from densecl.engine.hooks.scalars import read_scalars
from densecl.engine.runner import pretrain
from pointcl.engine.domain import POINTS

ROOT = Path(__file__).resolve().parents[1]
OTHER = ("transfer", "studies", "suites")
PRETRAINING = [name for name in list_configs() if find_config(name).parent.name not in OTHER]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0)
    for k in range(8):
        cv2.imwrite(str(folder / f"{k}.png"), noise.integers(0, 255, (40, 50, 3), np.uint8))
    return folder


def small(pictures, name: str) -> dict:
    """What makes a config run in a second without touching its method's settings."""
    method = load_config(name)["method"]
    queue = {"method.queue_size": 8} if "queue_size" in method else {}
    return {
        **queue,
        "data": {"_delete_": True, "type": "ImageFolder", "root": str(pictures)},
        "method.backbone.width": 4,
        "views.size": 32,
        "loader.batch_size": 4,
        "loader.num_workers": 0,
        "schedule.max_steps": 2,
        "schedule.max_epochs": None,
        "schedule.warmup_steps": 0,
        "train.amp": "off",
        "log.tensorboard": False,
        "log.every": 1,
    }


@pytest.mark.parametrize("name", PRETRAINING)
def test_every_shipped_config_makes_two_steps(name, pictures, tmp_path):
    result = pretrain(load_config(name, small(pictures, name)), work_dir=tmp_path)
    assert result.steps == 2
    lines = read_scalars(tmp_path)
    assert [line["step"] for line in lines] == [1, 2]
    assert all(math.isfinite(line["loss"]) for line in lines)


@pytest.mark.parametrize("name", list_configs())
def test_every_config_says_how_to_launch_it(name):
    text = find_config(name).read_text()
    assert text.startswith("# ")
    assert f"{name}" in text.split("_base_")[0].split("version")[0]


def test_a_wheel_installed_elsewhere_finds_and_runs_every_config(pictures, tmp_path):
    source = tmp_path / "source"  # a build leaves files behind
    for name in ("densecl", "pointcl", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy2(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", tmp_path, source], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    assert {"viewer.html", "viewer.js"} <= {path.name for path in (site / "pointcl/viz").iterdir()}
    assert {"page.css", "page.js"} <= {path.name for path in (site / "densecl/report").iterdir()}
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, check=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        ).stdout

    assert str(site) in run("-c", "import densecl; print(densecl.__file__)")

    def listed(program: str) -> list[str]:
        lines = run("-m", program, "configs", "list").splitlines()
        named = (line[2:] for line in lines if line.startswith("  "))
        return sorted(name for name in named if not name.startswith(" "))

    assert listed("densecl") == list_configs()
    assert listed("pointcl") == list_configs(POINTS)
    assert (site / "densecl" / "py.typed").is_file()
    assert str(site) in run("-c", "import pointcl; print(pointcl.__file__)")
    options = [
        f"{key}={value}" for key, value in small(pictures, PRETRAINING[0]).items() if key != "data"
    ]
    command = ["pretrain", PRETRAINING[0], "--data", str(pictures), "--work-dir", "run"]
    out = run("-m", "densecl", *command, "--cfg-options", *options)
    assert "weights:" in out
    assert (tmp_path / "run" / "last.pth").is_file()
