from __future__ import annotations

import math

import numpy as np
import pytest

from densecl.diagnostics.segmentation_metrics import (
    confusion_matrix,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
)


def slow_iou(prediction, truth, num_classes, ignore=255):
    """Sets of pixels, one class after the other."""
    labelled = {i for i, t in enumerate(truth) if t != ignore}
    result = []
    for c in range(num_classes):
        true = {i for i in labelled if truth[i] == c}
        said = {i for i in labelled if prediction[i] == c}
        result.append(len(true & said) / len(true | said) if true else math.nan)
    return result


@pytest.mark.parametrize("seed", range(5))
def test_iou_equals_set_arithmetic(seed):
    generator = np.random.default_rng(seed)
    truth = generator.choice([0, 1, 2, 4, 255], 300)  # class 3 is absent
    prediction = generator.integers(0, 5, 300)
    confusion = confusion_matrix(prediction, truth, 5)
    np.testing.assert_allclose(iou_per_class(confusion), slow_iou(prediction, truth, 5))
    assert confusion.sum() == (truth != 255).sum()


def test_rows_are_truth_and_columns_are_prediction():
    confusion = confusion_matrix(np.array([1, 1, 0]), np.array([0, 0, 0]), 2)
    np.testing.assert_array_equal(confusion, [[1, 2], [0, 0]])


def test_absent_class_is_nan_and_not_averaged():
    truth, prediction = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    iou = iou_per_class(confusion_matrix(prediction, truth, 4))
    np.testing.assert_array_equal(iou, [1, 1, np.nan, np.nan])
    assert mean_iou(confusion_matrix(prediction, truth, 4)) == 1.0


def test_absent_class_that_is_predicted_hurts_the_true_class_only():
    truth, prediction = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    iou = iou_per_class(confusion_matrix(prediction, truth, 3))
    np.testing.assert_array_equal(iou, [0.5, 1, np.nan])
    assert mean_iou(confusion_matrix(prediction, truth, 3)) == 0.75


def test_over_either_a_class_that_is_only_predicted_scores_zero():
    confusion = confusion_matrix(np.array([0, 2, 1, 1]), np.array([0, 0, 1, 1]), 4)
    np.testing.assert_array_equal(iou_per_class(confusion, "either"), [0.5, 1, 0, np.nan])
    assert mean_iou(confusion, "either") == 0.5


def test_without_an_ignored_id_every_pixel_counts():
    assert confusion_matrix(np.array([0]), np.array([255]), 256, ignore=None)[255, 0] == 1


def test_present_class_never_predicted_scores_zero():
    iou = iou_per_class(confusion_matrix(np.array([0, 0]), np.array([0, 1]), 2))
    np.testing.assert_array_equal(iou, [0.5, 0])


def test_ignored_pixels_count_neither_as_truth_nor_as_prediction():
    truth, prediction = np.array([0, 255, 255]), np.array([0, 0, 1])
    iou = iou_per_class(confusion_matrix(prediction, truth, 2))
    np.testing.assert_array_equal(iou, [1, np.nan])


def test_dataset_score_is_not_the_mean_of_image_scores():
    first = confusion_matrix(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]), 2)
    second = confusion_matrix(np.array([1, 0]), np.array([1, 1]), 2)
    # over both: class 0 hits 3 of 3 true + 2 false; class 1 hits 1 of 3 true
    assert mean_iou(first + second) == pytest.approx((3 / 5 + 1 / 3) / 2)


def test_nothing_labelled_gives_nan():
    confusion = confusion_matrix(np.zeros(3, int), np.full(3, 255), 2)
    assert math.isnan(mean_iou(confusion))
    assert math.isnan(pixel_accuracy(confusion))


def test_accuracy_is_the_share_of_hits():
    assert pixel_accuracy(np.array([[3, 1], [2, 4]])) == 0.7


def test_perfect_and_permuted_predictions():
    truth = np.arange(4).repeat(5)
    assert mean_iou(confusion_matrix(truth, truth, 4)) == 1
    assert mean_iou(confusion_matrix((truth + 1) % 4, truth, 4)) == 0


def test_uint8_ids_do_not_overflow():
    truth = np.full(300, 20, np.uint8)
    confusion = confusion_matrix(truth, truth, 21)
    assert confusion[20, 20] == 300


@pytest.mark.parametrize("bad", [-1, 3])
def test_ids_outside_the_classes_are_refused(bad):
    with pytest.raises(ValueError, match=r"allowed are 0\.\.2"):
        confusion_matrix(np.array([bad]), np.array([0]), 3)
    with pytest.raises(ValueError, match="truth holds"):
        confusion_matrix(np.array([0]), np.array([bad]), 3)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="truth is"):
        confusion_matrix(np.zeros((2, 2), int), np.zeros(4, int), 2)
