from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from densecl.transfer.prompts import separation as module
from densecl.transfer.prompts.separation import image_pairs, separation


def image(seed=0, grid=(5, 6), objects=3, channels=4):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(channels, *grid))
    owner = generator.integers(-1, objects, grid)
    return features, np.stack([owner == k for k in range(objects)]).astype(float)


def pairs_by_loops(features, coverage):
    cells = []
    for i, j in itertools.product(*map(range, features.shape[1:])):
        shares = coverage[:, i, j]
        if shares.max() >= 0.5:
            cells.append((int(shares.argmax()), (i, j), features[:, i, j]))
    found = []
    for (o, p, u), (q, r, v) in itertools.combinations(cells, 2):
        cosine = float(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
        found.append((o == q, round(math.dist(p, r)), cosine))
    return found


def auroc_by_loops(within, between):
    """Lists of (value, weight)."""
    won = sum(a * b * ((u > v) + 0.5 * (u == v)) for u, a in within for v, b in between)
    return won / (sum(a for _, a in within) * sum(b for _, b in between))


@pytest.mark.parametrize("seed", range(3))
def test_one_image_against_loops(seed):
    features, coverage = image(seed)
    found = image_pairs(features, coverage)
    pairs = pairs_by_loops(features, coverage)
    sides = [[c for same, _, c in pairs if same], [c for same, _, c in pairs if not same]]
    assert found.pairs == (len(sides[0]), len(sides[1]))
    for row, side in enumerate(sides):
        assert found.moments[row] == pytest.approx([np.mean(side), np.mean(np.square(side))])
        expected = np.histogram(side, 64, (-1, 1))[0] / len(side)
        np.testing.assert_allclose(found.histogram[row], expected)
    expected = auroc_by_loops([(c, 1) for c in sides[0]], [(c, 1) for c in sides[1]])
    assert found.same == pytest.approx(expected)

    near = [d for same, d, _ in pairs if same]
    far = [d for same, d, _ in pairs if not same]
    within = [(c, 1) for same, d, c in pairs if same and d in far]
    between = [(c, near.count(d) / far.count(d)) for same, d, c in pairs if not same]
    assert found.matched == pytest.approx(auroc_by_loops(within, between))


def test_orthogonal_codes_are_told_apart_perfectly():
    owner = np.zeros((4, 6), int)
    owner[:, 3:] = 1
    features = np.stack([owner == 0, owner == 1]).astype(float)
    result = separation([image_pairs(features, features)])
    assert [result["same"], result["matched"]] == pytest.approx([1, 1])
    assert result["ovl"] == 0
    assert result["dprime"] > 1e5
    assert math.isfinite(result["dprime"])


def test_equal_cells_are_not_told_apart():
    _, coverage = image()
    features = np.ones((3, 5, 6)) * 0.7
    result = separation([image_pairs(features, coverage)])
    assert [result["same"], result["matched"]] == pytest.approx([0.5, 0.5])
    assert result["ovl"] == 1
    assert result["dprime"] == 0
    assert result["within"] == result["between"] == 1


def test_smooth_noise_separates_objects_only_by_their_place():
    """Neighbours are alike whatever they belong to: matching distances takes that away."""
    y, x = np.mgrid[:12, :12] / 12
    features = np.stack([np.cos(3 * x), np.sin(3 * x), np.cos(3 * y), np.sin(3 * y)])
    owner = (np.mgrid[:12, :12][0] // 4) * 3 + np.mgrid[:12, :12][1] // 4
    coverage = np.stack([owner == k for k in range(9)]).astype(float)
    found = image_pairs(features, coverage)
    assert found.same > 0.95
    assert found.matched < 0.65


def test_length_and_rotation_of_features_do_not_matter():
    features, coverage = image(4)
    generator = np.random.default_rng(0)
    rotation = np.linalg.qr(generator.normal(size=(4, 4)))[0]
    other = np.einsum("ab,bhw->ahw", rotation, features) * generator.uniform(0.1, 9, (1, 5, 6))
    one, two = (separation([image_pairs(f, coverage)]) for f in (features, other))
    assert one == pytest.approx(two, abs=1e-7)


def test_images_weigh_alike_however_many_pairs_they_have():
    small, large = image(0, (2, 3), 2), image(1, (8, 9), 4)
    found = [image_pairs(*small), image_pairs(*large)]
    result = separation(found)
    assert result["same"] == pytest.approx((found[0].same + found[1].same) / 2)
    mean = np.mean([f.moments for f in found], 0)
    deviation = [mean[k, 1] - mean[k, 0] ** 2 for k in (0, 1)]
    assert result["dprime"] == pytest.approx(
        (mean[0, 0] - mean[1, 0]) / math.sqrt(sum(deviation) / 2)
    )
    histogram = np.mean([f.histogram for f in found], 0)
    assert result["ovl"] == pytest.approx(np.minimum(*histogram).sum())


def test_images_without_pairs_of_both_kinds_are_left_out():
    features = np.random.default_rng(0).normal(size=(3, 2, 2))
    one = np.ones((1, 2, 2))
    assert image_pairs(features, one) is None
    assert image_pairs(features, np.zeros((0, 2, 2))) is None
    assert image_pairs(features, np.full((1, 2, 2), 0.4)) is None
    singles = np.zeros((2, 2, 2))
    singles[0, 0, 0] = singles[1, 1, 1] = 1
    assert image_pairs(features, singles) is None
    assert all(math.isnan(value) for value in separation([]).values())


def test_no_distance_in_common_leaves_the_matched_score_open():
    coverage = np.zeros((2, 1, 9))
    coverage[0, 0, :2] = coverage[1, 0, 7:] = 1
    found = image_pairs(np.random.default_rng(0).normal(size=(3, 1, 9)), coverage)
    assert math.isnan(found.matched)
    assert 0 <= found.same <= 1
    assert math.isnan(separation([found])["matched"])


def test_a_large_map_is_thinned_evenly(monkeypatch):
    features, coverage = image(0, (6, 6), 2)
    coverage[0], coverage[1] = 1 - coverage[1], coverage[1]
    monkeypatch.setattr(module, "MOST_CELLS", 18)
    found = image_pairs(features, coverage)
    assert sum(found.pairs) == 18 * 17 / 2
