"""The controls' measures against slow ones; the verdict's logic; the fast report."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.data.streets import controls as C
from densecl.data.streets.control_net import TinyUNet, class_weights, train_network


def slow_miou(label, prediction, classes) -> float:
    values = []
    known = [(a, b) for a, b in zip(label.ravel(), prediction.ravel(), strict=True) if a < classes]
    for c in range(classes):
        both = sum(a == c and b == c for a, b in known)
        either = sum(a == c or b == c for a, b in known)
        if either:
            values.append(both / either)
    return sum(values) / len(values)


@pytest.mark.parametrize("seed", range(4))
def test_mean_iou_agrees_with_a_loop(seed):
    rng = np.random.default_rng(seed)
    label = rng.choice([0, 1, 2, 3, 255], (3, 6, 7)).astype(np.uint8)
    prediction = rng.integers(0, 5, (3, 6, 7)).astype(np.uint8)
    fast = C.mean_iou(C.confusion(label, prediction, 6))
    assert fast == pytest.approx(slow_miou(label, prediction, 6), abs=1e-12)


def test_a_perfect_prediction_scores_one_and_absent_classes_do_not_count():
    label = np.array([[0, 1, 255], [1, 1, 255]], np.uint8)
    matrix = C.confusion(label, np.where(label == 255, 4, label))
    assert C.mean_iou(matrix) == 1.0
    assert np.isnan(C.class_iou(matrix)[4])


def test_majority_and_position_prior_agree_with_loops():
    rng = np.random.default_rng(0)
    label = rng.choice([1, 3, 3, 4, 255], (9, 4, 5)).astype(np.uint8)
    values, counts = np.unique(label[label != 255], return_counts=True)
    assert (C.majority(label) == values[counts.argmax()]).all()
    prior = C.position_prior(label)
    for r in range(4):
        for c in range(5):
            column = [v for v in label[:, r, c].tolist() if v != 255]
            assert column.count(prior[r, c]) == max(column.count(k) for k in range(11))


def test_the_pixel_classifier_learns_what_colour_and_place_say():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 24, 32, 3)).astype(np.uint8)
    label = (images[..., 0] > 127).astype(np.uint8)
    label[:, 12:] += 2
    predict = C.pixel_classifier(images, label, pixels=6000, passes=12)
    assert (predict(images) == label).mean() > 0.93


def test_the_pixel_classifier_cannot_see_its_neighbours():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 24, 32, 3)).astype(np.uint8)
    label = (np.roll(images[..., 0], 1, axis=2) > 127).astype(np.uint8)
    predict = C.pixel_classifier(images, label, pixels=6000, passes=4)
    assert (predict(images) == label).mean() < 0.6


def test_the_network_can_see_its_neighbours():
    rng = np.random.default_rng(0)
    images = np.repeat(rng.integers(0, 256, (4, 12, 40, 3)), 4, axis=1).astype(np.uint8)
    label = (np.roll(images[..., 0], 4, axis=1) > 127).astype(np.uint8)
    predict = train_network(images, label, steps=80, batch=4)
    # By its own colour a pixel's class is a coin toss.
    assert (predict(images) == label)[:, 8:-8, 4:-4].mean() > 0.7


def test_class_weights_ignore_unknown_and_absent_classes():
    weight = class_weights(torch.tensor([0] * 16 + [1] * 4 + [255] * 9))
    assert weight[0] * 2 == pytest.approx(weight[1].item())
    assert weight[2:].sum() == 0
    assert weight.sum() == pytest.approx(2.0)


def test_the_network_keeps_the_size():
    assert TinyUNet()(torch.zeros(1, 3, 40, 56)).shape == (1, 11, 40, 56)


def test_the_verdict_follows_the_numbers(monkeypatch):
    """Fake learners: the verdict must compare the controls with the full network."""
    plan = {"train": 8, "test": 4, "few": 0.5, "steps": 1, "batch": 1, "pixels": 100, "passes": 1}
    monkeypatch.setitem(C.BUDGETS, "tiny", plan)
    rng = np.random.default_rng(0)
    label = rng.integers(0, 11, (8, 6, 8)).astype(np.uint8)
    images = np.repeat(label[..., None] * 20, 3, -1).astype(np.uint8)
    monkeypatch.setattr(C, "load", lambda data: (images, label))

    class Fake:
        def __init__(self, *_, subset=None, **__):
            self.indices = list(range(4 if subset else 8))

    monkeypatch.setattr(C, "Streets", Fake)

    def network(few_right: float):
        def make(some, _, **__):
            share = few_right if len(some) == 4 else 1.0
            wrong = np.random.default_rng(1).random(label.shape) > share
            return lambda _: np.where(wrong, (label + 1) % 11, label)

        return make

    monkeypatch.setattr(C, "train_network", network(0.7))
    good = C.report("tiny")
    assert good["verdict"]["controls_within_limit"]
    assert good["verdict"]["few_labels_between"]
    assert "scratch, 4 labels" in C.table(good)
    monkeypatch.setattr(C, "train_network", network(0.0))
    assert not C.report("tiny")["verdict"]["few_labels_between"]


@pytest.mark.slow
def test_the_fast_report_orders_the_rows(tmp_path):
    rows = C.report("fast", cache=tmp_path)
    full = rows["scratch, all 48 labels"]["miou"]
    assert rows["majority class"]["miou"] < rows["position prior"]["miou"] < full
