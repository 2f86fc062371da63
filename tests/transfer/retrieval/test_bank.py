from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from densecl.errors import UsageError
from densecl.transfer.retrieval.bank import (
    bank_rows,
    build_bank,
    cell_frequencies,
    pick_cells,
    share,
)


def frequencies_by_loop(label, rows, columns, classes):
    counts = np.zeros((rows * columns, classes), int)
    height, width = label.shape
    for r in range(height):
        for c in range(width):
            if label[r, c] != 255:
                cell = int((r + 0.5) / height * rows) * columns + int((c + 0.5) / width * columns)
                counts[cell, label[r, c]] += 1
    return counts


@pytest.mark.parametrize("size", [(8, 12), (7, 11), (9, 7)])
@pytest.mark.parametrize("cells", [(4, 6), (3, 5), (1, 1)])
def test_frequencies_equal_a_loop_over_pixels(size, cells):
    label = np.random.default_rng().choice([0, 1, 2, 255], size).astype(np.uint8)
    found = cell_frequencies(label, *cells, 3)
    assert found.tolist() == frequencies_by_loop(label, *cells, 3).tolist()


def test_a_map_finer_than_the_labels_leaves_no_cell_empty():
    label = np.array([[0, 1], [2, 255]], np.uint8)
    shares = cell_frequencies(label, 6, 3, 3)
    assert (shares.sum(1) > 0).sum() == 18 - 3  # all but the cells inside the ignored pixel
    shares = cell_frequencies(label[:1, :1], 5, 4, 3)
    assert (shares[:, 0] > 0).all()


def test_an_id_without_a_class_is_refused():
    with pytest.raises(ValueError, match=r"3\.\.3"):
        cell_frequencies(np.full((2, 2), 3, np.uint8), 1, 1, 3)


def test_an_ignored_pixel_has_no_vote_and_an_ignored_cell_is_no_row():
    label = np.full((4, 8), 255, np.uint8)
    label[0, 0] = 2
    features = torch.randn(5, 1, 2)
    rows, labels = bank_rows(features, label, 3, most=10)
    assert labels.tolist() == [[0.0, 0.0, 1.0]]
    expected = (features[:, 0, 0] / features[:, 0, 0].norm()).half()
    assert torch.equal(rows[0], expected)


def test_shares_add_up_and_are_even():
    for pictures, rows in [(7, 100), (400, 100_000), (5, 3), (3, 0)]:
        each = [share(i, pictures, rows) for i in range(pictures)]
        assert sum(each) == rows
        assert max(each) - min(each) <= 1


def test_uniform_picks_are_as_often_every_cell():
    counts = np.ones((10, 1), int)
    counts[3] = 0
    drawn = Counter()
    for seed in range(600):
        drawn.update(pick_cells(counts, 3, "uniform", np.random.default_rng(seed)).tolist())
    assert drawn[3] == 0
    assert sum(drawn.values()) == 1800
    # 200 each, deviation sqrt(600 / 3 * 2 / 3) = 11.5
    assert all(140 < drawn[i] < 260 for i in range(10) if i != 3)


def test_rare_picks_prefer_rare_classes_as_the_slow_score_says():
    # 18 cells of class 0, two of class 1, and one that both share
    counts = np.zeros((21, 2), int)
    counts[:18, 0] = counts[18:20, 1] = 4
    counts[20] = 2
    for seed in range(20):
        u = np.random.default_rng(seed).random(21)
        often = [sum(counts[cell, c] > 0 for cell in range(21)) for c in range(2)]
        score = [u[cell] * sum(often[c] for c in range(2) if counts[cell, c]) for cell in range(21)]
        expected = sorted(sorted(range(21), key=lambda cell: score[cell])[:6])
        found = pick_cells(counts, 6, "rare", np.random.default_rng(seed))
        assert found.tolist() == expected
    share_of_rare = np.mean(
        [
            np.isin(pick_cells(counts, 3, "rare", np.random.default_rng(s)), [18, 19]).sum()
            for s in range(200)
        ]
    )
    assert share_of_rare > 2 * 3 * 2 / 21


def test_picks_are_a_function_of_seed_and_picture_alone():
    features, label = torch.randn(4, 6, 6), np.zeros((24, 24), np.uint8)
    kept = {}
    for seed in (0, 1):
        for picture in (0, 1):
            rows, _ = bank_rows(features, label, 2, most=9, seed=seed, picture=picture)
            again, _ = bank_rows(features * 2, label, 2, most=9, seed=seed, picture=picture)
            assert torch.equal(rows, again)
            kept[seed, picture] = rows
    assert len({tuple(rows.flatten().tolist()) for rows in kept.values()}) == 4


def test_rows_are_unit_and_shares_sum_to_one():
    label = np.random.default_rng().choice([0, 1, 2, 255], (20, 20)).astype(np.uint8)
    rows, labels = bank_rows(torch.randn(7, 4, 4), label, 3, most=99, dtype=torch.float32)
    assert torch.allclose(rows.norm(dim=1), torch.ones(len(rows)), atol=1e-6)
    assert torch.allclose(labels.sum(1), torch.ones(len(rows)), atol=1e-6)
    counts = frequencies_by_loop(label, 4, 4, 3)
    assert np.allclose(labels, counts / counts.sum(1, keepdims=True), atol=1e-6)


def test_nothing_labelled_is_refused():
    with pytest.raises(UsageError, match="no cell"):
        build_bank([bank_rows(torch.randn(2, 2, 2), np.full((4, 4), 255, np.uint8), 3, most=4)])
