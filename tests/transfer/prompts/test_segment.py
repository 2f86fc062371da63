from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from densecl.transfer.prompts.coverage import cell_coverage
from densecl.transfer.prompts.points import cell_of, centre_point
from densecl.transfer.prompts.segment import (
    cross_fitted,
    large_objects,
    prompt_objects,
    similarity_maps,
)

GRID = np.linspace(0, 1, 51)
HALF = 25


def scene(grid=(4, 6), cell=4):
    """Two objects of whole cells on a background of cells without a feature."""
    owner = np.full(grid, -1)
    owner[:2, :3], owner[2:, 4:] = 3, 8
    features = torch.zeros(4, *grid)
    for channel, number in enumerate((3, 8, -1)):
        features[channel][torch.from_numpy(owner == number)] = 1
    return features, np.kron(owner, np.ones((cell, cell), int))


def prompted(features, ids, objects=(3, 8), prompts=3, seed=0):
    coverage = cell_coverage(ids, objects, tuple(features.shape[1:]))
    return prompt_objects(
        features, ids, objects, coverage, GRID, prompts=prompts, seed=seed, source=0
    )


def test_orthogonal_codes_are_segmented_perfectly_at_a_half():
    for each in prompted(*scene()):
        # bilinear interpolation rounds the corners of the objects by a pixel
        assert each.centre[HALF] > 0.9
        assert each.random[HALF] == pytest.approx(each.centre[HALF])
        assert each.auroc > 0.99
    features, ids = scene(cell=1)
    for each in prompted(features, ids):
        assert each.centre[HALF] == each.random[HALF] == each.auroc == 1


def test_equal_features_give_the_area_of_the_object():
    _, ids = scene()
    for each in prompted(torch.full((3, 4, 6), 0.3), ids):
        share = (ids == each.number).mean()
        assert each.area == pytest.approx(share)
        assert each.centre[:-1] == pytest.approx(share)
        assert each.centre[-1] == 0
        assert each.auroc == pytest.approx(0.5)


def test_scores_against_loops():
    features = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(0))
    _, ids = scene()
    for each in prompted(features, ids, prompts=1):
        mask = ids == each.number
        cell = cell_of(centre_point(mask), ids.shape, (4, 6))
        rows = features.flatten(1).T.double().numpy()
        cosine = [
            float(rows[cell] @ row / np.linalg.norm(rows[cell]) / np.linalg.norm(row))
            for row in rows
        ]
        plane = torch.tensor(cosine).view(1, 1, 4, 6)
        large = torch.nn.functional.interpolate(plane, (16, 24), mode="bilinear")[0, 0].numpy()
        for k in (0, 10, 30):
            chosen = large > GRID[k]
            expected = (chosen & mask).sum() / (chosen | mask).sum()
            # at the prompt's own threshold a rounding may move a pixel
            assert each.centre[k] == pytest.approx(expected, abs=1e-3)


def test_similarity_does_not_know_length_or_axes():
    features = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1))).Q
    scale = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(2)) + 0.1
    other = torch.einsum("ab,bhw->ahw", rotation, features) * scale
    one, two = (similarity_maps(f, [0, 7], (9, 8)) for f in (features, other))
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)
    assert one.shape == (2, 9, 8)
    assert similarity_maps(features, [7], (3, 4))[0].argmax() == 7


def test_what_lies_under_void_changes_nothing():
    features, ids = scene()
    ids[:, 20:] = np.where(ids[:, 20:] == -1, -2, ids[:, 20:])
    one = prompted(features, ids)
    features[:3, :2, 5] = torch.tensor([1.0, 0, 0])[:, None]  # looks like the first object
    two = prompted(features, ids)
    assert one[0].centre[HALF] == pytest.approx(two[0].centre[HALF], abs=0.03)
    ids[ids == -2] = -1
    assert prompted(features, ids)[0].centre[HALF] < two[0].centre[HALF] - 0.2


def test_the_whole_picture_has_nothing_to_be_told_from():
    found = prompted(torch.rand(3, 2, 2), np.full((4, 4), 5), objects=(5,))[0]
    assert found.area == 1
    assert math.isnan(found.auroc)


def test_random_points_are_those_of_seed_image_and_object():
    features = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(0))
    _, ids = scene()
    one, two, other = (prompted(features, ids, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(one[0].random, two[0].random)
    assert (one[0].random != other[0].random).any()
    renamed = prompted(features, np.where(ids == 3, 4, ids), objects=(4,))
    assert (one[0].random != renamed[0].random).any()
    np.testing.assert_array_equal(one[0].centre, renamed[0].centre)
    alone = prompted(features, ids, objects=(8,))
    np.testing.assert_array_equal(alone[0].random, one[1].random)


def test_small_objects_are_left_out():
    _, ids = scene()
    ids[9, 9] = 40
    kept, coverage = large_objects(ids, (3, 8, 40), (4, 6), 1.0)
    assert kept == [3, 8]
    assert coverage.shape == (2, 4, 6)
    assert large_objects(ids, (3, 8, 40), (4, 6), 6.0)[0] == [3]
    assert large_objects(ids, (3, 8, 40), (4, 6), 1 / 16)[0] == [3, 8, 40]
    kept, coverage = large_objects(ids, (), (4, 6), 1.0)
    assert (kept, coverage.shape) == ([], (0, 4, 6))


def test_the_threshold_comes_from_the_other_half():
    curves = np.array([[0.9, 0.1, 0.5], [0.7, 0.2, 0.6], [0.0, 0.8, 0.3], [0.1, 0.4, 0.2]])
    half = np.array([False, False, True, True])
    assert cross_fitted(curves, half).tolist() == [0.1, 0.2, 0.0, 0.1]
    # of equally good thresholds the lowest
    assert cross_fitted(np.ones((2, 3)), half[1:3]).tolist() == [1, 1]
    for one_sided in (np.ones(4, bool), np.zeros(4, bool)):
        with pytest.raises(ValueError, match="halves"):
            cross_fitted(curves, one_sided)
