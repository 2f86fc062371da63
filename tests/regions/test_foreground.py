from __future__ import annotations

import heapq

import numpy as np
import pytest

from densecl.regions import (
    boundary_connectivity,
    foreground_mask,
    foreground_score,
    region_sizes,
    slic,
)
from densecl.regions.hierarchy import lab


def slow_scores(ids, image):
    """The paper's equations with loops, distances by a plain Dijkstra search."""
    regions = range(ids.max() + 1)
    rows, columns = np.indices(ids.shape)
    inside = [ids == r for r in regions]
    area = [int(m.sum()) for m in inside]
    colour = [lab(image)[m].astype(np.float64).mean(0) for m in inside]
    place = [np.array([rows[m].mean(), columns[m].mean()]) / max(ids.shape) for m in inside]
    rim = np.ones(ids.shape, bool)
    rim[1:-1, 1:-1] = False
    length = [int((m & rim).sum()) for m in inside]
    near = {r: set() for r in regions}
    for row, column in np.ndindex(ids.shape):
        for other in ((row + 1, column), (row, column + 1)):
            if other[0] < ids.shape[0] and other[1] < ids.shape[1]:
                near[ids[row, column]].add(ids[other])
                near[ids[other]].add(ids[row, column])
    outer = [r for r in regions if length[r]]
    for r in outer:
        near[r] |= set(outer)
    connectivity = []
    for start in regions:
        distance, heap = {}, [(0.0, start)]
        while heap:
            d, r = heapq.heappop(heap)
            if r in distance:
                continue
            distance[r] = d
            for n in near[r]:
                heapq.heappush(heap, (d + np.linalg.norm(colour[r] - colour[n]), n))
        share = {r: np.exp(-(d**2) / (2 * 10.0**2)) for r, d in distance.items()}
        spread = sum(share[r] * area[r] for r in share)
        connectivity.append(sum(share[r] * length[r] for r in share) / np.sqrt(spread))
    background = [1 - np.exp(-(c**2) / 2) for c in connectivity]
    contrast = np.array([
        sum(
            np.linalg.norm(colour[p] - colour[i])
            * np.exp(-((place[p] - place[i]) ** 2).sum() / (2 * 0.25**2))
            * background[i]
            * area[i]
            for i in regions
        )
        for p in regions
    ])  # fmt: skip
    return connectivity, (contrast - contrast.min()) / (contrast.max() - contrast.min())


def test_score_and_connectivity_are_those_of_loops(picture):
    ids = slic(picture, segments=20, sigma=1)
    connectivity, score = slow_scores(ids, picture)
    assert boundary_connectivity(ids, picture) == pytest.approx(connectivity, rel=1e-5)
    assert foreground_score(ids, picture) == pytest.approx(score, abs=1e-5)


def test_the_square_off_the_border_stands_out(picture):
    ids = slic(picture, segments=60, compactness=10, sigma=0)
    score = foreground_score(ids, picture)
    assert score.min() == 0
    assert score.max() == 1
    mask = foreground_mask(ids, score)
    square = np.zeros(mask.shape, bool)
    square[12:28, 20:40] = True
    assert (mask & square).sum() / (mask | square).sum() > 0.8


def test_an_even_picture_has_no_foreground():
    image = np.full((20, 30, 3), 99, np.uint8)
    ids = np.arange(600).reshape(20, 30) // 100
    score = foreground_score(ids, image)
    assert score.tolist() == [0.0] * 6
    assert not foreground_mask(ids, score).any()


def test_renumbering_the_regions_renumbers_the_scores(picture, random):
    ids = slic(picture, segments=25, sigma=1)
    order = random.permutation(ids.max() + 1)
    score = foreground_score(ids, picture)
    assert foreground_score(order[ids], picture)[order] == pytest.approx(score, abs=1e-9)


def test_pixels_in_no_region_are_no_foreground(picture):
    ids = slic(picture, segments=25, sigma=1)
    ids[:, :20] = -1
    ids = np.unique(ids, return_inverse=True)[1].reshape(ids.shape) - 1
    mask = foreground_mask(ids, foreground_score(ids, picture), threshold=-1.0)
    assert (mask == (ids >= 0)).all()
    assert len(foreground_score(np.full((4, 4), -1), picture[:4, :4])) == 0


def test_otsu_takes_the_split_of_least_variance_within(random):
    ids = random.integers(0, 12, (9, 9))
    ids = np.unique(ids, return_inverse=True)[1].reshape(ids.shape)
    score = random.random(ids.max() + 1)
    values = score[ids].reshape(-1)

    def within(threshold):
        low, high = values[values <= threshold], values[values > threshold]
        return low.var() * len(low) + high.var() * len(high)

    best = min(sorted(set(values))[:-1], key=within)
    assert (foreground_mask(ids, score) == (score[ids] > best)).all()
    assert len(region_sizes(ids)) == len(score)
