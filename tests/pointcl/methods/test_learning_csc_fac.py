"""Do CSC and FAC (our specification) learn? The measure is that of ``test_learning``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from test_learning import BACKBONE, BATCH, RATE, STEPS, batches, pairs_of_scans, recall, untrained

from pointcl.methods import CSC, FAC
from pointcl.sparse import VoxelGrid
from pointcl.views import CloudViewGenerator, Voxeliser, VoxelViews
from pointcl.views.segmented import SegmentedViews

CLUSTERS = {"type": "Dbscan", "eps": 0.6, "eps_per_metre": 0.04, "min_points": 5, "smallest": 10}


@pytest.fixture(scope="module")
def world():
    """(pairs of scans to learn from, pairs to measure on)."""
    return pairs_of_scans("pretrain", 24), pairs_of_scans("val", 12)


@pytest.fixture(scope="module")
def baseline(world):
    return recall(untrained(world[0]), world[1])


def segmented_batches(samples, steps):
    """Two views of single scans, with segments."""
    recipe = {"base": "fac", "crop_chance": 0.0}
    generator = SegmentedViews(CloudViewGenerator(recipe, seed=0), CLUSTERS)
    cut = VoxelViews(generator, Voxeliser(VoxelGrid(0.6)))
    scans = [scan for sample in samples for scan in sample]
    random = np.random.default_rng(0)
    for step in range(steps):
        chosen = random.choice(len(scans), BATCH, replace=False)
        yield cut.collate([cut(scans[i], step) for i in chosen])


def trained(method, data):
    optimizer = torch.optim.SGD(method.parameters(), RATE, momentum=0.8, weight_decay=1e-4)
    for batch in data:
        optimizer.zero_grad()
        sum(method(batch).losses.values()).backward()
        optimizer.step()
    return method.backbone_for_export()


def csc(samples, **options):
    torch.manual_seed(0)
    return trained(CSC(BACKBONE, radii_metres=(1.2, 12.0), **options), batches(samples, STEPS))


def fac(samples, **options):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trained(FAC(BACKBONE, **options), segmented_batches(samples, STEPS))


@pytest.mark.slow
@pytest.mark.parametrize("learn", [csc, fac])
def test_correspondence_recall_exceeds_that_of_random_weights(learn, world, baseline):
    assert recall(learn(world[0]), world[1]) > 1.5 * baseline + 0.005


@pytest.mark.slow
def test_shuffled_pairs_teach_csc_less(world):
    # Not FAC: its recall of the place is the same with shuffled pairs, see its page.
    found = [recall(csc(world[0], shuffle_pairs=shuffle), world[1]) for shuffle in (False, True)]
    assert found[1] < 0.7 * found[0]
