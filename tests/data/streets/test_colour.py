"""Colour and texture say nothing about class: all paints come from one distribution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from densecl.data.streets.classes import CLASSES, FENCE, PAVEMENT, ROAD, SKY
from densecl.data.streets.drive import build_drive
from densecl.data.streets.splits import TOWNS

STATISTICS = {
    "luminance": lambda c: c.mean(-1),
    "red over blue": lambda c: c[..., 0] / (c[..., 2] + 0.01),
    "green share": lambda c: c[..., 1] / c.sum(-1),
}


def paints(town: int, group: str) -> tuple[np.ndarray, np.ndarray]:
    """Distinct paints of a town and its drives: (n, 3) mean colours and (n,) classes."""
    colour, label = [], []
    for number in range(3):
        drive = build_drive(group, 0, town, "colours", number)
        moving = drive.troupe.parts
        for part in (drive.town.static, moving, drive.town.road_paint):
            colour.append(part.colour)
            label.append(part.label)
        colour.append(np.stack([drive.sky, drive.sky], 1))
        label.append(np.full(3, SKY, np.uint8))
    pair = np.concatenate(colour).reshape(-1, 6)
    rows = np.unique(np.c_[pair, np.concatenate(label)], axis=0)
    return rows[:, :3], rows[:, 6].astype(int)


def percentiles(value: np.ndarray) -> np.ndarray:
    """Rank within the town, so that towns with different palettes can be pooled."""
    return (np.argsort(np.argsort(value)) + 0.5) / len(value)


def p_values(colours: list[np.ndarray], labels: list[np.ndarray], statistic) -> dict[int, float]:
    rank = np.concatenate([percentiles(statistic(c)) for c in colours])
    label = np.concatenate(labels)
    return {k: kstest(rank[label == k], "uniform").pvalue for k in np.unique(label)}


@pytest.fixture(scope="module")
def world():
    return [paints(town, "test") for town in TOWNS["test"][1][:3]]


@pytest.mark.parametrize("name", list(STATISTICS))
def test_every_class_draws_from_the_same_colours(world, name):
    found = p_values([c for c, _ in world], [k for _, k in world], STATISTICS[name])
    assert set(found) == set(range(len(CLASSES)))
    # 11 classes x 3 statistics: chance gives one below 0.001 in thirty runs; the seed is fixed.
    assert min(found.values()) > 1e-3, found


def test_the_test_sees_a_tinted_class(world):
    tinted = [np.where((k == FENCE)[:, None], c * 0.6, c) for c, k in world]
    found = p_values(tinted, [k for _, k in world], STATISTICS["luminance"])
    assert found[FENCE] < 1e-3


def test_textures_are_shared_between_classes():
    drive = build_drive("test", 0, 15, "colours", 0)
    static = drive.town.static
    textures = {k: set(static.texture[static.label == k].tolist()) for k in range(11)}
    textures[ROAD] = set(drive.town.road_paint.texture.tolist())
    used = [k for k in range(11) if textures[k]]
    for a in used:
        for b in used:
            assert textures[a] & textures[b], (CLASSES[a], CLASSES[b])
    assert len(textures[FENCE] & textures[1]) >= 10
    assert len(textures[ROAD] & textures[PAVEMENT]) >= 3
