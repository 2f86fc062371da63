"""Does FAC (our specification) learn? Segments found again in the other view of a scan.

What the method promises is that the voxels of a segment are alike whatever the view, and unlike
those of other segments. So the features of a segment's voxels in one view, averaged, look for their
nearest among all segments of the scan in the other view; right is the segment itself. Scans are of
towns that the method has not seen. Where a voxel lies within its segment, which the recall of the
place in ``test_learning`` asks for, is nothing that it is trained on.
"""

from __future__ import annotations

import copy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent))

from test_learning import BACKBONE, BATCH, RATE, STEPS, pairs_of_scans

from densecl.pairs import pool_regions
from pointcl.methods import FAC
from pointcl.pairs.segments import BatchSegments
from pointcl.sparse import VoxelGrid
from pointcl.views import CloudViewGenerator, Voxeliser, VoxelViews
from pointcl.views.segmented import SegmentedViews

CLUSTERS = {"type": "Dbscan", "eps": 0.6, "eps_per_metre": 0.04, "min_points": 5, "smallest": 10}
EPOCHS = range(2000, 2004)
"""Of the views to measure on; each has other draws."""


def cutter() -> VoxelViews:
    recipe = {"base": "fac", "crop_chance": 0.0}
    views = SegmentedViews(CloudViewGenerator(recipe, seed=0), CLUSTERS)
    views.warned = True
    return VoxelViews(views, Voxeliser(VoxelGrid(0.6)))


@pytest.fixture(scope="module")
def world():
    """(scans to learn from, scans to measure on)."""

    def scans(split, length):
        return [scan for pair in pairs_of_scans(split, length) for scan in pair]

    return scans("pretrain", 24), scans("val", 12)


def batches(scans, steps, cut):
    random = np.random.default_rng(0)
    for step in range(steps):
        chosen = random.choice(len(scans), BATCH, replace=False)
        yield cut.collate([cut(scans[i], step) for i in chosen])


def build(**options) -> FAC:
    torch.manual_seed(0)
    return FAC(BACKBONE, **options)


def trained(scans, **options):
    method = build(**options)
    optimizer = torch.optim.SGD(method.parameters(), RATE, momentum=0.8, weight_decay=1e-4)
    for batch in batches(scans, STEPS, cutter()):
        optimizer.zero_grad()
        sum(method(batch).losses.values()).backward()
        optimizer.step()
    return method.backbone_for_export()


def untrained(scans):
    """Random weights whose batch norms have seen the scans."""
    backbone = copy.deepcopy(build().backbone_for_export()).train()
    with torch.no_grad():
        for batch in batches(scans, 12, cutter()):
            for view in batch.views:
                backbone(view.voxels.tensor)
    return backbone


@torch.no_grad()
def found_again(backbones, scans) -> list[float]:
    """Of each network, the share of foreground segments that are nearest to themselves.

    Each looks for itself among all segments of its scan in the other view, from both views.
    """
    cut, right, total = cutter(), [0] * len(backbones), 0
    for backbone in backbones:
        backbone.eval()
    for epoch in EPOCHS:
        for scan in scans:
            batch = cut.collate([cut(scan, epoch)])
            segments = BatchSegments.of(batch)
            own = segments.usable
            for number, backbone in enumerate(backbones):
                ends = [
                    means(backbone, view, ids, len(segments))
                    for view, ids in zip(batch.views, segments.ids, strict=True)
                ]
                for query, key, present in zip(
                    ends, ends[::-1], segments.present[::-1], strict=True
                ):
                    there = present.nonzero().squeeze(1)
                    nearest = there[(query[own] @ key[there].T).argmax(1)]
                    right[number] += int((nearest == own).sum())
            total += 2 * len(own)
    assert total > 1000
    return [count / total for count in right]


def means(backbone, view, ids, count):
    """(S, D): the mean over the voxels of each segment, of unit length."""
    rows = F.normalize(backbone(view.voxels.tensor).maps[1].features, dim=1)
    return F.normalize(pool_regions(rows, ids, num_regions=count).feature, dim=1)


@pytest.mark.slow
def test_segments_are_found_again_more_often_than_by_random_weights_or_shuffled_pairs(world):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        networks = [
            trained(world[0]),
            trained(world[0], shuffle_pairs=True),
            untrained(world[0]),
        ]
        own, shuffled, random = found_again(networks, world[1])
    # Measured 0.36, 0.19 and 0.16.
    assert own > 1.4 * max(shuffled, random)
    assert shuffled < 1.5 * random
