"""Controls of the LiDAR's world: what can be reached without seeing shape or context.

Each is reported as mIoU on the towns of ``val``, over the classes that occur there, beside a
small network trained with all and with few labels. The world is sound while every control stays
at or below 60 % of the fully supervised network, and the few-label network lies clearly between.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densecl.data.streets.classes import CLASSES, IGNORE
from densecl.data.streets.control_net import train_perceptron
from densecl.data.streets.controls import class_iou, confusion, judge, mean_iou
from pointcl.data.streets.control_net import Cloud, train_network
from pointcl.data.streets.dataset import LidarStreets

L = len(CLASSES)
Predict = Callable[[Cloud], np.ndarray]

BUDGETS: dict[str, dict[str, Any]] = {
    "full": {
        "train": 120,
        "val": 40,
        "few": 0.05,
        "steps": 1200,
        "batch": 4,
        "points": 400_000,
        "passes": 8,
    },
    "fast": {
        "train": 12,
        "val": 6,
        "few": 0.1,
        "steps": 20,
        "batch": 2,
        "points": 20_000,
        "passes": 3,
    },
}


def load(data: LidarStreets) -> list[Cloud]:
    """The points of all scans."""
    scans = (data[k] for k in range(len(data)))
    return [
        Cloud(s.points, np.asarray(s.intensity), np.asarray(s.label).astype(np.uint8))
        for s in scans
    ]


def counts(clouds: Sequence[Cloud]) -> np.ndarray:
    """(L,) points of each class."""
    return np.sum([np.bincount(c.label, minlength=256)[:L] for c in clouds], 0)


def majority(clouds: Sequence[Cloud]) -> Predict:
    """The commonest class everywhere."""
    answer = counts(clouds).argmax()
    return lambda cloud: np.full(len(cloud.points), answer, np.uint8)


_CELLS = (26, 40, 24)
"""Cells of the position prior along range, height and azimuth."""


def cells(points: np.ndarray) -> np.ndarray:
    """(N,) int64 cell of each point: 2.5 m of range, 0.25 m of height, 15 degrees of azimuth."""
    span = np.hypot(points[:, 0], points[:, 1])
    azimuth = np.arctan2(points[:, 1], points[:, 0]) + np.pi
    parts = (span / 2.5, (points[:, 2] + 4.0) / 0.25, azimuth / (2 * np.pi) * _CELLS[2])
    index = [np.clip(p.astype(np.int64), 0, n - 1) for p, n in zip(parts, _CELLS, strict=True)]
    return np.ravel_multi_index(index, _CELLS)


def position_prior(clouds: Sequence[Cloud]) -> Predict:
    """The commonest class of each cell; where none was seen, the commonest of all."""
    table = np.zeros((int(np.prod(_CELLS)), L), np.int64)
    for cloud in clouds:
        known = cloud.label != IGNORE
        np.add.at(table, (cells(cloud.points[known]), cloud.label[known]), 1)
    answer = table.argmax(1)
    answer[table.sum(1) == 0] = table.sum(0).argmax()
    return lambda cloud: answer[cells(cloud.points)].astype(np.uint8)


def point_features(cloud: Cloud) -> Tensor:
    """(N, 4) float32: x, y, z and intensity, each scaled to about [-1, 1]."""
    scale = np.array([25.0, 25.0, 2.5], np.float32)
    rows = np.concatenate([cloud.points / scale, 2 * cloud.intensity[:, None] - 1], 1)
    return torch.from_numpy(rows.astype(np.float32))


def point_classifier(
    clouds: Sequence[Cloud], *, points: int, passes: int, seed: int = 0
) -> Predict:
    """A perceptron on (x, y, z, intensity) of single points, classes weighted by root frequency.

    Args:
        clouds: of the training split.
        points: number of points drawn to train on; passes over them.
    """
    generator = torch.Generator().manual_seed(seed)
    feature = torch.cat([point_features(c) for c in clouds])
    target = torch.from_numpy(np.concatenate([c.label for c in clouds]))
    known = torch.nonzero(target != IGNORE)[:, 0]
    known = known[torch.randint(len(known), (points,), generator=generator)]
    net = train_perceptron(feature[known], target[known].long(), 96, passes, seed, generator)

    @torch.no_grad()
    def predict(cloud: Cloud) -> np.ndarray:
        return net(point_features(cloud)).argmax(1).numpy().astype(np.uint8)

    return predict


def report(
    budget: str = "full",
    *,
    seed: int = 0,
    world_seed: int = 0,
    cache: Any = None,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure all controls on the towns of ``val``.

    Args:
        budget: a key of ``BUDGETS``.
        seed: of the networks; world_seed and cache as for ``LidarStreets``.
        log: hears of each row once it is measured.

    Returns:
        Row name -> dict(miou, iou (per class, NaN = absent), share of the fully supervised mIoU,
        seconds of CPU), and under "verdict" whether the thresholds hold, which classes are
        absent, the version and the budget.
    """
    plan = BUDGETS[budget]
    common: dict[str, Any] = {"seed": world_seed, "cache": cache, "cameras": ()}
    clouds = load(LidarStreets("train", plan["train"], **common))
    chosen = LidarStreets("train", plan["train"], subset=plan["few"], **common).indices
    few = [clouds[k] for k in chosen]
    judges = load(LidarStreets("val", plan["val"], **common))
    fit = {"steps": plan["steps"], "batch": plan["batch"], "seed": seed}
    makers: dict[str, Callable[[], Predict]] = {
        "majority class": lambda: majority(clouds),
        "position prior": lambda: position_prior(clouds),
        "point classifier (x,y,z,intensity)": lambda: point_classifier(
            clouds, points=plan["points"], passes=plan["passes"], seed=seed
        ),
        f"scratch, {len(few)} labels": lambda: train_network(few, **fit),
        f"scratch, all {len(clouds)} labels": lambda: train_network(clouds, **fit),
    }
    rows: dict[str, Any] = {}
    for name, make in makers.items():
        start = time.process_time()
        predict = make()
        matrix = np.sum([confusion(c.label, predict(c)) for c in judges], 0)
        seconds = time.process_time() - start
        rows[name] = {
            "miou": mean_iou(matrix),
            "iou": class_iou(matrix).tolist(),
            "seconds": seconds,
        }
        log(f"{name}: mIoU {100 * rows[name]['miou']:.1f} in {seconds:.0f} s of CPU")
    absent = counts(judges) == 0
    rows["verdict"] = {
        **judge(rows),
        "absent_classes": [c for c, gone in zip(CLASSES, absent.tolist(), strict=True) if gone],
        "version": LidarStreets.version,
        "budget": {**plan, "name": budget, "threads": torch.get_num_threads()},
    }
    return rows


def table(rows: dict[str, Any]) -> str:
    """``report`` as text; a dash for an absent class."""
    head = " ".join(c[:6].rjust(6) for c in CLASSES)
    lines = [f"{'mIoU on the val towns':36s}  mIoU  share  {head}"]
    for name, row in rows.items():
        if name != "verdict":
            each = " ".join(f"{100 * v:6.1f}" if v == v else f"{'-':>6}" for v in row["iou"])
            lines.append(f"{name:36s} {100 * row['miou']:5.1f}  {row['share']:5.2f}  {each}")
    return "\n".join([*lines, json.dumps(rows["verdict"])])
