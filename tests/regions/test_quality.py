from __future__ import annotations

import numpy as np
import pytest

from densecl.regions import (
    achievable_segmentation_accuracy,
    boundary_recall,
    measure,
    under_segmentation_error,
)


@pytest.fixture
def pair(random):
    segments = np.kron(random.integers(-1, 5, (4, 5)), np.ones((3, 3), int))
    labels = np.kron(random.integers(0, 3, (3, 5)), np.ones((4, 3), int))
    labels[random.random(labels.shape) < 0.1] = 255
    return segments, labels


def near(row, column, shape, steps):
    for down, right in steps:
        if 0 <= row + down < shape[0] and 0 <= column + right < shape[1]:
            yield row + down, column + right


SIDES = [(0, 1), (0, -1), (1, 0), (-1, 0)]


@pytest.mark.parametrize("tolerance", [0, 1, 2])
def test_recall_is_that_of_a_loop(pair, tolerance):
    segments, labels = pair
    window = range(-tolerance, tolerance + 1)
    square = [(down, right) for down in window for right in window]

    def border(ids, place, ignore=None):
        return any(
            ids[place] != ids[other] and ignore not in (ids[place], ids[other])
            for other in near(*place, ids.shape, SIDES)
        )

    truth = [place for place in np.ndindex(labels.shape) if border(labels, place, 255)]
    hit = [
        any(border(segments, other) for other in near(*place, labels.shape, square))
        for place in truth
    ]
    assert boundary_recall(segments, labels, tolerance) == pytest.approx(np.mean(hit), abs=1e-12)


def test_error_and_accuracy_are_those_of_loops(pair):
    segments, labels = pair
    counted = labels != 255
    leaked = right = 0
    for segment in set(segments[counted].tolist()):
        inside = [
            int((counted & (segments == segment) & (labels == label)).sum()) for label in range(3)
        ]
        leaked += sum(min(n, sum(inside) - n) for n in inside if n)
        right += max(inside)
    error = under_segmentation_error(segments, labels)
    assert error == pytest.approx(leaked / counted.sum(), abs=1e-12)
    accuracy = achievable_segmentation_accuracy(segments, labels)
    assert accuracy == pytest.approx(right / counted.sum(), abs=1e-12)


def test_the_labels_themselves_are_perfect_segments(random):
    labels = random.integers(0, 4, (10, 12))
    found = measure(labels, labels)
    assert found.boundary_recall == 1
    assert found.under_segmentation_error == 0
    assert found.achievable_accuracy == 1
    assert found.regions == labels.max() + 1


def test_one_segment_over_two_halves_is_half_wrong():
    labels = np.zeros((4, 8), int)
    labels[:, 4:] = 1
    one = np.zeros_like(labels)
    assert under_segmentation_error(one, labels) == 1
    assert achievable_segmentation_accuracy(one, labels) == 0.5
    assert boundary_recall(one, labels) == 0


@pytest.mark.parametrize(
    ("shift", "tolerance", "recall"), [(1, 0, 0.5), (2, 2, 1.0), (3, 2, 0.5), (4, 2, 0.0)]
)
def test_tolerance_reaches_so_many_pixels_and_no_further(shift, tolerance, recall):
    # label border between columns 7 and 8 (both marked), segment border `shift` columns aside
    columns = np.arange(16)[None].repeat(5, axis=0)
    labels, segments = (columns > 7).astype(int), (columns > 7 + shift).astype(int)
    assert boundary_recall(segments, labels, tolerance) == recall


def test_ignored_pixels_count_nowhere():
    labels = np.array([[0, 0, 255, 1, 1]])
    assert np.isnan(boundary_recall(labels, labels))
    one = np.zeros_like(labels)
    assert achievable_segmentation_accuracy(one, labels) == 0.5
    empty = np.full_like(labels, 255)
    assert np.isnan(under_segmentation_error(one, empty))
    assert np.isnan(achievable_segmentation_accuracy(one, empty))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="segments are"):
        measure(np.zeros((2, 3), int), np.zeros((3, 2), int))
    with pytest.raises(ValueError, match="segments are"):
        boundary_recall(np.zeros((2, 3), int), np.zeros((3, 2), int))
