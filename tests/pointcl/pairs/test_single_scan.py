from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from pointcl.data.scan import Scan
from pointcl.pairs import match_shared_points, match_single_scan
from pointcl.sparse import VoxelGrid, voxelise
from pointcl.views import CloudBatch, CloudViewGenerator, collate_clouds

RECIPE = {"base": "csc", "crop_chance": 1.0, "crop": (0.6, 0.9), "point_dropout": (0.2, 0.4)}


@pytest.fixture
def batches() -> list[CloudBatch]:
    items = []
    for k in range(3):
        points = np.random.default_rng(k).uniform(-5, 5, (300, 3)).astype(np.float32)
        items.append(CloudViewGenerator(RECIPE, seed=1)(Scan(points, 7 + k, str(k)), 0))
    return collate_clouds(items)


def test_crops_of_one_scan_pair_what_both_show(batches):
    a, b = (batch.to_point_set() for batch in batches)
    pairs = match_single_scan(a, b)
    keys = [list(zip(s.source.tolist(), s.index.tolist(), strict=True)) for s in (a, b)]
    expected = [(i, j) for i in range(len(a)) for j in range(len(b)) if keys[0][i] == keys[1][j]]
    assert list(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True)) == expected
    assert 20 < len(pairs) < len(a)


def test_voxels_are_paired_by_the_points_that_both_hold(batches):
    voxels = [
        voxelise(batch.clouds, VoxelGrid(2.0, low=(-4, -4, -4), high=(4, 4, 4)))
        for batch in batches
    ]
    pairs = match_shared_points(batches[0], voxels[0], batches[1], voxels[1])
    owner = [
        {
            (int(batch.sample[row]), int(batch.index[row])): int(cut.point_to_voxel[row])
            for row in range(len(batch.points))
        }
        for batch, cut in zip(batches, voxels, strict=True)
    ]
    shared = [(owner[0][raw], owner[1][raw]) for raw in owner[0] if raw in owner[1]]
    held = Counter(ends for ends in shared if min(ends) >= 0)
    assert len(shared) > sum(held.values())
    assert list(zip(pairs.src.tolist(), pairs.dst.tolist(), strict=True)) == sorted(held)
    assert pairs.weight.tolist() == [held[ends] for ends in sorted(held)]
    assert max(held.values()) > 1


def test_scans_without_a_common_point_have_no_pair(batches):
    other = CloudBatch.collate(
        CloudViewGenerator("none", 3)(Scan(np.ones((4, 3), np.float32), 99, "other"), 0)
    )
    voxels = [voxelise(batch.clouds, VoxelGrid(1.0)) for batch in (batches[0], other)]
    pairs = match_shared_points(batches[0], voxels[0], other, voxels[1])
    assert len(pairs) == 0
    assert pairs.num_dst == len(voxels[1].representative)


def test_voxels_of_other_clouds_are_refused(batches):
    voxels = [voxelise(batch.clouds, VoxelGrid(1.0)) for batch in batches]
    with pytest.raises(ValueError, match="dst: voxels of"):
        match_shared_points(batches[0], voxels[0], batches[1], voxels[0])
    assert torch.equal(voxels[0].point_sample, batches[0].sample)
