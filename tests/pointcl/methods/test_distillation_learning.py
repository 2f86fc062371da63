"""Do SLidR and PPKT learn? Superpixels found by their points, in towns that were not seen.

The points of a superpixel, pooled, look for its pixels among all superpixels of the scan's
pictures; right is one of the nearest five. The teacher is untrained: what its random filters say
of a picture can be learnt as well, so nothing has to be trained before.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

from camera_worlds import camera_views, ready

from densecl.pairs import pool_regions
from pointcl.data.streets import LidarStreets
from pointcl.methods import PPKT, SLidR
from pointcl.methods.slidr import numbered
from pointcl.pairs.projection import read_regions
from pointcl.sparse import VoxelGrid

STEPS, BATCH, RATE, NEAREST = 60, 2, 0.5, 5
SHOWN = {
    "grid": VoxelGrid(0.6),
    "features": ("intensity",),
    "size": (48, 72),
    "superpixels": {"type": "Slic", "segments": 40, "sigma": 1.0},
    "min_links": 64,
}


@pytest.fixture(scope="module")
def world():
    """(scans to learn from, scans to measure on)."""

    def scans(split, length):
        dataset = LidarStreets(
            split, length=length, clip=1, beams=16, steps=240, cameras=("front", "left"),
            camera_size=(64, 96), cache=False,
        )  # fmt: skip
        return [dataset[i] for i in range(length)]

    return scans("pretrain", 24), scans("val", 10)


UNET = {"type": "MinkUNet", "depth": 14, "width": 8, "in_channels": 1}


def build(cls, backbone=UNET, **options):
    torch.manual_seed(0)
    teacher = {"type": "ResNet", "depth": 18, "width": 16}
    return cls(backbone, "random", teacher_backbone=teacher, teacher_stride=8, dim=32, **options)


def trained(cls, samples, **options):
    method, views = build(cls, **options), camera_views(**SHOWN)
    optimizer = torch.optim.SGD(
        method.parameters(), RATE, momentum=0.9, dampening=0.1, weight_decay=1e-4
    )
    random = np.random.default_rng(0)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        chosen = random.choice(len(samples), BATCH, replace=False)
        batch = ready(views.collate([views(samples[i], step) for i in chosen]))
        optimizer.zero_grad()
        sum(method(batch).losses.values()).backward()
        optimizer.step()
    return method


def untrained(cls, samples, **options):
    """Random weights whose batch norms have seen the scans."""
    method, views = build(cls, **options), camera_views(**SHOWN)
    with torch.no_grad():
        for step in range(12):
            method(ready(views.collate([views(samples[i], step) for i in (step, step + 1)])))
    return method


@torch.no_grad()
def recall(method, samples) -> float:
    """Share of superpixels whose own pixels are among the nearest five."""
    method.eval()
    views = camera_views("none", crop=False, **SHOWN)
    right = total = 0
    for scan in samples:
        batch = ready(views.collate([views(scan, 0)]))
        pictures = batch.pictures
        region = pictures.views.maps["region"]
        ids, count = numbered(region)
        points = method.embed_points(batch, pictures.links)
        points = pool_regions(points, read_regions(pictures.links, ids), num_regions=count)
        pixels = SLidR.pool_pixels(method, method.teacher(pictures.views.image), region, count)
        seen = points.mass > 0
        query, key = (F.normalize(side.feature[seen], dim=1) for side in (points, pixels))
        nearest = (query @ key.T).topk(NEAREST, 1).indices
        right += int((nearest == torch.arange(len(query))[:, None]).any(1).sum())
        total += len(query)
    return right / total


@pytest.fixture(scope="module")
def baseline(world):
    return recall(untrained(SLidR, world[0]), world[1])


@pytest.mark.slow
@pytest.mark.parametrize("cls", [SLidR, PPKT])
def test_superpixels_are_found_more_often_than_by_random_weights(cls, world, baseline):
    assert recall(trained(cls, world[0]), world[1]) > 1.35 * baseline


@pytest.mark.slow
def test_recall_falls_back_to_random_weights_when_pairs_are_shuffled(world, baseline):
    assert recall(trained(SLidR, world[0], shuffle_pairs=True), world[1]) < 1.15 * baseline


DETECTOR = {
    "backbone": {
        "type": "VoxelResNet",
        "grid_size": [128, 128, 28],
        "in_channels": 4,
        "width": 8,
        "bias": False,
    },
    "read": "bev",
}
BOX = VoxelGrid(
    (0.6, 0.6, 0.3), low=(-38.4, -38.4, -3.0), high=(38.4, 38.4, 5.4), origin=(-38.4, -38.4, -3.0)
)


@pytest.mark.slow
def test_a_detectors_birds_eye_map_finds_superpixels_too(world, monkeypatch):
    changes = {"grid": BOX, "features": ("xyz", "intensity")}
    changes["superpixels"] = {"type": "Slic", "segments": 20, "sigma": 1.0}
    for name, value in changes.items():
        monkeypatch.setitem(SHOWN, name, value)
    monkeypatch.setattr(sys.modules[__name__], "RATE", 0.1)
    own = recall(trained(SLidR, world[0], **DETECTOR), world[1])
    # Measured 0.28 against 0.19; with shuffled pairs 0.20.
    assert own > 1.25 * recall(untrained(SLidR, world[0], **DETECTOR), world[1])
