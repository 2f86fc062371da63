from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from densecl.transfer.propagation.scores import (
    boundary_f,
    boundary_map,
    region_similarity,
    score_video,
)


def blob(seed, size=(40, 50)):
    """A union of a few discs."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    mask = np.zeros(size, bool)
    for _ in range(3):
        cy, cx, r = generator.uniform((0, 0, 4), (*size, 10))
        mask |= (y - cy) ** 2 + (x - cx) ** 2 < r * r
    return mask


def boundary_by_loops(mask):
    height, width = mask.shape
    line = set()
    for r, c in itertools.product(range(height), range(width)):
        for dr, dc in ((0, 1), (1, 0), (1, 1)):
            if r + dr < height and c + dc < width and mask[r, c] != mask[r + dr, c + dc]:
                line.add((r, c))
    return line


def f_by_loops(predicted, truth, bound=0.008):
    """Every boundary pixel looks at every other one."""
    found, wanted = boundary_by_loops(predicted), boundary_by_loops(truth)
    if not found and not wanted:
        return 1.0
    if not found or not wanted:
        return 0.0
    reach = math.ceil(bound * math.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2))

    def matched(one, other):
        return sum(any(math.dist(a, b) <= reach for b in other) for a in one) / len(one)

    precision, recall = matched(found, wanted), matched(wanted, found)
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("seed", range(4))
def test_against_loops(seed):
    truth = blob(seed)
    for predicted in (blob(seed + 100), np.roll(truth, 2, axis=1), truth & ~blob(seed + 50)):
        both = sum(p and t for p, t in zip(predicted.flat, truth.flat, strict=True))
        either = sum(p or t for p, t in zip(predicted.flat, truth.flat, strict=True))
        assert region_similarity(predicted, truth) == pytest.approx(both / either)
        found = set(zip(*np.nonzero(boundary_map(predicted)), strict=True))
        assert found == boundary_by_loops(predicted)
        for bound in (0.008, 0.05):
            expected = f_by_loops(predicted, truth, bound)
            assert boundary_f(predicted, truth, bound=bound) == pytest.approx(expected)


def test_the_bound_is_rounded_up_and_may_be_in_pixels():
    # the diagonal of 30 x 40 is 50 pixels: 0.008 of it is 0.4, up to 1
    truth = np.zeros((30, 40), bool)
    truth[10:20, 10:20] = True
    one, two = np.roll(truth, 1, axis=0), np.roll(truth, 2, axis=0)
    assert boundary_f(one, truth) == pytest.approx(1)
    assert boundary_f(two, truth) < 1
    assert boundary_f(two, truth, bound=2) == pytest.approx(1)
    assert boundary_f(two, truth, bound=0.021) == pytest.approx(1)


def test_empty_masks():
    empty, full = np.zeros((20, 20), bool), np.ones((20, 20), bool)
    some = empty.copy()
    some[5:9, 5:9] = True
    assert region_similarity(empty, empty) == 1
    assert boundary_f(empty, empty) == 1
    assert region_similarity(empty, some) == region_similarity(some, empty) == 0
    assert boundary_f(empty, some) == boundary_f(some, empty) == 0
    # a mask of the whole picture has no boundary: F cannot tell it from an empty one, J can
    assert boundary_f(full, empty) == 1
    assert region_similarity(full, empty) == 0


def test_an_object_of_one_pixel():
    truth = np.zeros((12, 12), bool)
    truth[6, 6] = True
    assert boundary_map(truth).sum() == 4
    assert boundary_f(truth, truth) == region_similarity(truth, truth) == 1
    moved = np.roll(truth, 1, axis=1)
    assert region_similarity(moved, truth) == 0
    assert boundary_f(moved, truth) == 1
    # at the last row and column it touches the border, which is no boundary
    corner = np.zeros((12, 12), bool)
    corner[11, 11] = True
    assert boundary_map(corner).sum() == 3


def test_void_pixels_count_for_neither():
    truth, void = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
    truth[5:12, 5:12] = True
    void[:, 15:] = True
    predicted = truth.copy()
    predicted[3:17, 18:28] = True
    assert region_similarity(predicted, truth) < 1
    assert region_similarity(predicted, truth, void) == 1
    assert boundary_f(predicted, truth) < 1
    assert boundary_f(predicted, truth, void) == 1


def test_first_and_last_frame_and_other_ids_are_left_out():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, (5, 10, 10))
    predicted = generator.integers(0, 4, (5, 10, 10))
    found = score_video(predicted, truth, (1, 3))
    assert found.objects == (1, 3)
    assert found.region.shape == found.boundary.shape == (2, 3)
    for row, number in enumerate((1, 3)):
        for column, t in enumerate((1, 2, 3)):
            masks = predicted[t] == number, truth[t] == number
            assert found.region[row, column] == region_similarity(*masks)
            assert found.boundary[row, column] == boundary_f(*masks)
    changed = predicted.copy()
    changed[[0, -1]] = 0
    again = score_video(changed, truth, (1, 3))
    np.testing.assert_array_equal(again.region, found.region)
    np.testing.assert_array_equal(found.means[0], found.region.mean(1))


def test_an_object_that_leaves_is_right_only_if_it_is_predicted_nowhere():
    truth = np.zeros((4, 8, 8), int)
    truth[:2, 2:5, 2:5] = 7
    predicted = truth.copy()
    assert score_video(predicted, truth, (7,)).region.tolist() == [[1, 1]]
    predicted[2, 0, 0] = 7
    assert score_video(predicted, truth, (7,)).region.tolist() == [[1, 0]]
    assert score_video(predicted, truth, (7,)).boundary.tolist() == [[1, 0]]


def test_void_of_a_video_is_that_of_each_frame():
    truth, predicted = np.zeros((3, 8, 8), int), np.zeros((3, 8, 8), int)
    truth[:, 2:5, 2:5] = predicted[:, 2:5, 2:5] = 1
    predicted[1, 6, 6] = 1
    void = np.zeros(truth.shape, bool)
    void[2, 6, 6] = True
    assert score_video(predicted, truth, (1,), void).region[0, 0] < 1
    void[1, 6, 6] = True
    assert score_video(predicted, truth, (1,), void).region[0, 0] == 1


def test_shapes_and_lengths_are_checked():
    ids = np.zeros((2, 4, 4), int)
    with pytest.raises(ValueError, match="2 frames"):
        score_video(ids, ids, (1,))
    with pytest.raises(ValueError, match="truth"):
        score_video(ids, ids[:, :2], (1,))
