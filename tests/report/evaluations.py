"""Evaluation folders as small as they can be and still hold every case a report must show."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np

MIOU = {"key": "miou", "title": "mIoU", "better": "higher", "unit": "", "digits": 3}
CLASSES = [
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car"),
    *("pedestrian", "bicyclist"),
]
HOSTILE = '<b onload="x">&amp; | *it* `q`</script>'
REASON = "61 of 62 tensors\n  to fix: fc.weight & bias"
LONG = "DenseCL, 500 steps of 32 on two thousand unlabelled frames, teacher exported, unabridged"
PERMUTED = f"{LONG}, permuted"
REESTIMATED = "random, batch norm re-estimated"


def row(
    name: str,
    mean: float | None,
    difference: float | None = None,
    interval: tuple[float, float] | None = None,
    verdict: str = "reference",
    *,
    key: str = "miou",
    pairs: int = 3,
    **more: Any,
) -> dict[str, Any]:
    """A row as a table writes it."""
    spread = [0.004 * (k - (pairs - 1) / 2) for k in range(pairs)]
    return {
        "name": name,
        f"{key}_mean": mean,
        f"{key}_seeds": [] if mean is None else [mean + each for each in spread],
        "diff_to_scratch": 0.0 if verdict == "reference" else difference,
        "interval": None if interval is None else list(interval),
        "verdict": verdict,
        "pairs": [] if mean is None else [[k, f"every {10 + k}"] for k in range(pairs)],
        "lr": None,
        "lr_validation": {},
        "lr_at_edge": False,
        "iou": [],
        "steps": 0,
        "diverged": 0,
        "seconds": 61.0,
        "pretraining_seconds": 0.0,
        "notes": "",
        **more,
    }


def summary(rows: list[dict[str, Any]], reference: str, **more: Any) -> dict[str, Any]:
    """A table as it is written."""
    return {
        "rows": rows,
        "columns": [MIOU],
        "complete": True,
        "cells": {"done": 24, "total": 24},
        "split": "test",
        "test_reads": 1,
        "reference": reference,
        "level": 0.95,
        "rate": "lr",
        "demo": False,
        "world_version": "1",
        "protocol": {"learning_rates": [0.001, 0.003]},
        **more,
    }


def shares(base: float, share: float) -> float:
    """A score that grows with the labels."""
    return round(base + 0.09 * math.log10(share * 100), 4)


def finetuned(share: float, **more: Any) -> dict[str, Any]:
    """Fine-tuning at a label share, with a grid of rates."""
    rng = np.random.default_rng(round(share * 1000))
    random = rng.uniform(0.05, 0.9, (6, len(CLASSES))).round(4).tolist()
    random[1][4] = None  # a class that does not occur
    grid = {"lr": 0.003, "lr_validation": {"0.001": 0.2, "0.003": 0.22}, "lr_at_edge": True}
    rows = [
        row("scratch", shares(0.22, share), **grid),
        row("scratch-long", shares(0.27, share), 0.05, (0.021, 0.079), "better", **grid,
            notes=f"with the compute of {LONG} added"),
        row(PERMUTED, shares(0.21, share), -0.01, (-0.03, 0.01), "inconclusive", **grid),
        row(LONG, shares(0.3, share), 0.08, (0.052, 0.108), "better", **grid),
        row(HOSTILE, shares(0.19, share), -0.03, (-0.041, -0.019), "worse", **grid, diverged=1),
        row("PixPro", shares(0.23, share), 0.01, (-0.6, 0.62), "inconclusive", **grid),
    ]  # fmt: skip
    for each, iou in zip(rows, random, strict=True):
        each["iou"] = iou
    return summary(rows, "scratch", classes=CLASSES, **more)


def retrieved() -> dict[str, Any]:
    """Nearest neighbours: no rate, a second column, confusion matrices, a row not run yet."""
    rng = np.random.default_rng(5)
    rows = [
        row("random", 0.08),
        row(REESTIMATED, 0.081, 0.001, (-0.01, 0.012), "inconclusive"),
        row(PERMUTED, 0.079, -0.001, (-0.01, 0.008), "inconclusive"),
        row(LONG, 0.21, 0.13, (0.11, 0.15), "better"),
        row(HOSTILE, 0.15, 0.07, None, "inconclusive", pairs=1),
        row("PixPro", None, None, None, "inconclusive"),
    ]
    for each in rows[:5]:
        matrix = rng.integers(0, 50, (len(CLASSES), len(CLASSES))) + 400 * np.eye(11, dtype=int)
        matrix[6] = 0  # a class without a pixel
        each["confusion"] = matrix.tolist()
        each["hungarian_mean"] = each["miou_mean"] * 1.1
    rows[5]["hungarian_mean"] = None
    hungarian = {**MIOU, "key": "hungarian", "title": "mIoU, Hungarian"}
    return summary(rows, "random", columns=[MIOU, hungarian], classes=CLASSES)


def prompted() -> dict[str, Any]:
    """Prompt points: threshold curves with a gap, unfinished, not complete."""
    x = [k / 20 for k in range(21)]
    rows = []
    for k, (name, height) in enumerate([("random", 0.2), (LONG, 0.5), ("PixPro", 0.36)]):
        y = [round(height * math.sin(math.pi * min(1.0, t**0.6)), 4) for t in x]
        curve = {"x": x, "y": [None if t == 0.5 else v for t, v in zip(x, y, strict=True)]}
        curve |= {"xlabel": "threshold", "ylabel": "IoU"}
        verdict = ("reference", "better", "inconclusive")[k]
        ends = [None, (0.1, 0.5), (-0.1, 0.4)][k]
        rows.append(
            row(
                name, height, None if k == 0 else height - 0.2, ends, verdict, curves={"IoU": curve}
            )
        )
    return summary(rows, "random", complete=False, cells={"done": 7, "total": 12}, demo=True)


def leaks() -> dict[str, Any]:
    """Lower is better."""
    column = {"key": "leak", "title": "position leak", "better": "lower", "unit": "R2", "digits": 2}
    rank = {"key": "rank", "title": "effective rank", "better": "none", "unit": "", "digits": 1}
    rows = [
        row("random", 0.61, key="leak", rank_mean=4.2),
        row(LONG, 0.31, -0.3, (-0.35, -0.25), "better", key="leak", rank_mean=41.73),
        row("PixPro", 0.72, 0.11, (0.08, 0.14), "worse", key="leak", rank_mean=None),
    ]
    return summary(rows, "random", columns=[column, rank], split="validation", test_reads=0)


def ranks() -> dict[str, Any]:
    """A column that describes and does not judge."""
    rank = {"key": "rank", "title": "effective rank", "better": "none", "unit": "", "digits": 1}
    rows = [
        row("random", 4.2, None, None, "none", key="rank"),
        row(LONG, 41.73, None, None, "none", key="rank"),
    ]
    return summary(rows, "random", columns=[rank], split="validation", test_reads=0)


def picture(path: Path, seed: int, size: tuple[int, int] = (120, 320)) -> None:
    """Blurred noise, as a picture of features is."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 6) * 3)


def write_evaluation(folder: Path) -> Path:
    """An evaluation of three rows: several protocols and shares, every state a table can be in."""
    protocols: list[dict[str, Any]] = []

    def add(name: str, run: str, tables: dict[Any, dict[str, Any] | None], **more: Any) -> str:
        hashed = f"{len(protocols) + 10:x}f7c2a91b04de8e3"
        entries = []
        for share, value in tables.items():
            place = f"{name}/{share if isinstance(share, str) else f'{share * 100:g}pct'}"
            command = f"densecl evaluate {LONG!r}=a.pth --protocols {name} --out work_dirs/e"
            entries.append({"share": share, "folder": place, "command": command})
            if value is not None:
                write_json(folder / place / "summary.json", {"identity": {"hash": hashed}, **value})
        text = f"run = {run!r}\nk = 30  # <neighbours> & ```ties```\n"
        entry = {"name": name, "run": run, "version": 1, "hash": hashed, "text": text}
        protocols.append({**entry, "tables": entries, **more})
        return hashed

    add("fcn_streets", "finetune", {0.05: finetuned(0.05), 0.1: finetuned(0.1), 1.0: finetuned(1)})
    add("retrieval_streets", "retrieval", {"all": retrieved()})
    add("prompts_streets", "prompts", {"all": prompted()})
    add("measures_streets", "measures", {"all": leaks()})
    add("ranks_streets", "measures", {"all": ranks()})
    add("propagation_davis", "propagation", {"all": None})
    add(
        "probe_old",
        "probe",
        {"all": {**finetuned(0.1), "identity": {"hash": "0000000000aaaaaaaaaa"}}},
    )
    for k in range(3):
        picture(folder / f"retrieval_streets/all/pictures/k-nn_{k * 5}.png", k)
    picture(folder / "prompts_streets/all/pictures/pca_frame-9.png", 7, (90, 120))
    write_json(
        folder / "retrieval_streets/all/pictures.json",
        {
            "k-nn_5": {"title": "Neighbours <5>", "caption": 'A "car" & its cells'},
            "k-nn_0": "Plain.",
        },
    )
    scored = {"clip <a>": {"miou": 0.2}, "clip b": {"miou": None}, "clip c": {"other": 1.0}}
    write_json(
        folder / "retrieval_streets/all/items.json",
        {"split": "test", "rows": {LONG: {"seed0, all": scored, "seed1, all": scored}}},
    )
    source = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    loaded = {
        "layout": "densecl", "method": "DenseCL", "branch": "online", "coverage": "62 of 62",
        "input": {"channel_order": "RGB", **source}, "fingerprint": "file:9c1e55aa07d3b2f1",
    }  # fmt: skip
    names = [LONG, HOSTILE, "PixPro"]
    rows = [{"name": name, "file": f"runs/{k}/last.pth", **loaded} for k, name in enumerate(names)]
    rows[0]["key_map"] = [["backbone.conv1.weight", "conv1.weight"], ["a", "b<c>"]]
    rows[1]["key_map"] = "60 names as they are, 2 left out"
    rows[2] |= {"method": None, "input": None, "coverage": None}
    command = f"densecl evaluate {LONG!r}=runs/0/last.pth PixPro=runs/2/last.pth --suite streets"
    write_json(
        folder / "evaluation.json",
        {
            "schema": 1, "suite": "streets", "command": command, "rows": rows,
            "versions": {"densecl": "0.1.0", "torch": "2.13.0", "world": "1"},
            "refused": [{"name": "caffe <net>", "reason": REASON}],
            "protocols": protocols,
        },
    )  # fmt: skip
    return folder


def write_json(path: Path, value: Any) -> None:
    """Plain JSON; NaN is written as Python does, since a reader meets it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def edit(path: Path, change: Any) -> None:
    """Change a JSON file in place."""
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    write_json(path, value)
