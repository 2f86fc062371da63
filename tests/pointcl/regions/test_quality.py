from __future__ import annotations

import math

import numpy as np
import pytest

from densecl.regions import Segments
from pointcl.data.scan import Boxes, Scan
from pointcl.regions.quality import measure_cloud, measure_scan, objects_of


def slow(ids, label, objects, foreground, ignore, least):
    """Every measure by counting points of sets."""
    segments = [k for k in np.unique(ids) if k >= 0]
    known = [i for i in range(len(ids)) if label[i] != ignore and ids[i] >= 0]
    right = 0
    for s in segments:
        own = [label[i] for i in known if ids[i] == s]
        right += max((own.count(c) for c in set(own)), default=0)
    things = [o for o in np.unique(objects) if o >= 0 and (objects == o).sum() >= least]
    cover, best, overlap, pieces, recall = [], [], [], [], []
    met = set()
    for o in things:
        mine = set(np.flatnonzero(objects == o))
        parts = {s: set(np.flatnonzero(ids == s)) for s in segments}
        small = {i for i, p in enumerate(objects) if p >= 0 and p not in things}
        shared = {s: len(mine & part) for s, part in parts.items()}
        met |= {s for s, n in shared.items() if n}
        cover.append(sum(shared.values()) / len(mine))
        best.append(max(shared.values(), default=0) / len(mine))
        overlap.append(
            max((n / len((parts[s] - small) | mine) for s, n in shared.items()), default=0)
        )
        pieces.append(sum(n >= 0.1 * len(mine) for n in shared.values()))
        recall.append(foreground[list(mine)].mean())
    pure = whole = 0
    for s in met:
        own = [o if o >= 0 else -1 for o in objects[ids == s] if o < 0 or o in things]
        pure += max(own.count(o) for o in set(own))
        whole += len(own)
    on = [
        objects[i] in things
        for i in np.flatnonzero(foreground)
        if objects[i] < 0 or objects[i] in things
    ]
    return {
        "segments": len(segments),
        "inside": (ids >= 0).mean(),
        "label_purity": right / len(known) if known else math.nan,
        "objects": len(things),
        "covered": np.mean(cover),
        "best_cover": np.mean(best),
        "best_overlap": np.mean(overlap),
        "fragments": np.mean(pieces),
        "object_purity": pure / whole if whole else math.nan,
        "foreground_recall": np.mean(recall),
        "foreground_precision": np.mean(on) if on else math.nan,
    }


def test_measures_are_those_of_counting(random):
    for _ in range(10):
        ids = random.integers(-1, 6, 150)
        label = random.choice([0, 1, 2, 255], 150)
        objects = random.choice([-1, 3, 8, 9, 40], 150, p=[0.5, 0.2, 0.2, 0.08, 0.02])
        foreground = random.uniform(size=150) < 0.4
        found = measure_cloud(ids, label=label, objects=objects, foreground=foreground, least=5)
        expected = slow(ids, label, objects, foreground, 255, 5)
        assert vars(found) == pytest.approx(expected, nan_ok=True)


def test_perfect_segments_score_perfectly_and_one_segment_does_not():
    objects = np.repeat([-1, 0, 1], [40, 30, 30])
    label = np.repeat([0, 1, 1], [40, 30, 30])
    best = measure_cloud(objects, label=label, objects=objects, foreground=objects >= 0)
    for name in ("label_purity", "covered", "best_cover", "best_overlap", "fragments"):
        assert getattr(best, name) == 1
    assert (best.foreground_recall, best.foreground_precision, best.inside) == (1, 1, 0.6)
    one = measure_cloud(np.zeros(100, int), label=label, objects=objects)
    assert (one.label_purity, one.best_cover, one.best_overlap) == (0.6, 1.0, 0.3)
    assert one.object_purity == pytest.approx(0.4)
    assert math.isnan(one.foreground_recall)


def test_the_names_of_segments_and_objects_and_the_order_say_nothing(random):
    ids, objects = random.integers(-1, 6, 200), random.integers(-1, 4, 200)
    order = random.permutation(200)
    found = measure_cloud(ids, objects=objects)
    other = measure_cloud(
        np.where(ids < 0, -1, 9 - ids)[order], objects=np.where(objects < 0, -5, objects * 7)[order]
    )
    assert vars(other) == pytest.approx(vars(found), nan_ok=True)


def test_ignored_labels_and_points_that_are_not_there_do_not_count(random):
    ids, label = np.array([0, 0, 0, 1]), np.array([2, 2, 255, 3])
    assert measure_cloud(ids, label=label).label_purity == 1.0
    finite = np.array([True, True, False, False])
    assert measure_cloud(ids, label=label, finite=finite).segments == 1
    assert measure_cloud(ids, label=label, finite=finite).inside == 1.0


def test_nothing_is_measured_of_nothing():
    empty = measure_cloud(np.zeros(0, int), label=np.zeros(0, int), objects=np.zeros(0, int))
    assert (empty.segments, empty.objects) == (0, 0)
    assert math.isnan(empty.inside)
    assert math.isnan(empty.label_purity)
    assert math.isnan(empty.best_overlap)
    none = measure_cloud(np.full(30, -1), objects=np.zeros(30, int))
    assert (none.covered, none.best_cover, none.best_overlap, none.fragments) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="label"):
        measure_cloud(np.zeros(3, int), label=np.zeros(2, int))


def test_objects_are_instances_or_boxes(random):
    points = random.uniform(-1, 1, (60, 3)).astype(np.float32)
    boxes = Boxes(np.zeros((1, 3)), np.ones((1, 3)), np.zeros(1), ["car"], np.array([7]))
    inside = (np.abs(points) <= 0.5).all(1)
    assert objects_of(Scan(points, 0, "a")) is None
    assert (objects_of(Scan(points, 0, "a", boxes=boxes)) == np.where(inside, 0, -1)).all()
    instance = np.where(points[:, 0] > 0, 7, 3)
    assert (objects_of(Scan(points, 0, "a", instance=instance)) == instance).all()
    both = objects_of(Scan(points, 0, "a", instance=instance, boxes=boxes))
    assert (both == np.where(instance == 7, 7, -1)).all()


def test_a_scan_is_measured_with_what_it_knows():
    points = np.zeros((40, 3), np.float32)
    points[0] = np.nan
    ids = np.repeat([0, 1], 20)
    ids[0] = -1
    scan = Scan(points, 0, "a", label=np.repeat([4, 5], 20), instance=np.repeat([0, -1], 20))
    found = measure_scan(scan, Segments(ids, {"foreground": np.array([0.2, 0.9])}))
    assert (found.inside, found.label_purity, found.objects) == (1.0, 1.0, 0)
    scan.instance = np.repeat([-1, 2], 20)
    found = measure_scan(scan, Segments(ids, {"foreground": np.array([0.2, 0.9])}))
    assert (found.foreground_recall, found.foreground_precision) == (1.0, 1.0)
