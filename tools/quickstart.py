"""The main job on the embedded world: pretrain, hand over, fine-tune, say what it was worth.

    make quickstart            or: python tools/quickstart.py [--out DIR]

Every part that is finished is kept: started again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from densecl.data.streets import PALETTE, WORLD_VERSION, Streets
from densecl.data.views import collate_views
from densecl.engine.config import load_config
from densecl.engine.runner import pretrain
from densecl.files import write_json
from densecl.pairs import Pairs, PointSet, match_by_similarity
from densecl.transfer.images import LabelledImages
from densecl.transfer.protocol_file import read_protocol
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


class Clock:
    """Seconds of each part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what is inside and say so."""
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)
        print(f"== {name}: {self.seconds[name]:.0f} s", flush=True)


def pretrain_all(out: Path, clock: Clock) -> dict[str, Path]:
    """Pretrain each method, or pick up what an earlier call finished; row name -> checkpoint."""
    checkpoints = {}
    for name, config in METHODS.items():
        with clock.part(f"pretrain {name}"):
            result = pretrain(load_config(config), work_dir=out / config, resume="auto")
            if result.reason != "finished" or result.checkpoint is None:
                raise SystemExit(f"stopped in pretraining {name}; start again to go on")
            checkpoints[name] = result.checkpoint
    return checkpoints


def hand_over(out: Path, checkpoints: dict[str, Path]) -> None:
    """Export every backbone with proof; the narrow one fits no model of torchvision's."""
    for name, checkpoint in checkpoints.items():
        for target, suffix in (("mmseg", "pth"), ("safetensors", "safetensors")):
            file = out / "export" / f"{name.lower().replace(' ', '')}_{target}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            print(export(checkpoint, target, file).summary())


def draw_pairs(out: Path, checkpoint: Path) -> Path:
    """The positives that DenseCL matches between two views of one frame."""
    world = Streets("val")
    views = collate_views(
        [ViewGenerator("mocov2", size=128, seed=3, min_overlap=0.4)(world[8], epoch=0)]
    )
    backbone = load_backbone(checkpoint)

    def rows(view: Any) -> PointSet:
        with torch.no_grad():
            cells = backbone(normalised(view.image, backbone)).last()
        return PointSet.from_view({"match": cells}, view)

    src, dst = rows(views[0]), rows(views[1])
    pairs: Pairs = match_by_similarity(src, dst, field="match", mutual=True)
    picture = pairs.draw(views[0].image[0], views[1].image[0], src, dst)
    return write_png(out / "pairs.png", caption(picture, "mutual matches of DenseCL's features"))


def draw_features(out: Path, checkpoints: dict[str, Path], count: int = 4) -> Path:
    """Principal components of the features of a few validation frames."""
    world = Streets("val")
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


def draw_predictions(out: Path, table: Table, count: int = 4) -> Path:
    """Predictions of scratch and of the methods beside the truth, on validation frames."""
    world = Streets("val")
    images = LabelledImages(world, np.linspace(0, len(world) - 1, count).astype(int).tolist())
    sheet = prediction_sheet(table, ["scratch", *METHODS], images, PALETTE)
    return write_png(out / "predictions.png", sheet)


def main() -> None:
    """Run the parts in order, print the table, say where everything lies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("work_dirs/quickstart"))
    out: Path = parser.parse_args().out
    clock = Clock()
    protocol = read_protocol(PROTOCOL)

    with clock.part("data"):
        for part in protocol.data:
            protocol.dataset(part)
    checkpoints = pretrain_all(out, clock)
    with clock.part("export"):
        hand_over(out, checkpoints)
    with clock.part("fine-tuning"):
        rows = {name: dict.fromkeys(protocol.seeds, file) for name, file in checkpoints.items()}
        (table,) = transfer_tables(protocol, rows, out / "transfer", demo=True).values()
    with clock.part("pictures"):
        pictures = [
            draw_pairs(out, checkpoints["DenseCL"]),
            draw_features(out, checkpoints),
            draw_predictions(out, table),
        ]

    summary = table.to_dict() | {"seconds": clock.seconds, "world_version": WORLD_VERSION}
    write_json(out / "summary.json", summary)
    print(f"\n{table.to_markdown()}")
    print("seconds:", ", ".join(f"{name} {s:.0f}" for name, s in clock.seconds.items()))
    print(f"total {sum(clock.seconds.values()) / 60:.1f} minutes")
    print(f"summary:  {out / 'summary.json'}")
    print("pictures: " + ", ".join(str(path) for path in pictures))
    print(f"weights:  {', '.join(str(path) for path in checkpoints.values())}")
    print("next, on your own pictures: densecl pretrain --data FOLDER")


if __name__ == "__main__":
    main()
