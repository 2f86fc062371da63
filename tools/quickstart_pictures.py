"""The 2D half of the quickstart: MoCo v2 and DenseCL on frames of the embedded streets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from quickstart_parts import Clock, Half, file_name, pretrain_into

from densecl.data.streets import PALETTE, Streets
from densecl.data.views import collate_views
from densecl.pairs import Pairs, PointSet, match_by_similarity
from densecl.transfer.images import LabelledImages
from densecl.transfer.protocol_file import ProtocolFile, read_protocol
from densecl.transfer.showcase import prediction_sheet
from densecl.transfer.table import Table
from densecl.transfer.tables import transfer_tables
from densecl.views import ViewGenerator
from densecl.viz.features import feature_pca
from densecl.viz.tile import caption, enlarge, grid, write_png
from densecl.weights import export, load_backbone

METHODS = {
    "MoCo v2": "mocov2_r18w32_1xb32-500s_streets-64px",
    "DenseCL": "densecl_r18w32_1xb32-500s_streets-64px",
}
PROTOCOL = "upernet_streets-5pct"
PARTS = {
    "frames": 30.0,
    "pretrain MoCo v2": 47.0,
    "pretrain DenseCL": 51.0,
    "export of 2D backbones": 1.0,
    "fine-tuning on frames": 349.0,
    "pictures of frames": 1.0,
}
"""Seconds on two cores."""
TRIAL = {
    "data.length": 8,
    "method.backbone.width": 8,
    "method.queue_size": 8,
    "views.size": 32,
    "loader.batch_size": 4,
    "loader.num_workers": 0,
    "schedule.max_steps": 2,
    "schedule.warmup_steps": 0,
    "log.tensorboard": False,
}
TRIAL_PROTOCOL = (
    "data.train.length=20",
    "data.val.length=4",
    "data.test.length=4",
    "data.unlabelled.length=8",
    "finetune.steps=2",
    "finetune.batch_size=2",
    "finetune.channels=8",
    "learning_rates=[0.001]",
    "subset_seeds=[0]",
    "seeds=[0]",
)


def run(out: Path, clock: Clock, trial: bool) -> Half:
    """Do all parts of this half that are not done yet."""
    protocol = read_protocol(PROTOCOL, TRIAL_PROTOCOL if trial else ())
    with clock.part("frames"):
        for part in protocol.data:
            protocol.dataset(part)
    checkpoints = {}
    for name, config in METHODS.items():
        with clock.part(f"pretrain {name}"):
            options = dict(TRIAL) if trial else {}
            if trial and name == "DenseCL":
                options["method.dense_warmup"] = 1
            checkpoints[name] = pretrain_into(out, name, config, options)
    with clock.part("export of 2D backbones"):
        exports = hand_over(out, checkpoints)
    with clock.part("fine-tuning on frames"):
        rows = {name: dict.fromkeys(protocol.seeds, file) for name, file in checkpoints.items()}
        (table,) = transfer_tables(protocol, rows, out / "transfer", demo=True).values()
    with clock.part("pictures of frames"):
        drawn = [
            draw_pairs(out, checkpoints["DenseCL"], protocol.dataset("val")),
            draw_features(out, checkpoints, protocol.dataset("val")),
            draw_predictions(out, table, protocol),
        ]
    title = "2D: segmentation of frames with 5 % of the labels"
    return Half(title, table, checkpoints, exports, drawn)


def hand_over(out: Path, checkpoints: dict[str, Path]) -> list[Path]:
    """Export every backbone with proof; the narrow one fits no model of torchvision's."""
    files = []
    for name, checkpoint in checkpoints.items():
        for target, suffix in (("mmseg", "pth"), ("safetensors", "safetensors")):
            files.append(out / "export" / f"{file_name(name)}_{target}.{suffix}")
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            print(export(checkpoint, target, files[-1]).summary())
    return files


def draw_pairs(out: Path, checkpoint: Path, world: Streets) -> Path:
    """The positives that DenseCL matches between two views of one frame."""
    sample = world[min(8, len(world) - 1)]
    cut = ViewGenerator("mocov2", size=128, seed=3, min_overlap=0.4)
    views = collate_views([cut(sample, epoch=0)])
    backbone = load_backbone(checkpoint)

    def rows(view: Any) -> PointSet:
        with torch.no_grad():
            cells = backbone(normalised(view.image, backbone)).last()
        return PointSet.from_view({"match": cells}, view)

    src, dst = rows(views[0]), rows(views[1])
    pairs: Pairs = match_by_similarity(src, dst, field="match", mutual=True)
    picture = pairs.draw(views[0].image[0], views[1].image[0], src, dst)
    return write_png(out / "pairs.png", caption(picture, "mutual matches of DenseCL's features"))


def draw_features(out: Path, checkpoints: dict[str, Path], world: Streets, count: int = 4) -> Path:
    """Principal components of the features of a few validation frames."""
    images = [world[i].frames[0].image for i in np.linspace(0, len(world) - 1, count).astype(int)]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    columns = [("frame", [enlarge(image, 160) for image in images])]
    for name, checkpoint in checkpoints.items():
        backbone = load_backbone(checkpoint)
        with torch.no_grad():
            maps = backbone(normalised(batch, backbone)).maps
        colours = feature_pca(maps[min(s for s in maps if s >= 8)])
        columns.append((f"{name}, stride 8", [enlarge(c, 160) for c in colours]))
    rows = [[pictures[k] for _, pictures in columns] for k in range(count)]
    return write_png(out / "features.png", grid(rows, [name for name, _ in columns]))


def normalised(images: torch.Tensor, backbone: Any) -> torch.Tensor:
    """(B, 3, H, W) uint8 RGB as the backbone's float input."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.mean, backbone.std))
    return (images.float() - mean) / std


def draw_predictions(out: Path, table: Table, protocol: ProtocolFile, count: int = 4) -> Path:
    """Predictions of scratch and of the methods beside the truth, on validation frames."""
    world = protocol.dataset("val")
    images = LabelledImages(world, np.linspace(0, len(world) - 1, count).astype(int).tolist())
    sheet = prediction_sheet(table, ["scratch", *METHODS], images, PALETTE)
    return write_png(out / "predictions.png", sheet)
