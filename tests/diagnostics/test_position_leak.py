from __future__ import annotations

import numpy as np
import pytest
import torch

from densecl.diagnostics.position_leak import position_leak


def places(n, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((n, 2)))


def draw():
    return np.random.default_rng(9)


def leak(features, where, held, held_where, **options):
    return position_leak(features, where, held, held_where, draw=draw(), **options)


def test_it_is_ridge_regression_scored_on_the_held_out_rows():
    generator = np.random.default_rng(1)
    x, held = generator.normal(2, 3, (40, 6)), generator.normal(2, 3, (30, 6))
    where, held_where = places(40).numpy(), places(30, 1).numpy()
    found = leak(*map(torch.from_numpy, (x, where, held, held_where)), decay=0.3)
    mean, std = x.mean(0), x.std(0)
    z = np.column_stack([(x - mean) / std, np.ones(40)])
    penalty = np.diag([0.3 * 40] * 6 + [0.0])

    def r2(targets):
        weight = np.linalg.solve(z.T @ z + penalty, z.T @ targets)
        predicted = np.column_stack([(held - mean) / std, np.ones(30)]) @ weight
        spread = ((held_where - held_where.mean(0)) ** 2).sum(0)
        return 1 - ((predicted - held_where) ** 2).sum(0) / spread

    assert (found.x, found.y) == pytest.approx(tuple(r2(where)))
    shuffled = where[draw().permutation(40)]
    assert found.control == pytest.approx(r2(shuffled).mean())
    assert found.mean == pytest.approx((found.x + found.y) / 2)


def test_features_that_hold_the_place_give_it_away_and_the_control_does_not():
    where, held_where = places(400), places(300, 1)
    mixing = torch.randn(2, 8, generator=torch.Generator().manual_seed(0)).double()
    noise = torch.randn(700, 8, generator=torch.Generator().manual_seed(1)).double()
    found = leak(where @ mixing, where, held_where @ mixing, held_where, decay=1e-8)
    assert found.x == pytest.approx(1, abs=1e-6)
    assert found.y == pytest.approx(1, abs=1e-6)
    assert found.control < 0.02
    none = leak(noise[:400], where, noise[400:], held_where)
    assert none.mean < 0.02


def test_one_coordinate_can_leak_alone():
    where, held_where = places(200), places(200, 1)
    found = leak(where[:, :1], where, held_where[:, :1], held_where, decay=1e-8)
    assert found.x == pytest.approx(1, abs=1e-6)
    assert found.y < 0.05


def test_units_of_places_and_features_do_not_matter():
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(2)).double()
    where = places(60) + 0.3 * x[:, :2]
    one = leak(x[:40], where[:40], x[40:], where[40:])
    scale = torch.tensor([0.1, 10.0, 1.0, 7.0, 100.0]).double()
    moved = torch.tensor([640.0, 480.0]).double()
    two = leak(
        x[:40] * scale + 3, where[:40] * moved - 5, x[40:] * scale + 3, where[40:] * moved - 5
    )
    assert (one.x, one.y, one.control) == pytest.approx((two.x, two.y, two.control), rel=1e-6)


def test_constant_features_say_nothing():
    found = leak(torch.ones(50, 3), places(50), torch.ones(40, 3), places(40, 1))
    assert found.mean == pytest.approx(0, abs=0.1)
    assert found.mean <= 0


def test_what_cannot_be_scored_is_refused():
    x = torch.randn(6, 3)
    with pytest.raises(ValueError, match="1 rows"):
        leak(x[:1], places(1), x, places(6))
    with pytest.raises(ValueError, match="6 rows"):
        leak(x, places(5), x, places(6))
    with pytest.raises(ValueError, match="do not differ"):
        leak(x, places(6), x, torch.full((6, 2), 0.5))
