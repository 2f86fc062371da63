"""Every shipped config of points says how to launch it and makes two steps."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import camera_worlds
import point_worlds

from densecl.engine.config import find_config, list_configs, load_config
from densecl.engine.hooks.scalars import read_scalars
from densecl.engine.runner import pretrain
from densecl.errors import UsageError
from pointcl.engine.domain import POINTS

assert point_worlds.Rooms  # registers the data set
assert camera_worlds.PaintedRooms
OTHER = ("transfer", "studies", "suites")
PRETRAINING = [
    name for name in list_configs(POINTS) if find_config(name, POINTS).parent.name not in OTHER
]
ROOMS = {"type": "Rooms", "length": 8, "views": 2, "count": 400, "colour": True}
POSED = {"type": "PosedPairs", "dataset": ROOMS}
FURNISHED = {"type": "Furnished", "length": 8, "count": 400, "colour": True}
PAINTED_ROOMS = {"type": "PaintedRooms", "length": 8, "count": 400}
PAINTED = {
    "method.teacher": "random",
    "method.teacher_backbone": {"_delete_": True, **camera_worlds.TEACHER},
    "views.pictures.size": (32, 48),
    "views.pictures.store": False,
}


def small(name: str) -> dict:
    """What makes a config run in a second without touching its method's settings."""
    method = load_config(name, domain=POINTS)["method"]
    looks = "teacher" in method
    scans = PAINTED_ROOMS if looks else FURNISHED if method["type"] == "FAC" else POSED
    return (PAINTED if looks else {}) | {
        "data": {"_delete_": True, **scans},
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


@pytest.mark.parametrize("name", PRETRAINING)
def test_every_shipped_config_makes_two_steps(name, tmp_path):
    config = load_config(name, small(name), domain=POINTS)
    result = pretrain(config, work_dir=tmp_path, domain=POINTS)
    assert result.steps == 2
    assert all(math.isfinite(line["loss"]) for line in read_scalars(tmp_path))


@pytest.mark.parametrize("name", list_configs(POINTS))
def test_every_config_says_how_to_launch_it(name):
    text = find_config(name, POINTS).read_text()
    assert text.startswith("# ")
    assert name in text.split("_base_")[0]
    hows = (
        "-m pointcl",
        "pointcl pretrain",
        "pointcl transfer",
        "pointcl study",
        "pointcl evaluate",
    )
    assert any(how in text for how in hows)


@pytest.mark.parametrize("name", PRETRAINING)
def test_every_config_is_accepted_as_it_is(name):
    load_config(name, domain=POINTS)


def test_tiers_of_the_streets_read_coordinates_alone_so_that_their_rows_make_one_table():
    for tier in ("unet14w8_1xb2-120s_streets-50cm", "unet14w16_1xb4-600s_streets-30cm"):
        configs = [load_config(n, domain=POINTS) for n in PRETRAINING if n.endswith(tier)]
        assert len(configs) == 5
        for name in ("size", "kind", "features", "representative"):
            assert len({str(config["voxels"][name]) for config in configs}) == 1
        assert list(configs[0]["voxels"]["features"]) == ["ones"]
        backbones = [{**config["method"]["backbone"]} for config in configs]
        assert all(backbone == backbones[0] for backbone in backbones)


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


def test_slidr_is_what_was_published():
    slidr = load_config("slidr_unet34c_1xb4-50e_nuscenes-10cm", domain=POINTS)
    assert (slidr.method.dim, slidr.method.temperature, slidr.method.teacher_stride) == (
        64,
        0.07,
        4,
    )
    assert (slidr.voxels.kind, tuple(slidr.voxels.size)) == ("cylindrical", (0.1, 1.0, 0.1))
    assert (slidr.optim.lr, slidr.optim.momentum, slidr.optim.dampening) == (0.5, 0.9, 0.1)
    assert (slidr.optim.weight_decay, slidr.optim.scaling) == (1e-4, "none")
    assert (slidr.loader.batch_size, slidr.schedule.max_epochs) == (4, 50)
    pictures = slidr["views"]["pictures"]
    assert tuple(pictures["size"]) == (224, 416)
    assert (pictures["superpixels"]["segments"], pictures["min_links"]) == (150, 1024)
    detector = load_config("slidr_voxelresnet_1xb6-50e_nuscenes-10cm", domain=POINTS)
    assert (detector.optim.lr, detector.loader.batch_size, detector.method.read) == (0.01, 6, "bev")
    assert detector["views"]["pictures"]["superpixels"]["segments"] == 30
    ppkt = load_config("ppkt_unet34c_1xb4-50e_nuscenes-10cm", domain=POINTS)
    assert (ppkt.method.max_pairs, ppkt.method.teacher_stride) == (4096, None)
    assert ppkt["views"]["pictures"]["superpixels"] is None


def test_the_paper_tier_of_csc_is_what_was_published():
    csc = load_config("csc_unet34c_8xb4-100000s_scannet-2.5cm", domain=POINTS)
    voxel = csc.voxels.size
    assert (voxel, csc.method.radius, csc.method.temperature) == (0.025, 1.5, 0.4)
    assert tuple(csc.method.radii_metres) == (2.0 * voxel, 20.0 * voxel)
    assert (csc.method.max_pairs, csc.method.dim, csc.method.partition) == (4096, 32, "fast")
    assert (csc.method.world_space, csc.method.weight_inner) == (True, False)
    assert (csc.optim.lr, csc.optim.momentum, csc.optim.weight_decay) == (0.1, 0.8, 1e-4)
    assert (csc.schedule.max_steps, csc.schedule.decay_every) == (100000, 1000)
    assert list(csc.voxels.features) == ["colour"]


def test_segments_of_a_method_that_looks_at_none_are_refused():
    name = "csc_unet14w8_1xb2-120s_streets-50cm"
    with pytest.raises(UsageError, match="looks at no segments"):
        load_config(name, {"views.segments": "outdoors"}, domain=POINTS)
    name = "fac_unet14w8_1xb2-120s_streets-50cm"
    with pytest.raises(UsageError, match="Dbscn"):
        load_config(name, {"views.segments.type": "Dbscn"}, domain=POINTS)
