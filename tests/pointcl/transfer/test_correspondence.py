"""The pure functions of correspondence, against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pointcl.transfer import correspondence
from pointcl.transfer.correspondence import (
    PlaceTally,
    named,
    nearest_by_cosine,
    nearest_place,
)


@pytest.fixture
def random():
    return np.random.default_rng(5)


def test_each_row_takes_the_candidate_of_the_largest_cosine(random, monkeypatch):
    rows, candidates = random.normal(size=(37, 6)), random.normal(size=(23, 6))
    best = [
        max(range(23), key=lambda k: row @ candidates[k] / np.linalg.norm(candidates[k]))
        for row in rows
    ]
    for block in (4096, 10):
        monkeypatch.setattr(correspondence, "BLOCK", block)
        found = nearest_by_cosine(torch.from_numpy(rows), torch.from_numpy(candidates))
        assert found.tolist() == best
    scaled = candidates * random.uniform(0.1, 9, (23, 1))
    assert nearest_by_cosine(torch.from_numpy(rows), torch.from_numpy(scaled)).tolist() == best


def test_equal_candidates_give_the_first():
    found = nearest_by_cosine(torch.ones(9, 3), 2 * torch.ones(50, 3))
    assert found.tolist() == [0] * 9


def test_no_rows_give_no_match():
    assert nearest_by_cosine(torch.ones(0, 3), torch.ones(5, 3)).shape == (0,)


@pytest.mark.parametrize("dims", [2, 3])
def test_shares_are_those_of_a_count_over_all_pairs(random, dims):
    radii = (0.3, 0.7)
    tally = PlaceTally(radii)
    sums = {name: dict.fromkeys(radii, 0.0) for name in ("recall", "chance", "still")}
    asked = 0
    for queries, count in ((20, 30), (11, 5), (0, 7)):
        places, target = random.uniform(size=(count, dims)), random.uniform(size=(queries, dims))
        match, still = random.integers(0, count, (2, queries))
        own = dict.fromkeys(radii, 0.0)
        for q in range(queries):
            away = np.array([np.linalg.norm(place - target[q]) for place in places])
            for r in radii:
                own[r] += away[match[q]] <= r
                sums["recall"][r] += away[match[q]] <= r
                sums["still"][r] += away[still[q]] <= r
                sums["chance"][r] += sum(distance <= r for distance in away) / count
        asked += queries
        found = tally.add(*map(torch.from_numpy, (places, target, match, still)))
        assert found.queries == queries
        for r in radii if queries else ():
            assert found.recall[r] == pytest.approx(own[r] / queries)
    total = tally.recall()
    assert total.queries == asked == 31
    for name, counts in sums.items():
        for r in radii:
            assert getattr(total, name)[r] == pytest.approx(counts[r] / asked)
    keys = [f"{name}_{number}" for name in ("recall", "chance", "still") for number in (1, 2)]
    assert list(named(total, radii)) == keys
    assert named(total, radii)["recall_2"] == total.recall[0.7]


def test_chance_is_what_random_candidates_reach(random):
    places, target = torch.from_numpy(random.uniform(size=(2, 60, 3)))
    repeats = 400
    share = [
        PlaceTally((0.5,))
        .add(places, target, torch.from_numpy(random.integers(0, 60, 60)))
        .recall[0.5]
        for _ in range(repeats)
    ]
    found = PlaceTally((0.5,)).add(places, target, torch.zeros(60, dtype=torch.int64))
    # four standard errors of the mean of that many draws
    assert abs(np.mean(share) - found.chance[0.5]) < 4 * np.std(share) / repeats**0.5
    assert found.still == {}
    assert set(named(found, (0.5,))) == {"recall_1", "chance_1"}


def test_a_match_at_the_radius_itself_counts():
    places = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    target = torch.zeros(1, 2, dtype=torch.float64)
    found = PlaceTally((5.0, 4.999)).add(places, target, torch.tensor([1]))
    assert found.recall == {5.0: 1, 4.999: 0}
    assert found.chance == {5.0: 1, 4.999: 0.5}


def test_nothing_to_count_is_an_error():
    with pytest.raises(ValueError, match="no query"):
        PlaceTally((1.0,)).recall()


def test_the_nearest_place_is_that_of_a_loop(random):
    at, places = random.uniform(size=(2, 15, 3))
    distance, index = nearest_place(torch.from_numpy(at), torch.from_numpy(places))
    for q in range(15):
        away = [np.linalg.norm(place - at[q]) for place in places]
        assert index[q] == int(np.argmin(away))
        assert distance[q] == pytest.approx(min(away))
