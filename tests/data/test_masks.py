import numpy as np
import pytest

from densecl.data.masks import decode_mask
from densecl.data.seeding import rng


def runs_of(mask):
    """Run lengths down the columns, starting with zeros, by walking the pixels."""
    runs, value = [0], 0
    for pixel in mask.T.reshape(-1):
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def compressed(runs):
    """COCO's compressed counts, written from its description: 5 bits a character plus a sign."""
    text = ""
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr((bits if done else bits | 32) + 48)
            if done:
                break
    return text


def masks():
    yield np.zeros((5, 7), int)
    yield np.ones((5, 7), int)
    for i in range(20):
        random = rng(0, i)
        yield (random.random((random.integers(1, 40), random.integers(1, 90))) < 0.5).astype(int)
    blob = np.zeros((300, 400), int)
    blob[20:280, 50:390] = 1
    yield blob


@pytest.mark.parametrize("code", [lambda runs: runs, compressed, lambda r: compressed(r).encode()])
def test_run_lengths_come_back(code):
    for mask in masks():
        segmentation = {"size": list(mask.shape), "counts": code(runs_of(mask))}
        assert np.array_equal(decode_mask(segmentation, mask.shape), mask.astype(bool))


def test_compressed_counts_of_a_known_string():
    # runs 6, 1, 40, 4: 6 -> "6", 1 -> "1", 40 = 8 + 32 -> "X1", 4 - 1 = 3 -> "3"
    mask = np.zeros(51, int)
    mask[[6, *range(47, 51)]] = 1
    decoded = decode_mask({"size": [51, 1], "counts": "61X13"}, (51, 1))
    assert np.array_equal(decoded[:, 0], mask)


def test_polygon_covers_the_pixels_whose_centres_it_holds():
    polygon = [2.0, 3.0, 12.0, 3.0, 12.0, 9.0, 2.0, 9.0]
    mask = decode_mask([polygon], (20, 20))
    expected = np.zeros((20, 20), bool)
    expected[3:9, 2:12] = True
    # an outline on pixel borders may take the pixels it touches, never more
    grown = np.zeros_like(expected)
    grown[2:10, 1:13] = True
    assert mask[expected].all()
    assert not mask[~grown].any()


def test_polygon_agrees_with_an_even_odd_test():
    corners = np.array([[3.2, 2.1], [25.7, 6.4], [18.9, 27.3], [10.1, 14.6]])
    mask = decode_mask([corners.reshape(-1).tolist()], (30, 30))
    y, x = np.mgrid[:30, :30] + 0.5
    inside = np.zeros((30, 30), bool)
    distance = np.full((30, 30), np.inf)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
        t = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
        t = t.clip(0, 1)
        distance = np.minimum(distance, np.hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0)))
    assert distance[mask != inside].max(initial=0) < 0.75


def test_polygons_of_one_object_are_united():
    mask = decode_mask([[1, 1, 4, 1, 4, 4, 1, 4], [10, 10, 14, 10, 14, 14]], (20, 20))
    assert mask[2, 2]
    assert mask[11, 13]
    assert not mask[7, 7]


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 1, 2, 2]],
        [[1, 1, 2, 2, 3]],
        {"size": [4, 5], "counts": [20]},
        {"size": [5, 4], "counts": [19]},
        {"size": [5, 4], "counts": [25, -5]},
        {"counts": [20]},
        "text",
    ],
)
def test_what_does_not_fit_is_refused(segmentation):
    with pytest.raises(ValueError):
        decode_mask(segmentation, (5, 4))
