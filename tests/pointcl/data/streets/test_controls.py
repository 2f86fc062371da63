"""The controls against slow ones, what they can and cannot see, and the verdict's logic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pointcl.data.streets import controls as C
from pointcl.data.streets.control_net import REACH, Cloud, SmallUNet, train_network


def make_cloud(generator, count=3000, label=None) -> Cloud:
    points = generator.uniform((-20, -20, -2), (20, 20, 2), (count, 3)).astype(np.float32)
    intensity = generator.random(count).astype(np.float32)
    label = generator.integers(1, 5, count) if label is None else label(points, intensity)
    return Cloud(points, intensity, label.astype(np.uint8))


def test_majority_and_position_prior_agree_with_loops():
    rng = np.random.default_rng(0)
    clouds = [make_cloud(rng, 400) for _ in range(3)]
    clouds[0].label[:50] = 255
    every = np.concatenate([c.label for c in clouds])
    commonest = np.bincount(every[every != 255]).argmax()
    assert (C.majority(clouds)(clouds[1]) == commonest).all()
    found = C.position_prior(clouds)(clouds[1])
    cells = np.concatenate([C.cells(c.points) for c in clouds])
    for k in range(0, 400, 7):
        cell = C.cells(clouds[1].points[k : k + 1])[0]
        labels = every[(cells == cell) & (every != 255)].tolist()
        assert labels.count(found[k]) == max(labels.count(c) for c in range(11))
    far = Cloud(
        np.array([[0.0, 0, 60]], np.float32), np.zeros(1, np.float32), np.zeros(1, np.uint8)
    )
    assert C.position_prior(clouds)(far)[0] == commonest


def test_cells_part_range_height_and_azimuth():
    base = np.array([10.0, 1.0, -1.1])
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    others = [base * (1.4, 1.4, 1), base + np.array([0, 0, 0.4]), turn @ base]
    cells = C.cells(np.array([base, base + 1e-4, *others]))
    assert cells[0] == cells[1]
    assert len(set(cells.tolist())) == 4


def test_the_point_classifier_learns_what_a_point_says():
    rng = np.random.default_rng(0)

    def by_point(points, intensity):
        return 1 + (points[:, 2] > 0.3) + 2 * (intensity > 0.5)

    clouds = [make_cloud(rng, label=by_point) for _ in range(3)]
    predict = C.point_classifier(clouds[:2], points=6000, passes=10)
    assert (predict(clouds[2]) == clouds[2].label).mean() > 0.93


def test_only_the_network_sees_neighbours():
    """Towers of two heights: a low point says nothing of its tower's height."""
    rng = np.random.default_rng(0)

    def make() -> Cloud:
        place = np.repeat(rng.uniform(-10, 10, (20, 2)).round(), 60, 0)
        tall = np.repeat(rng.integers(0, 2, 20), 60)
        height = rng.random(1200) * (0.4 + 1.6 * tall)
        points = np.concatenate([place + rng.uniform(-0.3, 0.3, (1200, 2)), height[:, None]], 1)
        return Cloud(
            points.astype(np.float32), np.full(1200, 0.5, np.float32), (1 + tall).astype(np.uint8)
        )

    clouds = [make() for _ in range(9)]
    low = clouds[-1].points[:, 2] < 0.3
    blind = C.point_classifier(clouds[:8], points=8000, passes=6)
    seeing = train_network(clouds[:8], steps=40, batch=2)
    truth = clouds[-1].label[low]
    assert (blind(clouds[-1])[low] == truth).mean() < 0.85
    assert (seeing(clouds[-1])[low] == truth).mean() > 0.9


def test_points_out_of_reach_get_the_commonest_class():
    rng = np.random.default_rng(0)
    cloud = make_cloud(rng, 500, label=lambda p, i: np.where(i < 0.9, 3, 1))
    cloud.points[:5] = (REACH + 1, 0, 0)
    predict = train_network([cloud], steps=1, batch=1)
    assert (predict(cloud)[:5] == 3).all()
    assert sum(p.numel() for p in SmallUNet().parameters()) < 1_000_000


def test_the_verdict_follows_the_numbers(monkeypatch):
    """Fake learners: the verdict must compare the controls with the full network."""
    plan = {"train": 8, "val": 4, "few": 0.5, "steps": 1, "batch": 1, "points": 500, "passes": 1}
    monkeypatch.setitem(C.BUDGETS, "tiny", plan)
    rng = np.random.default_rng(0)
    clouds = {"train": [make_cloud(rng, 300) for _ in range(8)]}
    clouds["val"] = [make_cloud(rng, 300) for _ in range(4)]
    monkeypatch.setattr(C, "load", lambda data: clouds[data.split])

    class Fake:
        version = "0"

        def __init__(self, split, length, *, subset=None, **_):
            self.split, self.indices = split, list(range(4 if subset else length))

    monkeypatch.setattr(C, "LidarStreets", Fake)

    def network(few_right: float):
        def make(some, **__):
            share = few_right if len(some) == 4 else 1.0

            def predict(cloud):
                wrong = np.random.default_rng(1).random(len(cloud.label)) > share
                return np.where(wrong, 1 + cloud.label % 4, cloud.label).astype(np.uint8)

            return predict

        return make

    monkeypatch.setattr(C, "train_network", network(0.7))
    good = C.report("tiny")
    assert good["scratch, all 8 labels"]["miou"] == 1.0, "absent classes count for nothing"
    assert good["verdict"]["controls_within_limit"]
    assert good["verdict"]["few_labels_between"]
    assert good["verdict"]["absent_classes"][:1] == ["sky"]
    text = C.table(good)
    assert "scratch, 4 labels" in text
    assert "     -" in text
    monkeypatch.setattr(C, "train_network", network(0.0))
    assert not C.report("tiny")["verdict"]["few_labels_between"]


@pytest.mark.slow
def test_the_fast_report_orders_the_rows(tmp_path):
    rows = C.report("fast", cache=tmp_path)
    assert rows["majority class"]["miou"] < rows["position prior"]["miou"]
    assert torch.isfinite(torch.tensor(rows["scratch, all 12 labels"]["miou"]))
