"""The 3D half of the quickstart: PointContrast and SLidR on LiDAR scans of the same streets.

SLidR distils a network of pictures into one of points: its teacher is the DenseCL of the 2D half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quickstart_parts import Clock, Half, file_name, pretrain_into

from densecl.engine.build import build_data, build_method
from densecl.engine.config import load_config, plain_config
from densecl.transfer.protocol_file import ProtocolFile, read_protocol
from densecl.transfer.study import RowSpec
from densecl.transfer.table import Table
from densecl.transfer.tables import transfer_tables
from densecl.viz.features import PrincipalColours
from densecl.viz.tile import write_png
from pointcl.engine.domain import POINTS
from pointcl.methods.base import PointMethod
from pointcl.transfer.clouds import LabelledScans, whole_scans
from pointcl.transfer.of_scans import SCANS
from pointcl.transfer.showcase import row_predictions
from pointcl.viz.colours import by_features, by_label
from pointcl.viz.html import Shown, write_html
from pointcl.viz.pairs import draw_pairs
from pointcl.viz.sheet import scan_sheet
from pointcl.weights import export, load_backbone

POINT_CONTRAST = "pointcontrast_unet14w8_1xb2-120s_streets-50cm"
SLIDR = "slidr_unet14w8_1xb2-120s_streets-50cm"
TAUGHT = "SLidR (teacher: DenseCL)"
PROTOCOL = "streets_lidar-5pct"
PARTS = {
    "scans": 15.0,
    "pretrain PointContrast": 25.0,
    f"pretrain {TAUGHT}": 18.0,
    "export of 3D backbones": 1.0,
    "fine-tuning on scans": 276.0,
    "pictures of scans": 1.0,
}
"""Seconds on two cores."""
SCENES = 3
"""Validation scans that are drawn."""

_FEW_BEAMS = {"beams": 12, "steps": 90}
TRIAL = {
    "method.backbone.width": 4,
    "method.dim": 8,
    "loader.num_workers": 0,
    "schedule.max_steps": 2,
    "schedule.warmup_steps": 0,
    "log.tensorboard": False,
}
TRIAL_PROTOCOL = (
    *(f"data.{part}.{key}={value}"
      for part in ("train", "val", "test", "unlabelled") for key, value in _FEW_BEAMS.items()),
    "data.train.length=20",
    "data.val.length=4",
    "data.test.length=4",
    "data.unlabelled.length=8",
    "finetune.steps=2",
    "learning_rates=[0.01]",
    "subset_seeds=[0]",
    "seeds=[0]",
)  # fmt: skip


def pretraining(teacher: Path, trial: bool) -> dict[str, tuple[str, dict[str, Any]]]:
    """Row name -> config and what is changed in it: rows of one table read the same voxels."""
    small: dict[str, dict[str, Any]] = {"scans": {}, "pictures": {}}
    if trial:
        sensor = {"length": 4, **_FEW_BEAMS}
        small["scans"] = TRIAL | {f"data.dataset.{k}": v for k, v in sensor.items()}
        small["pictures"] = TRIAL | {f"data.{k}": v for k, v in sensor.items()}
        small["pictures"] |= {
            "data.cameras": ["front"],
            "views.pictures.min_links": 8,
            "views.pictures.store": False,
        }
    return {
        "PointContrast": (POINT_CONTRAST, small["scans"]),
        TAUGHT: (
            SLIDR,
            {
                "method.teacher": str(teacher),
                "method.teacher_backbone": None,
                **small["pictures"],
            },
        ),
    }


def run(out: Path, clock: Clock, trial: bool, teacher: Path) -> Half:
    """Do all parts of this half that are not done yet.

    Args:
        out: where to write.
        clock: knows the parts.
        trial: at toy sizes.
        teacher: a checkpoint of a network of pictures.
    """
    protocol = read_protocol(PROTOCOL, TRIAL_PROTOCOL if trial else (), kind=SCANS)
    methods = pretraining(teacher, trial)
    with clock.part("scans"):
        for part in protocol.data:
            protocol.dataset(part)
        for config, options in methods.values():
            build_data(load_config(config, options, domain=POINTS), POINTS)
    checkpoints = {}
    for name, (config, options) in methods.items():
        with clock.part(f"pretrain {name}"):
            checkpoints[name] = pretrain_into(out, name, config, options, POINTS)
    with clock.part("export of 3D backbones"):
        exports = hand_over(out, checkpoints)
    with clock.part("fine-tuning on scans"):
        rows = {name: dict.fromkeys(protocol.seeds, file) for name, file in checkpoints.items()}
        (table,) = transfer_tables(
            protocol, rows, out / "transfer_scans", kind=SCANS, demo=True
        ).values()
    with clock.part("pictures of scans"):
        shown = predictions_and_features(table, checkpoints, protocol)
        drawn = [draw_positives(out, *methods["PointContrast"]), *draw(out, shown, checkpoints)]
    title = "3D: segmentation of LiDAR scans with 5 % of the labels"
    notes = f"SLidR's teacher is the DenseCL of the table above: `{teacher}`."
    return Half(title, table, checkpoints, exports, drawn, notes)


def hand_over(out: Path, checkpoints: Mapping[str, Path]) -> list[Path]:
    """Export every backbone for MinkowskiEngine, with proof."""
    files = []
    for name, checkpoint in checkpoints.items():
        files.append(out / "export" / f"{file_name(name)}_minkowski.pth")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        print(export(checkpoint, "minkowski", files[-1]).summary())
    return files


def draw_positives(out: Path, config: str, options: Mapping[str, Any]) -> Path:
    """The voxels that a method pairs, between two scans of one place."""
    settings = load_config(config, options, domain=POINTS)
    method = build_method(settings, settings["schedule"]["max_steps"], POINTS)
    assert isinstance(method, PointMethod)
    cut = POINTS.build_views(plain_config(settings))
    batch = cut.collate([cut(build_data(settings, POINTS)[0], 0)])
    first, second = batch.views
    picture = draw_pairs(first, second, *method.positives(batch))
    return write_png(out / "scans_pairs.png", picture)


def predictions_and_features(
    table: Table, checkpoints: Mapping[str, Path], protocol: ProtocolFile
) -> list[Shown]:
    """Validation scans in the colours of the truth, of predictions, and of features."""
    world = protocol.dataset("val")
    chosen = np.linspace(0, len(world) - 1, min(SCENES, len(world))).round().astype(int)
    scans = LabelledScans(world, chosen.tolist())
    rows = {row.name: row for row in table.rows}
    ids: dict[str, Sequence[Any]] = {"truth": [scans[k].label for k in range(len(scans))]}
    for name in ("scratch", *checkpoints):
        trained = rows[name].trained
        assert trained is not None
        spec: Any = trained[0]
        ids[name] = row_predictions(RowSpec(name), spec, trained[1], protocol.seeds[0], scans)
    features = {
        f"{name}: features": features_of(file, scans, spec.voxels)
        for name, file in checkpoints.items()
    }
    bases = {name: PrincipalColours.fit(torch.cat(found)) for name, found in features.items()}
    shown = []
    for k in range(len(scans)):
        colours = {
            name: by_label(np.asarray(found[k]), world.palette, world.classes)
            for name, found in ids.items()
        }
        colours |= {
            name: by_features(found[k].numpy(), bases[name]) for name, found in features.items()
        }
        shown.append(Shown(scans[k].points, colours, scans.name(k)))
    return shown


def features_of(file: Path, scans: LabelledScans, voxels: Mapping[str, Any]) -> list[torch.Tensor]:
    """(N, C) features of the points of each scan, those of their voxels; zeros without one."""
    backbone = load_backbone(file)
    found = []
    for (position,), batch in whole_scans(scans, voxels):
        with torch.no_grad():
            maps = backbone(batch.voxels.tensor).maps[1].features
        rows = torch.zeros(len(scans[position]), maps.shape[1])
        voxel = batch.voxels.point_to_voxel
        rows[batch.cloud.index[voxel >= 0]] = maps[voxel[voxel >= 0]]
        found.append(rows)
    return found


def draw(out: Path, shown: Sequence[Shown], checkpoints: Mapping[str, Path]) -> list[Path]:
    """Two sheets, and a page to turn the scans in a browser."""
    rows = ["truth", "scratch", *checkpoints]
    features = [f"{name}: features" for name in checkpoints]
    size = (300, 400)
    return [
        write_png(out / "scans_predictions.png", scan_sheet(shown, rows, view="above", size=size)),
        write_png(out / "scans_features.png", scan_sheet(shown, features, size=size)),
        write_html(out / "scans.html", shown, title="truth, predictions and features"),
    ]
