"""Average precision against COCO's own evaluation, against a loop, and where metrics go wrong."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest

from densecl.transfer.detection.average_precision import (
    AREAS,
    MAX_DETECTIONS,
    RECALLS,
    THRESHOLDS,
    Detections,
    Truth,
    average_precision,
)


def some_truth(generator, most, num_classes, *, flags=True):
    count = int(generator.integers(0, most + 1))
    boxes = box_list(generator, count)
    crowd = generator.random(count) < 0.15 if flags else np.zeros(count, bool)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) * 0.75
    return Truth(boxes, generator.integers(0, num_classes, count), None, crowd, area)


def box_list(generator, count):
    """Boxes on a grid of quarter pixels: their overlaps are exact in any order of the sums."""
    low = generator.integers(0, 400, (count, 2)) / 4
    side = np.exp(generator.uniform(np.log(4), np.log(130), (count, 2)))
    return np.concatenate([low, low + np.round(side * 4) / 4], axis=1)


def some_detections(generator, truth, num_classes, spurious):
    """Shifted copies of the truth and others, with many equal scores."""
    near = np.repeat(truth.boxes, 2, axis=0)
    near = near + generator.integers(-8, 9, near.shape) / 4
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 0.25)
    boxes = np.concatenate([near, box_list(generator, spurious)])
    labels = np.concatenate(
        [np.repeat(truth.labels, 2), generator.integers(0, num_classes, spurious)]
    )
    return Detections(boxes, labels, np.round(generator.random(len(boxes)), 1))


def scene(seed, pictures=12, num_classes=3, most=8, spurious=9):
    generator = np.random.default_rng(seed)
    truth = [some_truth(generator, most, num_classes) for _ in range(pictures)]
    truth[1] = Truth(np.zeros((0, 4)), np.zeros(0, int))
    found = [some_detections(generator, t, num_classes, spurious) for t in truth]
    found[2] = Detections(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    return truth, found


def coco_evaluation(truth, detections, num_classes):
    """pycocotools' own result."""
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    wide = [[b[0], b[1], b[2] - b[0], b[3] - b[1]] for t in truth for b in t.boxes.tolist()]
    annotations = []
    for image, t in enumerate(truth):
        for k in range(len(t.boxes)):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(t.labels[k]),
                    "bbox": wide[len(annotations)],
                    "area": float(t.area[k]),
                    "iscrowd": int(t.crowd[k]),
                }
            )
    results = [
        {
            "image_id": image,
            "category_id": int(label),
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "score": float(score),
        }
        for image, d in enumerate(detections)
        for box, label, score in zip(d.boxes.tolist(), d.labels, d.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        ground = coco.COCO()
        ground.dataset = {
            "images": [{"id": i} for i in range(len(truth))],
            "categories": [{"id": c} for c in range(num_classes)],
            "annotations": annotations,
        }
        ground.createIndex()
        evaluation = COCOeval(ground, ground.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_cocos_evaluation(seed):
    truth, found = scene(seed)
    theirs = coco_evaluation(truth, found, 3)
    ours = average_precision(truth, found, 3, areas=tuple(AREAS), max_detections=MAX_DETECTIONS)
    blank = {"nan": -1.0}  # it writes -1 where there is nothing to find
    np.testing.assert_allclose(np.nan_to_num(ours.precision, **blank), theirs.eval["precision"])
    np.testing.assert_allclose(np.nan_to_num(ours.recall, **blank), theirs.eval["recall"])
    summary = [
        ours.ap(),
        ours.ap(0.5),
        ours.ap(0.75),
        *(ours.ap(area=name) for name in ("small", "medium", "large")),
        *(ours.ar(max_detections=most) for most in MAX_DETECTIONS),
        *(ours.ar(area=name) for name in ("small", "medium", "large")),
    ]
    np.testing.assert_allclose(np.nan_to_num(summary, **blank), theirs.stats)


def slow_precision(truth, detections, label, threshold):
    """One class and threshold, one detection and one box at a time; every area counts."""
    queue = []
    taken = [set() for _ in truth]
    wanted = 0
    for image, t in enumerate(truth):
        ignore = np.zeros(len(t.boxes), bool) if t.ignore is None else t.ignore
        crowd = np.zeros(len(t.boxes), bool) if t.crowd is None else t.crowd
        wanted += sum(
            t.labels[k] == label and not ignore[k] and not crowd[k] for k in range(len(t.boxes))
        )
        for n in range(len(detections[image].boxes)):
            if detections[image].labels[n] == label:
                queue.append((-detections[image].scores[n], image, n))
    if not wanted:
        return None
    outcomes = []
    for _, image, n in sorted(queue):
        t, box = truth[image], detections[image].boxes[n]
        best, counts = None, True
        for pass_ignored in (False, True):
            for k in range(len(t.boxes)):
                crowd = t.crowd is not None and t.crowd[k]
                ignored = crowd or (t.ignore is not None and bool(t.ignore[k]))
                if t.labels[k] != label or ignored != pass_ignored:
                    continue
                if k in taken[image] and not crowd:
                    continue
                value = slow_overlap(box, t.boxes[k], crowd)
                if value >= threshold and (best is None or value >= best[0]):
                    best, counts = (value, k), not ignored
            if best is not None:
                break
        if best is None:
            outcomes.append(False)
            continue
        taken[image].add(best[1])
        if counts:
            outcomes.append(True)
    right = wrong = 0
    points = []
    for outcome in outcomes:
        right, wrong = right + outcome, wrong + (not outcome)
        points.append((right / wanted, right / (right + wrong)))
    return [max((p for r, p in points if r >= level), default=0.0) for level in RECALLS]


def slow_overlap(a, b, crowd):
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    first, second = ((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    total = first if crowd else first + second - shared
    return shared / total if total > 0 else 0.0


@pytest.mark.parametrize("seed", [10, 11])
def test_equal_to_a_loop_with_ignored_boxes(seed):
    generator = np.random.default_rng(seed)
    truth, found = scene(seed, pictures=7)
    truth = [Truth(t.boxes, t.labels, generator.random(len(t.boxes)) < 0.3, t.crowd) for t in truth]
    ours = average_precision(truth, found, 3).precision
    for label in range(3):
        for t in (0, 5, 9):
            expected = slow_precision(truth, found, label, THRESHOLDS[t])
            np.testing.assert_allclose(ours[t, :, label, 0, 0], expected, atol=1e-12)


def one(boxes, labels=None, **flags):
    boxes = np.array(boxes, float).reshape(-1, 4)
    labels = np.zeros(len(boxes), int) if labels is None else np.array(labels)
    return Truth(boxes, labels, **{name: np.array(value) for name, value in flags.items()})


def seen(boxes, scores, labels=None):
    boxes = np.array(boxes, float).reshape(-1, 4)
    labels = np.zeros(len(boxes), int) if labels is None else np.array(labels)
    return Detections(boxes, labels, np.array(scores, float))


A, B, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [60, 60, 70, 70]
NOTHING = Detections(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))


def test_perfect_detections_score_one_and_none_score_zero():
    truth = [one([A, B]), one([FAR])]
    perfect = [seen([A, B], [0.9, 0.8]), seen([FAR], [0.7])]
    assert average_precision(truth, perfect, 1).ap() == pytest.approx(1.0)
    assert average_precision(truth, [NOTHING, NOTHING], 1).ap() == 0.0


def test_absent_class_does_not_enter_the_mean():
    found = average_precision([one([A])], [seen([A, B], [0.9, 0.8], [0, 2])], 3)
    assert found.ap() == pytest.approx(1.0)
    assert np.isnan(found.ap_per_class()).tolist() == [False, True, True]


def test_no_box_at_all_has_no_score():
    found = average_precision([one([])], [seen([A], [0.9])], 1)
    assert math.isnan(found.ap())
    assert math.isnan(found.ar())
    assert math.isnan(average_precision([], [], 1).ap())


def test_a_second_detection_of_a_box_is_wrong():
    found = average_precision([one([A, B])], [seen([A, A, B], [0.9, 0.8, 0.7])], 1)
    # right, wrong, right: precision 1 to recall 1/2 (51 of 101 points), then 2/3
    assert found.ap(0.5) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_wrong_class_finds_nothing():
    found = average_precision([one([A], [1])], [seen([A], [0.9], [0])], 2)
    assert found.ap() == 0.0


def test_detections_in_a_crowd_or_on_an_ignored_box_do_not_count():
    crowd = one([A, [50, 50, 90, 90]], crowd=[False, True])
    inside = seen([FAR, FAR, A], [0.9, 0.8, 0.7])
    assert average_precision([crowd], [inside], 1).ap() == pytest.approx(1.0)
    ignored = one([A, FAR], ignore=[False, True])
    assert average_precision([ignored], [inside], 1).ap() < 1.0  # the second one is spurious
    assert average_precision([ignored], [seen([FAR, A], [0.9, 0.7])], 1).ap() == pytest.approx(1.0)


def test_a_box_that_counts_is_preferred_to_an_ignored_one():
    truth = [one([[0, 0, 10, 6], A], ignore=[False, True])]
    found = average_precision(truth, [seen([A], [0.9])], 1)
    assert found.ap(0.5) == pytest.approx(1.0)  # overlaps 0.6 and 1
    assert found.ap(0.75) == 0.0


def test_of_equal_overlaps_the_later_box_is_taken():
    truth = [one([A, [10, 0, 20, 10]])]
    both = [0, 0, 20, 10]  # overlaps each by half
    rest = average_precision(truth, [seen([both, A], [0.9, 0.8])], 1)
    assert rest.ap(0.5) == pytest.approx(1.0)
    taken = average_precision(truth, [seen([both, [10, 0, 20, 10]], [0.9, 0.8])], 1)
    assert taken.ap(0.5) == pytest.approx(51 / 101)


def test_only_ignored_boxes_have_no_score():
    assert math.isnan(average_precision([one([A], ignore=[True])], [NOTHING], 1).ap())


def test_overlap_that_equals_the_threshold_counts():
    truth, half = [one([[0, 0, 10, 10]])], [seen([[0, 0, 5, 10]], [0.9])]
    found = average_precision(truth, half, 1)
    assert found.ap(0.5) == pytest.approx(1.0)
    assert found.ap(0.75) == 0.0


def test_boxes_without_area_are_found_by_nothing():
    point = [5, 5, 5, 5]
    found = average_precision([one([point])], [seen([point], [0.9])], 1)
    assert found.ap() == 0.0
    assert average_precision([one([A])], [seen([point, A], [0.9, 0.8])], 1).ap() == pytest.approx(
        0.5
    )


def test_of_equal_scores_the_earlier_picture_comes_first():
    truth = [one([A]), one([])]
    right, wrong = seen([A], [0.5]), seen([FAR], [0.5])
    assert average_precision(truth, [right, wrong], 1).ap() == pytest.approx(1.0)
    late = average_precision(truth[::-1], [wrong, right], 1)
    assert late.ap() == pytest.approx(0.5)


def test_only_the_best_detections_count():
    truth = [one([A])]
    found = average_precision(truth, [seen([FAR, A], [0.9, 0.8])], 1, max_detections=(1, 2))
    assert found.ap(max_detections=1) == 0.0
    assert found.ap() == pytest.approx(0.5)


def test_the_order_within_a_picture_does_not_matter_where_scores_differ():
    truth, found = scene(5)
    generator = np.random.default_rng(0)
    distinct = [
        Detections(d.boxes, d.labels, generator.permutation(len(d.scores)) / 1000 + i / 1e5)
        for i, d in enumerate(found)
    ]
    shuffled = []
    for d in distinct:
        order = generator.permutation(len(d.scores))
        shuffled.append(Detections(d.boxes[order], d.labels[order], d.scores[order]))
    ours = average_precision(truth, distinct, 3).precision
    np.testing.assert_array_equal(ours, average_precision(truth, shuffled, 3).precision)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="finite"):
        average_precision([one([A])], [seen([A], [math.nan])], 1)
    with pytest.raises(ValueError, match="pictures"):
        average_precision([one([A])], [], 1)
    with pytest.raises(ValueError, match="threshold"):
        average_precision([one([A])], [NOTHING], 1).ap(0.33)
