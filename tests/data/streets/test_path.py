"""The ego path is continuous and stays on the road."""

from __future__ import annotations

import numpy as np
import pytest

from densecl.data.streets.draw import rng
from densecl.data.streets.path import FRAMES, GAP, Path, draw_path
from densecl.data.streets.town import build_town


def test_a_left_turn_by_hand():
    path = Path(np.zeros(2), 0.0, 1.0, 10.0, 5.0, np.pi / 2)
    np.testing.assert_allclose(path.at(4.0)[0], (4, 0))
    place, heading = path.at(10 + 5 * np.pi / 2)
    np.testing.assert_allclose(place, (15, 5), atol=1e-9)
    assert heading == pytest.approx(np.pi / 2)
    np.testing.assert_allclose(path.at(12 + 5 * np.pi / 2)[0], (15, 7), atol=1e-9)


def test_a_right_turn_mirrors_the_left_one():
    left = Path(np.zeros(2), 0.3, 2.0, 3.0, 5.0, np.pi / 2)
    right = Path(np.zeros(2), -0.3, 2.0, 3.0, -5.0, np.pi / 2)
    for time in (0.5, 2.0, 4.0, 9.0):
        (a, b), (c, d) = left.at(time)[0], right.at(time)[0]
        np.testing.assert_allclose((a, b), (c, -d), atol=1e-9)
        assert left.at(time)[1] == pytest.approx(-right.at(time)[1])


def test_drives_move_at_their_speed_and_never_leave_the_road():
    town = build_town("val", 0, 12)
    grid = town.grid
    turns = 0
    for number in range(60):
        path = draw_path(rng("path", number), town)
        turns += path.angle > 0
        times = np.arange(0, GAP * FRAMES, 0.1)
        places = np.array([path.at(float(t))[0] for t in times])
        steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
        assert (steps <= path.speed * 0.1 + 1e-9).all()
        assert (steps > path.speed * 0.098).all()
        for a in range(2):
            edge = grid.lines[a][[0, -1]] + np.array([-1, 1]) * grid.widths[a][[0, -1]]
            assert (places[:, a] > edge[0]).all()
            assert (places[:, a] < edge[1]).all()
        for place in places:
            clear = [(grid.widths[a] - np.abs(place[a] - grid.lines[a])).max() for a in range(2)]
            assert max(clear) > 0.5, "the ego has mounted the pavement"
    assert 5 < turns < 40
