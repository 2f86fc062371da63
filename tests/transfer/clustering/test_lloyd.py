from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from densecl.transfer.clustering import lloyd as module
from densecl.transfer.clustering.lloyd import assign, distances, kmeans, seeding


def slow(rows, centres, iterations, cosine=False):
    """Lloyd's algorithm in loops and float64, until nothing changes."""
    rows, centres = rows.double().numpy(), centres.double().numpy().copy()
    if cosine:
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    labels = None
    for _ in range(iterations):
        new = [int(np.argmin([((r - c) ** 2).sum() for c in centres])) for r in rows]
        if new == labels:
            break
        labels = new
        for cluster in range(len(centres)):
            members = [rows[i] for i in range(len(rows)) if labels[i] == cluster]
            if members:
                mean = np.mean(members, axis=0)
                centres[cluster] = mean / np.linalg.norm(mean) if cosine else mean
    inertia = sum(((rows[i] - centres[labels[i]]) ** 2).sum() for i in range(len(rows)))
    return centres, labels, inertia


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_lloyd_equals_loops_from_the_same_start(metric):
    rows = torch.randn(120, 3) + 5 * torch.randint(0, 3, (120, 1)) + 40
    if metric == "cosine":
        rows = torch.randn(120, 3)
    start = rows[:6]
    found = kmeans(rows, 6, start=start, metric=metric, tolerance=0)
    centres, labels, inertia = slow(rows, start, 100, metric == "cosine")
    assert found.labels.tolist() == labels
    assert np.allclose(found.centres, centres, atol=1e-4)
    assert found.inertia == pytest.approx(inertia, rel=1e-4)


def test_blocks_do_not_change_the_clusters(monkeypatch):
    rows = torch.randn(200, 4)
    one = kmeans(rows, 7, seed=3)
    monkeypatch.setattr(module, "CELLS", 40)
    two = kmeans(rows, 7, seed=3)
    assert torch.equal(one.labels, two.labels)
    assert one.inertia == pytest.approx(two.inertia)


def test_seeds_decide_alone_and_restarts_keep_the_best():
    rows = torch.randn(300, 2)
    state = torch.get_rng_state()
    runs = [kmeans(rows, 20, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(runs[0].centres, runs[1].centres)
    assert not torch.equal(runs[0].centres, runs[2].centres)
    several = kmeans(rows, 20, seed=0, restarts=5)
    alone = [
        kmeans(rows, 20, start=rows[seeding(rows - rows.double().mean(0).float(), 20, g)]).inertia
        for g in (module.rng(0, module._SEEDING, restart) for restart in range(5))
    ]
    assert several.inertia == pytest.approx(min(alone), rel=1e-5)
    assert several.inertia <= runs[0].inertia


def test_separate_clusters_are_found_whatever_the_seed():
    truth = torch.randint(0, 8, (400,))
    rows = 100 * torch.randn(8, 5)[truth] + torch.randn(400, 5)
    for seed in range(5):
        labels = kmeans(rows, 8, seed=seed).labels
        pairs = set(zip(truth.tolist(), labels.tolist(), strict=True))
        assert len(pairs) == len(set(truth.tolist()))


def test_an_empty_cluster_takes_the_farthest_row():
    rows = torch.tensor([[0.0], [1.0], [10.0], [11.0], [30.0]])
    start = torch.tensor([[0.5], [14.0], [1000.0]])
    found = kmeans(rows, 3, start=start, tolerance=0)
    assert found.labels.tolist() == [0, 0, 1, 1, 2]
    assert found.inertia == pytest.approx(1.0)


def test_a_row_that_is_alone_is_not_moved_to_an_empty_cluster():
    rows = torch.tensor([[0.0], [10.0], [11.0]])
    # the first row is the farthest from its centre, and all that its cluster has
    found = kmeans(rows, 3, start=torch.tensor([[3.0], [10.5], [99.0]]), iterations=1, tolerance=0)
    assert sorted(found.labels.tolist()) == [0, 1, 2]
    assert found.inertia == 0


def test_more_clusters_than_rows_or_than_distinct_rows():
    rows = torch.randn(4, 3)
    found = kmeans(rows, 9)
    assert found.centres.shape == (4, 3)
    assert sorted(found.labels.tolist()) == [0, 1, 2, 3]
    same = kmeans(torch.ones(6, 2), 3)
    assert same.inertia == 0
    assert torch.isfinite(same.centres).all()
    assert len(set(same.labels.tolist())) == 1
    twice = kmeans(torch.tensor([[0.0], [0.0], [4.0]]), 3)
    assert twice.inertia == 0
    assert twice.labels[0] == twice.labels[1] != twice.labels[2]


def test_ties_go_to_the_first_centre():
    assert assign(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [1.0], [-1.0]])).tolist() == [
        0,
        0,
    ]


def test_cosine_clusters_see_directions_alone():
    rows = torch.randn(100, 4)
    lengths = torch.rand(100, 1) * 50 + 0.1
    one, two = (kmeans(each, 5, metric="cosine") for each in (rows, rows * lengths))
    assert torch.equal(one.labels, two.labels)
    assert torch.allclose(one.centres.norm(dim=1), torch.ones(5), atol=1e-6)


def test_seeding_draws_distinct_rows_in_proportion_to_distance():
    rows = torch.tensor([[0.0], [0.0], [1.0], [3.0]])
    drawn = [seeding(rows, 3, np.random.default_rng(seed)).tolist() for seed in range(50)]
    assert all(len(set(rows[list(each)].flatten().tolist())) == 3 for each in drawn)
    assert seeding(rows, 4, np.random.default_rng(0)).sort().values.tolist() == [0, 1, 2, 3]


def test_far_rows_keep_their_precision():
    rows = torch.randn(200, 3) + 1e3
    found = kmeans(rows, 4, start=rows[:4], tolerance=0)
    _, labels, inertia = slow(rows, rows[:4], 100)
    assert found.labels.tolist() == labels
    assert found.inertia == pytest.approx(inertia, rel=1e-3)
    assert torch.allclose(
        distances(rows, found.centres, found.labels).sum(),
        torch.tensor(inertia, dtype=torch.float64),
        rtol=1e-3,
    )


def test_nonsense_is_refused():
    for rows, k in ((torch.zeros(0, 2), 1), (torch.zeros(3, 2), 0), (torch.zeros(3), 1)):
        with pytest.raises(ValueError, match="rows"):
            kmeans(rows, k)
    with pytest.raises(ValueError, match="finite"):
        kmeans(torch.tensor([[float("nan")]]), 1)


def test_zero_rows_have_no_direction_but_a_cluster():
    rows = functional.pad(torch.randn(10, 3), (0, 0, 0, 2))
    found = kmeans(rows, 3, metric="cosine")
    assert torch.isfinite(found.centres).all()
    assert len(found.labels) == 12
