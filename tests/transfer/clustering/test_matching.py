from __future__ import annotations

import itertools

import numpy as np
import pytest

from densecl.diagnostics.segmentation_metrics import iou_per_class, mean_iou
from densecl.transfer.clustering.matching import greedy, hungarian, join_clusters, purity


def iou_of(counts, true, cluster):
    inside = counts[true, cluster]
    union = counts[true].sum() + counts[:, cluster].sum() - inside
    return inside / union if union else 0.0


def best_sum(counts):
    """Every injection of the smaller side into the larger."""
    classes, clusters = counts.shape
    if classes > clusters:
        return best_sum_of_columns(counts)
    return max(
        sum(iou_of(counts, true, cluster) for true, cluster in enumerate(chosen))
        for chosen in itertools.permutations(range(clusters), classes)
    )


def best_sum_of_columns(counts):
    classes, clusters = counts.shape
    return max(
        sum(iou_of(counts, true, cluster) for cluster, true in enumerate(chosen))
        for chosen in itertools.permutations(range(classes), clusters)
    )


@pytest.mark.parametrize("shape", [(3, 3), (3, 5), (4, 2), (1, 4), (5, 1)])
def test_hungarian_reaches_the_best_of_all_permutations(shape):
    for _ in range(10):
        counts = np.random.default_rng().integers(0, 4, shape)
        matching = hungarian(counts)
        found = [(true, cluster) for cluster, true in enumerate(matching) if true >= 0]
        assert len({true for true, _ in found}) == len(found)
        total = sum(iou_of(counts, true, cluster) for true, cluster in found)
        assert total == pytest.approx(best_sum(counts), abs=1e-12)


@pytest.mark.parametrize("match", [hungarian, greedy])
def test_clusters_that_are_the_permuted_classes_score_one(match):
    truth = np.random.default_rng().integers(0, 5, 400)
    cluster = np.random.default_rng().permutation(5)[truth]
    counts = np.zeros((5, 5), int)
    np.add.at(counts, (truth, cluster), 1)
    assert mean_iou(join_clusters(counts, match(counts))) == 1.0
    assert purity(counts) == 1.0


@pytest.mark.parametrize("unmatched", ["background", "wrong"])
def test_one_cluster_for_all_scores_one_class_alone(unmatched):
    counts = np.zeros((3, 4), int)
    counts[:, 2] = [50, 30, 20]
    for match in (hungarian, greedy):
        iou = iou_per_class(join_clusters(counts, match(counts), unmatched))
        assert iou[:3].tolist() == [0.5, 0.0, 0.0]
    assert purity(counts) == 0.5


def test_greedy_takes_the_largest_precision_and_the_lower_class_of_equals():
    counts = np.array([[3, 2, 0, 0], [1, 2, 0, 5], [0, 0, 0, 5]])
    by_loop = []
    for cluster in range(4):
        size = counts[:, cluster].sum()
        precision = [counts[true, cluster] / size if size else -1 for true in range(3)]
        by_loop.append(precision.index(max(precision)) if size else -1)
    assert greedy(counts).tolist() == by_loop == [0, 0, -1, 1]


def test_joining_adds_up_by_loop():
    generator = np.random.default_rng()
    counts = generator.integers(0, 9, (3, 7))
    matching = generator.integers(-1, 3, 7)
    for unmatched, column in (("background", 1), ("wrong", 3)):
        expected = np.zeros((4, 4), int)
        for true in range(3):
            for cluster in range(7):
                to = matching[cluster] if matching[cluster] >= 0 else column
                expected[true, to] += counts[true, cluster]
        assert (join_clusters(counts, matching, unmatched, 1) == expected).all()


def test_unmatched_clusters_hurt_the_background_only_if_they_are_called_so():
    counts = np.array([[10, 0, 0], [0, 10, 5]])
    matching = hungarian(counts)
    assert matching.tolist() == [0, 1, -1]
    wrong = iou_per_class(join_clusters(counts, matching, "wrong"))
    background = iou_per_class(join_clusters(counts, matching, "background"))
    assert wrong[:2].tolist() == [1.0, 10 / 15]
    assert background[:2].tolist() == [10 / 15, 10 / 15]


def test_absent_classes_have_no_score_and_take_no_pixels():
    counts = np.array([[6, 0], [0, 4], [0, 0]])
    joined = join_clusters(counts, hungarian(counts))
    assert np.isnan(iou_per_class(joined)[2:]).all()
    assert mean_iou(joined) == 1.0


def test_no_labelled_pixel_is_no_score():
    counts = np.zeros((2, 3), int)
    assert hungarian(counts).tolist() == greedy(counts).tolist() == [-1] * 3
    assert np.isnan(purity(counts))
    assert np.isnan(mean_iou(join_clusters(counts, greedy(counts))))
