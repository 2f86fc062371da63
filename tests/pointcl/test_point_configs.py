"""Every shipped config of points says how to launch it and makes two steps."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import point_worlds

from densecl.engine.config import find_config, list_configs, load_config
from densecl.engine.hooks.scalars import read_scalars
from densecl.engine.runner import pretrain
from pointcl.engine.domain import POINTS

assert point_worlds.Rooms  # registers the data set
ROOMS = {"type": "Rooms", "length": 8, "views": 2, "count": 400}


def small() -> dict:
    """What makes a config run in a second without touching its method's settings."""
    return {
        "data": {"_delete_": True, "type": "PosedPairs", "dataset": ROOMS},
        "method.backbone.width": 4,
        "voxels.size": 0.6,
        "loader.batch_size": 2,
        "loader.num_workers": 0,
        "schedule.max_steps": 2,
        "schedule.max_epochs": None,
        "schedule.warmup_steps": 0,
        "log.tensorboard": False,
        "log.every": 1,
    }


@pytest.mark.parametrize("name", list_configs(POINTS))
def test_every_shipped_config_makes_two_steps(name, tmp_path):
    config = load_config(name, small(), domain=POINTS)
    result = pretrain(config, work_dir=tmp_path, domain=POINTS)
    assert result.steps == 2
    assert all(math.isfinite(line["loss"]) for line in read_scalars(tmp_path))


@pytest.mark.parametrize("name", list_configs(POINTS))
def test_every_config_says_how_to_launch_it(name):
    text = find_config(name, POINTS).read_text()
    assert text.startswith("# ")
    assert name in text.split("_base_")[0]
    assert "-m pointcl" in text or "pointcl pretrain" in text


@pytest.mark.parametrize("name", list_configs(POINTS))
def test_every_config_is_accepted_as_it_is(name):
    load_config(name, domain=POINTS)


def test_the_paper_tier_is_what_was_published():
    nce = load_config("pointcontrast_unet34c_8xb4-60000s_scannet-2.5cm", domain=POINTS)
    assert (nce.voxels.size, nce.method.radius, nce.method.temperature) == (0.025, 1.5, 0.4)
    assert (nce.method.max_pairs, nce.method.dim) == (4096, 32)
    assert (nce.optim.lr, nce.optim.momentum, nce.optim.weight_decay) == (0.1, 0.8, 1e-4)
    assert (nce.schedule.type, nce.schedule.decay_every) == ("exponential", 250)
    assert nce.schedule.get("decay", 0.99) == 0.99
    assert list(nce.voxels.features) == ["ones"] * 3
    name = "pointcontrast-hardest_unet34c_8xb4-60000s_scannet-2.5cm"
    hard = load_config(name, domain=POINTS)
    assert (hard.method.max_pairs, hard.method.candidates) == (1024, 256)
    assert tuple(hard.method.margins) == (0.1, 1.4)
