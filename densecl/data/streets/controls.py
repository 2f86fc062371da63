"""Controls of the embedded world: what a method can reach without seeing shape or context.

Each is reported as mIoU on the towns of ``test``, beside a small network trained with all and
with few labels. The world is sound while every control stays at or below 60 % of the fully
supervised network, and the few-label network lies clearly between.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densecl.data.streets.classes import CLASSES, IGNORE
from densecl.data.streets.control_net import train_network, train_perceptron
from densecl.data.streets.dataset import Streets
from densecl.data.streets.splits import WORLD_VERSION

L = len(CLASSES)
LIMIT = 0.6
"""A control may reach this share of the fully supervised mIoU."""
MARGIN = 0.1
"""Few labels lie clearly between when this share of the full mIoU parts them on either side."""

BUDGETS: dict[str, dict[str, Any]] = {
    "full": {
        "train": 400,
        "test": 200,
        "few": 0.05,
        "steps": 1200,
        "batch": 8,
        "pixels": 400_000,
        "passes": 8,
    },
    "fast": {
        "train": 48,
        "test": 24,
        "few": 0.1,
        "steps": 60,
        "batch": 6,
        "pixels": 20_000,
        "passes": 3,
    },
}


def confusion(label: np.ndarray, prediction: np.ndarray, classes: int = L) -> np.ndarray:
    """(L, L) counts, rows = truth; labels outside [0, L) are left out."""
    keep = label < classes
    index = label[keep].astype(np.int64) * classes + prediction[keep].astype(np.int64)
    return np.bincount(index, minlength=classes * classes).reshape(classes, classes)


def class_iou(matrix: np.ndarray) -> np.ndarray:
    """(L,) intersection over union; NaN for a class in neither truth nor prediction."""
    hit = np.diag(matrix).astype(np.float64)
    union = matrix.sum(0) + matrix.sum(1) - hit
    return np.where(union > 0, hit / np.maximum(union, 1), np.nan)


def mean_iou(matrix: np.ndarray) -> float:
    """Mean over the classes that occur in truth or prediction."""
    return float(np.nanmean(class_iou(matrix)))


def load(data: Streets) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, H, W, 3) uint8 and labels (n, H, W) uint8 of all samples' first frames."""
    frames = [data[k].frames[0] for k in range(len(data))]
    images = np.stack([f.image for f in frames])
    return images, np.stack([f.maps["label"] for f in frames]).astype(np.uint8)


def majority(label: np.ndarray) -> np.ndarray:
    """(H, W) the commonest class everywhere."""
    counts = np.bincount(label[label != IGNORE], minlength=L)
    return np.full(label.shape[1:], counts.argmax(), np.uint8)


def position_prior(label: np.ndarray) -> np.ndarray:
    """(H, W) the commonest class at each pixel of (n, H, W) labels."""
    counts = np.stack([(label == c).sum(0) for c in range(L)])
    return counts.argmax(0).astype(np.uint8)


def pixel_features(images: np.ndarray) -> Tensor:
    """(n, H, W, 5) float32: r, g, b and x, y, each scaled to [-1, 1]."""
    n, height, width = images.shape[:3]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    place = np.broadcast_to(np.stack([x, y], -1).astype(np.float32), (n, height, width, 2))
    return torch.from_numpy(np.concatenate([images.astype(np.float32) / 127.5 - 1, place], -1))


def pixel_classifier(
    images: np.ndarray, label: np.ndarray, *, pixels: int, passes: int, seed: int = 0
) -> Callable[[np.ndarray], np.ndarray]:
    """A perceptron on (r, g, b, x, y) of single pixels, classes weighted by root frequency.

    Args:
        images, label: (n, H, W, 3) and (n, H, W) of the training split.
        pixels: number of pixels drawn to train on; passes over them.

    Returns:
        images -> (n, H, W) predicted class ids.
    """
    generator = torch.Generator().manual_seed(seed)
    feature, target = pixel_features(images).reshape(-1, 5), torch.from_numpy(label.reshape(-1))
    known = torch.nonzero(target != IGNORE)[:, 0]
    known = known[torch.randint(len(known), (pixels,), generator=generator)]
    net = train_perceptron(feature[known], target[known].long(), 64, passes, seed, generator)

    @torch.no_grad()
    def predict(pictures: np.ndarray) -> np.ndarray:
        return np.stack([net(pixel_features(p[None]))[0].argmax(-1).numpy() for p in pictures])

    return predict


def report(
    budget: str = "full",
    *,
    seed: int = 0,
    world_seed: int = 0,
    cache: Any = None,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure all controls on the test towns.

    Args:
        budget: a key of ``BUDGETS``.
        seed: of the networks; world_seed and cache as for ``Streets``.
        log: hears of each row once it is measured.

    Returns:
        Row name -> dict(miou, iou (per class), share of the fully supervised mIoU, seconds), and
        under "verdict" whether the thresholds hold, with the world's version and the budget.
    """
    plan = BUDGETS[budget]
    common: dict[str, Any] = {"seed": world_seed, "cache": cache}
    images, label = load(Streets("train", plan["train"], **common))
    few = Streets("train", plan["train"], subset=plan["few"], **common).indices
    test_images, test_label = load(Streets("test", plan["test"], **common))
    fit = {"steps": plan["steps"], "batch": plan["batch"], "seed": seed}

    def constant(answer: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return lambda pictures: np.broadcast_to(answer, pictures.shape[:3])

    makers: dict[str, Callable[[], Callable[[np.ndarray], np.ndarray]]] = {
        "majority class": lambda: constant(majority(label)),
        "position prior": lambda: constant(position_prior(label)),
        "pixel classifier (r,g,b,x,y)": lambda: pixel_classifier(
            images, label, pixels=plan["pixels"], passes=plan["passes"], seed=seed
        ),
        f"scratch, {len(few)} labels": lambda: train_network(images[few], label[few], **fit),
        f"scratch, all {len(images)} labels": lambda: train_network(images, label, **fit),
    }
    rows: dict[str, Any] = {}
    for name, make in makers.items():
        start = time.perf_counter()
        matrix = confusion(test_label, make()(test_images))
        seconds = time.perf_counter() - start
        rows[name] = {
            "miou": mean_iou(matrix),
            "iou": class_iou(matrix).tolist(),
            "seconds": seconds,
        }
        log(f"{name}: mIoU {100 * rows[name]['miou']:.1f} in {seconds:.0f} s")
    rows["verdict"] = {
        **judge(rows),
        "world_version": WORLD_VERSION,
        "budget": {**plan, "name": budget, "threads": torch.get_num_threads()},
    }
    return rows


def judge(rows: dict[str, Any]) -> dict[str, Any]:
    """Whether the thresholds hold; gives every row its share of full supervision.

    Args:
        rows: name -> dict with its ``miou``: the controls, then few labels, then all.
    """
    *controls, scarce, full = (row["miou"] for row in rows.values())
    best = max(controls)
    for row in rows.values():
        row["share"] = row["miou"] / full
    return {
        "controls_within_limit": best <= LIMIT * full,
        "few_labels_between": min(scarce - best, full - scarce) >= MARGIN * full,
        "best_control": best,
    }


def table(rows: dict[str, Any]) -> str:
    """``report`` as text."""
    lines = [
        f"{'mIoU on the test towns':32s}  mIoU  share  " + " ".join(c[:6].rjust(6) for c in CLASSES)
    ]
    for name, row in rows.items():
        if name != "verdict":
            each = " ".join(f"{100 * v:6.1f}" for v in row["iou"])
            lines.append(f"{name:32s} {100 * row['miou']:5.1f}  {row['share']:5.2f}  {each}")
    return "\n".join([*lines, json.dumps(rows["verdict"])])
