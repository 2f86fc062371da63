from __future__ import annotations

import math

import numpy as np
import pytest

from densecl.transfer.prompts.curves import auroc, iou_curve

GRID = np.linspace(0, 1, 51)


def test_iou_against_loops():
    generator = np.random.default_rng(0)
    similarity = generator.uniform(-1, 1, 400)
    mask = generator.random(400) < 0.3
    found = iou_curve(similarity, mask, GRID)
    for theta, value in zip(GRID, found, strict=True):
        both = sum(1 for s, m in zip(similarity, mask, strict=True) if s > theta and m)
        either = sum(1 for s, m in zip(similarity, mask, strict=True) if s > theta or m)
        assert value == pytest.approx(both / either)


def test_a_threshold_is_not_exceeded_by_itself():
    similarity, mask = np.array([0.5, 0.5 + 1e-8, 0.5 + 1e-3]), np.array([True, True, True])
    assert iou_curve(similarity, mask, np.array([0.5])).tolist() == [1 / 3]


def test_equal_features_select_everything_below_one_and_nothing_at_one():
    mask = np.arange(10) < 3
    found = iou_curve(np.full(10, 1 + 1e-7), mask, GRID)
    assert found[:-1] == pytest.approx(0.3)
    assert found[-1] == 0


def test_an_empty_prediction_scores_nothing():
    assert iou_curve(np.full(5, -0.5), np.ones(5, bool), GRID).tolist() == [0.0] * 51


def test_auroc_against_all_pairs_with_weights_and_ties():
    generator = np.random.default_rng(1)
    positive, negative = generator.integers(0, 6, 30) / 5, generator.integers(0, 5, 40) / 5
    a, b = generator.random(30), generator.random(40)
    for weights in ((None, None), (a, b)):
        wa, wb = (np.ones(n) if w is None else w for n, w in zip((30, 40), weights, strict=True))
        total = sum(
            u * v * ((p > q) + 0.5 * (p == q))
            for p, u in zip(positive, wa, strict=True)
            for q, v in zip(negative, wb, strict=True)
        )
        assert auroc(positive, negative, *weights) == pytest.approx(total / (wa.sum() * wb.sum()))


def test_auroc_of_the_extremes():
    assert auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert auroc(np.array([0.0]), np.array([0.5, 1.0])) == 0
    assert auroc(np.ones(3), np.ones(4)) == 0.5
    assert math.isnan(auroc(np.ones(3), np.zeros(0)))
    assert math.isnan(auroc(np.ones(3), np.ones(2), np.zeros(3)))
