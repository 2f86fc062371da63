"""The config of a run on points: what is accepted, refused and written down."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from point_worlds import UNET, config

from densecl.engine.build import build_parts
from densecl.engine.check import complete
from densecl.engine.config import find_config, list_configs, load_config
from densecl.engine.domain import IMAGES
from densecl.errors import UsageError
from pointcl.engine.domain import POINTS, build_grid, build_voxeliser


def full(**changes):
    return complete(config(**changes), POINTS)


def test_completing_twice_changes_nothing():
    once = full()
    assert complete(once, POINTS) == once


def test_defaults_are_filled_in_and_the_probe_counts_scans():
    found = full()
    assert found["voxels"]["features"] == ("ones",)
    assert found["voxels"]["kind"] == "cartesian"
    assert found["input"]["channel_order"] == "RGB"
    assert (found["probe"]["every"], found["probe"]["scans"]) == (0, 16)
    assert "images" not in found["probe"]


@pytest.mark.parametrize(
    ("changes", "path", "nearest"),
    [
        ({"voxels": {"sise": 0.1}}, "voxels.sise", "'size'"),
        ({"voxls": {"size": 0.1}}, "voxls", "'voxels'"),
        ({"method": {"type": "PointContrst"}}, "method.type", "'PointContrast'"),
        ({"method": {"temprature": 0.1}}, "method.temprature", "'temperature'"),
        ({"method": {"backbone": {"type": "MinkUNt"}}}, "method.backbone.type", "'MinkUNet'"),
        (
            {"method": {"backbone": {**UNET, "widht": 8}}},
            "method.backbone.widht",
            "'width'",
        ),
        ({"data": {"type": "Roms"}}, "data.type", "'Rooms'"),
        ({"data": {"lenght": 4}}, "data.lenght", "'length'"),
        (
            {"data": {"type": "PosedPairs", "dataset": {"type": "Rooms", "veiws": 2}}},
            "data.dataset.veiws",
            "'views'",
        ),
        ({"data": {"type": "PosedPairs", "dataset": {"type": "Romms"}}}, "Romms", "'Rooms'"),
    ],
)
def test_unknown_fields_are_refused_with_their_path_and_the_nearest_name(changes, path, nearest):
    sections = config()
    for name, section in changes.items():
        whole = name == "data" and section.get("type") not in (None, "Rooms")
        sections[name] = section if whole else {**sections.get(name, {}), **section}
    with pytest.raises(UsageError) as caught:
        complete(sections, POINTS)
    assert path in caught.value.given
    assert nearest in caught.value.fix


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"voxels": {"size": 0}}, "voxels.size"),
        ({"voxels": {"size": (0.1, 0.1)}}, "voxels.size"),
        ({"voxels": {"kind": "spherical"}}, "voxels.kind"),
        ({"voxels": {"features": ("colr",)}}, "voxels.features"),
        ({"voxels": {"features": ()}}, "voxels.features"),
        ({"voxels": {"representative": "last"}}, "voxels.representative"),
        ({"voxels": {"max_voxels": 0}}, "voxels.max_voxels"),
        ({"voxels": {"low": (1, 0, 0), "high": (0, 1, 1)}}, "empty"),
        ({"views": {"anglee": 3}}, "anglee"),
        ({"views": {"seed": 3}}, "views.seed"),
        ({"views": {"num_views": 3}}, "num_views = 3, but method PointContrast takes 2"),
        ({"optim": {"dampening": 1.0}}, "optim.dampening"),
        ({"schedule": {"decay": 0.5}}, "schedule.decay"),
        ({"schedule": {"type": "exponential", "decay_every": 0}}, "schedule.decay_every"),
    ],
)
def test_bad_values_are_refused_by_path(changes, path):
    with pytest.raises(UsageError, match=path):
        full(**changes)


def test_features_must_be_as_wide_as_the_stem():
    with pytest.raises(UsageError, match=r"4 numbers a voxel, .*in_channels = 1") as caught:
        full(voxels={"features": ("intensity", "xyz")})
    assert "in_channels=4" in caught.value.fix
    backbone = {**UNET, "in_channels": 4}
    full(voxels={"features": ("intensity", "xyz")}, method={"backbone": backbone})
    del backbone["in_channels"]  # the default of the class counts: 3
    with pytest.raises(UsageError, match="in_channels = 3"):
        full(method={"backbone": backbone})


def test_the_grid_is_the_one_that_the_section_describes():
    found = full(voxels={"size": [0.1, 1.0, 0.2], "kind": "cylindrical", "high": [50, 180, 4],
                         "low": [0, -180, -3]})  # fmt: skip
    grid = build_grid(found)
    assert grid.sizes == (0.1, 1.0, 0.2)
    assert (grid.system, grid.low, grid.high) == ("cylindrical", (0, -180, -3), (50, 180, 4))
    assert build_voxeliser(found).grid == grid


def test_configs_of_points_and_of_pictures_are_listed_apart():
    points, pictures = set(list_configs(POINTS)), set(list_configs(IMAGES))
    # suites are asked for by the command of one package: `evaluate --suite quick` of either
    for name in points & pictures:
        files = {find_config(name, domain) for domain in (POINTS, IMAGES)}
        assert len(files) == 2
        assert {file.parent.name for file in files} == {"suites"}
    assert any(name.startswith("pointcontrast") for name in points)
    assert not any(name.startswith("pointcontrast") for name in pictures)
    with pytest.raises(UsageError, match="no config"):
        find_config(next(iter(points - pictures)), IMAGES)


def test_a_config_of_pictures_is_refused_by_what_is_unknown_there():
    with pytest.raises(UsageError, match="DenseCL"):
        load_config(find_config("densecl_r18w32_1xb32-500s_streets-64px"), domain=POINTS)


def test_a_bad_scan_is_named_before_a_run_starts(tmp_path):
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).random((50, 3), np.float32))
    (tmp_path / "b.npy").write_bytes(b"no scan")
    config = load_config(
        "pointcontrast_unet14w16_1xb4-600s_streets-30cm",
        {
            "data": {"_delete_": True, "type": "ScanFolder", "root": str(tmp_path)},
            "loader.batch_size": 1,
            "loader.num_workers": 0,
        },
        domain=POINTS,
    )
    with pytest.raises(UsageError, match=r"b\.npy"):
        build_parts(config, domain=POINTS)
