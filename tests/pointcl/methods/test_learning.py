"""Does PointContrast learn? Correspondence recall on posed scans of towns that it has not seen.

A voxel of one scan looks for its nearest feature among all voxels of another scan of the place,
half a second later; it is right within a metre. Random weights get batch-norm statistics of the
training scans: pretraining must beat more than that.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from pointcl.data.posed_pairs import PosedPairs
from pointcl.data.streets import LidarStreets
from pointcl.methods import PointContrast
from pointcl.pairs.rigid import match_rigid
from pointcl.sparse import VoxelGrid
from pointcl.views import CloudViewGenerator, Voxeliser, VoxelViews

BACKBONE = {"type": "MinkUNet", "depth": 14, "width": 8, "in_channels": 1}
STEPS, BATCH, RATE = 60, 2, 0.1
RIGHT = 1.0
"""Metres within which a partner counts."""


def pairs_of_scans(split: str, length: int) -> list:
    scans = LidarStreets(
        split, length=length, clip=2, gap=5, beams=16, steps=180, cameras=(), compensate=True,
        cache=False,
    )  # fmt: skip
    dataset = PosedPairs(scans)
    return [dataset[i] for i in range(len(dataset))]


@pytest.fixture(scope="module")
def world():
    """(pairs of scans to learn from, pairs to measure on)."""
    return pairs_of_scans("pretrain", 24), pairs_of_scans("val", 12)


def views(recipe) -> VoxelViews:
    generator = CloudViewGenerator(recipe, seed=0)
    return VoxelViews(generator, Voxeliser(VoxelGrid(0.6)))


def batches(samples, steps):
    cut = views({"base": "pointcontrast", "axis": "z"})
    random = np.random.default_rng(0)
    for step in range(steps):
        chosen = random.choice(len(samples), BATCH, replace=False)
        yield cut.collate([cut(samples[i], step) for i in chosen])


def build(**options) -> PointContrast:
    torch.manual_seed(0)
    return PointContrast(BACKBONE, **options)


def trained(samples, **options):
    method = build(**options)
    optimizer = torch.optim.SGD(method.parameters(), RATE, momentum=0.8, weight_decay=1e-4)
    for batch in batches(samples, STEPS):
        optimizer.zero_grad()
        output = method(batch)
        sum(output.losses.values()).backward()
        optimizer.step()
    return method.backbone_for_export()


def untrained(samples):
    """Random weights whose batch norms have seen the scans."""
    backbone = copy.deepcopy(build().backbone_for_export()).train()
    with torch.no_grad():
        for batch in batches(samples, 12):
            for view in batch.views:
                backbone(view.voxels.tensor)
    return backbone


def recall(backbone, samples) -> float:
    """Share of voxels whose nearest feature in the other scan lies within a metre of their place.

    The second scan is turned at random, so that features of a direction do not help.
    """
    backbone.eval()
    right = total = 0
    generator = CloudViewGenerator("none", seed=0, overrides=[{}, {"angle": 180.0}])
    cut = VoxelViews(generator, Voxeliser(VoxelGrid(0.6)))
    for sample in samples:
        batch = cut.collate([cut(sample, 0)])
        sets = []
        for view in batch.views:
            with torch.no_grad():
                rows = backbone(view.voxels.tensor).maps[1].features
            sets.append(view.to_point_set({"f": torch.nn.functional.normalize(rows, dim=1)}))
        src, dst = sets
        rows = match_rigid(src, dst, radius=0.6, nearest=True).src
        nearest = (src.fields["f"][rows] @ dst.fields["f"].T).argmax(1)
        gap = (dst.coord[nearest] - src.coord[rows]).norm(dim=1)
        right += int((gap < RIGHT).sum())
        total += len(rows)
    return right / total


@pytest.fixture(scope="module")
def baseline(world):
    return recall(untrained(world[0]), world[1])


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "gain"), [("info_nce", 0.03), ("hardest", 0.01)])
def test_correspondence_recall_exceeds_that_of_random_weights(loss, gain, world, baseline):
    # Measured 0.065 and 0.029 against 0.009.
    assert recall(trained(world[0], loss=loss), world[1]) > baseline + gain


@pytest.mark.slow
def test_recall_falls_back_to_random_weights_when_pairs_are_shuffled(world, baseline):
    # Measured 0.015: rows are pulled together without meaning.
    found = recall(trained(world[0], shuffle_pairs=True), world[1])
    assert found < baseline + 0.01
