"""The operators against loops over boxes, samples and pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from densecl.transfer.detection.operators import box_overlaps, nms, roi_align, sigmoid_focal_loss


def overlap(a, b, offset=0.0):
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    shared = max(width, 0) * max(height, 0)
    area = sum((c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b))
    return shared / (area - shared) if area > shared else float("nan")


def greedy(boxes, scores, threshold, classes=None, offset=0.0):
    """The textbook loop."""
    left = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [
            i
            for i in left
            if (classes is not None and classes[i] != classes[best])
            or not overlap(boxes[best], boxes[i], offset) > threshold
        ]
    return kept


def some_boxes(generator, count, room=40.0, quarter=True):
    low = generator.uniform(0, room, (count, 2))
    boxes = np.concatenate([low, low + generator.uniform(0, 20, (count, 2))], axis=1)
    return np.round(boxes * 4) / 4 if quarter else boxes


def slow_roi_align(features, boxes, image, size, scale, sampling, aligned):
    channels, height, width = features.shape[1:]
    out = np.zeros((len(boxes), channels, *size))
    shift = 0.5 if aligned else 0.0
    for r, (x0, y0, x1, y1) in enumerate(np.asarray(boxes) * scale - shift):
        w, h = x1 - x0, y1 - y0
        if not aligned:
            w, h = max(w, 1.0), max(h, 1.0)
        bin_w, bin_h = w / size[1], h / size[0]
        many_x = sampling or math.ceil(bin_w)
        many_y = sampling or math.ceil(bin_h)
        for i in range(size[0]):
            for j in range(size[1]):
                total = np.zeros(channels)
                for a in range(many_y):
                    for b in range(many_x):
                        y = y0 + i * bin_h + (a + 0.5) * bin_h / many_y
                        x = x0 + j * bin_w + (b + 0.5) * bin_w / many_x
                        total += bilinear(features[image[r]], y, x, height, width)
                out[r, :, i, j] = total / max(many_x * many_y, 1)
    return out


def bilinear(feature, y, x, height, width):
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = max(y, 0.0), max(x, 0.0)
    top, left = min(int(y), height - 1), min(int(x), width - 1)
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, u = min(y, height - 1) - top, min(x, width - 1) - left
    return (
        (1 - v) * (1 - u) * feature[:, top, left]
        + (1 - v) * u * feature[:, top, right]
        + v * (1 - u) * feature[:, below, left]
        + v * u * feature[:, below, right]
    )


@pytest.mark.parametrize("count", [1, 7, 60, 700])
@pytest.mark.parametrize("offset", [0, 1])
def test_nms_is_the_greedy_loop(count, offset):
    generator = np.random.default_rng(count)
    boxes = some_boxes(generator, count, room=200 if count > 100 else 40)
    scores = np.round(generator.random(count), 1)  # many ties
    for classes in (None, generator.integers(0, 3, count)):
        found = nms(
            torch.from_numpy(boxes),
            torch.from_numpy(scores),
            0.3,
            classes=None if classes is None else torch.from_numpy(classes),
            offset=offset,
        )
        assert found.tolist() == greedy(boxes.tolist(), scores.tolist(), 0.3, classes, offset)


def test_a_suppressed_box_suppresses_nothing_along_a_chain_of_boxes():
    count = 900  # each overlaps its neighbours alone; the chain spans several blocks
    low = torch.arange(count, dtype=torch.float64) * 6
    boxes = torch.stack([low, low * 0, low + 10, low * 0 + 10], dim=1)
    scores = torch.linspace(1, 0, count, dtype=torch.float64)
    assert nms(boxes, scores, 0.2).tolist() == list(range(0, count, 2))


def test_overlap_that_equals_the_threshold_stays():
    boxes = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1]])  # overlap 1/2
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert nms(boxes, scores, 0.499).tolist() == [0]


def test_of_equal_scores_the_earlier_box_stays():
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4]])
    assert nms(boxes, torch.full((3,), 0.5), 0.5).tolist() == [0]
    order = torch.tensor([0.5, 0.5, 0.6])
    assert nms(boxes, order, 0.5).tolist() == [2]


def test_boxes_without_area_stay():
    boxes = torch.tensor([[3.0, 3, 3, 3], [3, 3, 3, 3], [0, 0, 6, 6]])
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.1).tolist() == [0, 1, 2]


def test_no_box_gives_no_box():
    found = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert found.shape == (0,)
    assert found.dtype == torch.int64


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match="scores"):
        nms(torch.zeros(2, 4), torch.zeros(3), 0.5)
    with pytest.raises(ValueError, match="classes"):
        nms(torch.zeros(2, 4), torch.zeros(2), 0.5, classes=torch.zeros(1))


def test_overlaps_are_those_of_the_loop():
    generator = np.random.default_rng(3)
    first, second = some_boxes(generator, 9), some_boxes(generator, 5)
    found = box_overlaps(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    expected = [[overlap(a, b) for b in second] for a in first]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling", [0, 1, 2, 3])
def test_roi_align_is_the_loop_over_samples(aligned, sampling):
    generator = np.random.default_rng(10 * sampling + aligned)
    features = generator.standard_normal((2, 3, 9, 7))
    # boxes over the border, far outside, smaller than a cell, over everything
    boxes = some_boxes(generator, 12, room=30, quarter=False) - 6
    boxes = np.concatenate([boxes, [[0, 0, 28, 36], [5, 5, 5.5, 5.2], [90, 90, 99, 99]]])
    image = generator.integers(0, 2, len(boxes))
    found = roi_align(
        torch.from_numpy(features),
        torch.from_numpy(boxes),
        torch.from_numpy(image),
        (3, 2),
        scale=0.25,
        sampling=sampling,
        aligned=aligned,
    )
    expected = slow_roi_align(features, boxes, image, (3, 2), 0.25, sampling, aligned)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)  # float64 sums


def test_roi_align_of_the_whole_map_at_its_own_size_is_the_map():
    features = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    box = torch.tensor([[0.0, 0.0, 12.0, 10.0]], dtype=torch.float64)
    found = roi_align(features, box, torch.zeros(1), (5, 6), scale=0.5, sampling=1)
    torch.testing.assert_close(found, features)


@pytest.mark.parametrize("sampling", [0, 2])
def test_roi_align_gradient(sampling):
    features = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[0.0, 1, 7, 9], [3, 3, 20, 6], [4, 4, 4, 4]], dtype=torch.float64)
    image = torch.tensor([1, 0, 1])
    assert torch.autograd.gradcheck(
        lambda x: roi_align(x, boxes, image, (2, 3), scale=0.5, sampling=sampling), features
    )


def test_roi_align_of_no_box_is_empty_and_attached():
    features = torch.randn(1, 4, 5, 5, requires_grad=True)
    for boxes, count in ((torch.zeros(0, 4), 0), (torch.full((1, 4), 3.0), 1)):
        found = roi_align(features, boxes, torch.zeros(count), (7, 7))
        assert found.shape == (count, 4, 7, 7)
        assert not found.any()
        found.sum().backward()


def test_focal_loss_is_the_formula_and_has_its_gradient():
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, 3, 1])  # 3 = background
    weight = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    found = sigmoid_focal_loss(logits, target, gamma=1.5, alpha=0.3, weight=weight)
    for n in range(6):
        for c in range(3):
            p = 1 / (1 + math.exp(-logits[n, c].item()))
            if target[n] == c:
                expected = -0.3 * (1 - p) ** 1.5 * math.log(p)
            else:
                expected = -0.7 * p**1.5 * math.log(1 - p)
            assert found[n, c].item() == pytest.approx(expected * weight[c].item(), rel=1e-10)
    assert torch.autograd.gradcheck(lambda x: sigmoid_focal_loss(x, target), logits)
