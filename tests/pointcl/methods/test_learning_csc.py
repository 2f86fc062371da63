"""Does CSC learn? The measure is that of ``test_learning``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from test_learning import BACKBONE, RATE, STEPS, batches, pairs_of_scans, recall, untrained

from pointcl.methods import CSC


@pytest.fixture(scope="module")
def world():
    """(pairs of scans to learn from, pairs to measure on)."""
    return pairs_of_scans("pretrain", 24), pairs_of_scans("val", 12)


def trained(samples, **options):
    torch.manual_seed(0)
    method = CSC(BACKBONE, radii_metres=(1.2, 12.0), **options)
    optimizer = torch.optim.SGD(method.parameters(), RATE, momentum=0.8, weight_decay=1e-4)
    for batch in batches(samples, STEPS):
        optimizer.zero_grad()
        sum(method(batch).losses.values()).backward()
        optimizer.step()
    return method.backbone_for_export()


@pytest.mark.slow
def test_correspondence_recall_exceeds_that_of_random_weights_and_of_shuffled_pairs(world):
    own = recall(trained(world[0]), world[1])
    shuffled = recall(trained(world[0], shuffle_pairs=True), world[1])
    assert own > 1.5 * recall(untrained(world[0]), world[1]) + 0.005
    assert shuffled < 0.7 * own
