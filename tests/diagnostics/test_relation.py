from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from densecl.data.seeding import rng
from densecl.diagnostics.relation import au_spearman, relate


def example(count=9, seed=0):
    generator = np.random.default_rng(seed)
    a, u = generator.normal(size=(2, count))
    return a, u, -a - 0.3 * u + 0.4 * generator.normal(size=count)


def residual_partial(x, y, z):
    """Partial correlation by regressing the ranks of z out of those of x and y."""
    x, y, z = (rankdata(v) - rankdata(v).mean() for v in (x, y, z))
    x, y = (v - z * (v @ z) / (z @ z) for v in (x, y))
    return x @ y / math.sqrt((x @ x) * (y @ y))


def test_correlations_equal_scipy_and_a_regression_of_ranks():
    a, u, y = example()
    found = au_spearman(a, u, y, resamples=10)
    assert found.rho == pytest.approx(spearmanr(-(rankdata(a) + rankdata(u)) / 2, y).statistic)
    assert found.partial_alignment == pytest.approx(residual_partial(a, y, u))
    assert found.partial_uniformity == pytest.approx(residual_partial(u, y, a))
    assert found.checkpoints == 9


def test_ties_share_their_ranks():
    a, u, y = (np.array(v, float) for v in ([1, 1, 2, 3, 3], [2, 1, 1, 0, 4], [5, 5, 1, 2, 0]))
    found = au_spearman(a, u, y, resamples=5)
    assert found.rho == pytest.approx(spearmanr(-(rankdata(a) + rankdata(u)), y).statistic)
    assert found.partial_alignment == pytest.approx(residual_partial(a, y, u))


def test_better_on_both_and_in_transfer_is_one():
    order = np.arange(6.0)
    found = au_spearman(order, order[[0, 2, 1, 3, 5, 4]], -order, resamples=50)
    assert found.rho > 0.9
    backwards = au_spearman(order, order[[0, 2, 1, 3, 5, 4]], order, resamples=50)
    assert backwards.rho == pytest.approx(-found.rho)


def test_only_order_matters():
    a, u, y = example(seed=3)
    one = au_spearman(a, u, y, resamples=20)
    two = au_spearman(np.exp(a), 5 * u - 2, y**3, resamples=20)
    assert one.rho == pytest.approx(two.rho)
    assert one.intervals["rho"] == pytest.approx(two.intervals["rho"])


def test_intervals_are_percentiles_over_resampled_checkpoints():
    a, u, y = example()
    found = au_spearman(a, u, y, resamples=200, seed=4)
    draw, values = rng(4, 61), []
    for _ in range(200):
        chosen = draw.integers(0, 9, 9)
        values.append(spearmanr(-(rankdata(a[chosen]) + rankdata(u[chosen])), y[chosen]).statistic)
    assert found.intervals["rho"] == pytest.approx(np.quantile(values, [0.025, 0.975]))
    assert found.used["rho"] == 200
    low, high = found.intervals["rho"]
    assert low <= found.rho <= high
    narrow = au_spearman(a, u, y, resamples=200, seed=4, level=0.5).intervals["rho"]
    assert low < narrow[0] < narrow[1] < high
    assert au_spearman(a, u, y, resamples=200, seed=4) == found


def test_what_is_not_defined_is_not_a_number_and_none_in_json():
    a, u, y = example()
    constant = au_spearman(np.ones(9), u, y, resamples=20)
    assert math.isnan(constant.partial_alignment)
    alike = au_spearman(a, a * 2, y, resamples=20)
    assert math.isnan(alike.partial_uniformity)
    plain = json.loads(json.dumps(alike.to_dict(), allow_nan=False))
    assert plain["partial_uniformity"] is None
    assert plain["intervals"]["partial_uniformity"] is None
    assert plain["definition"] == "au_spearman_v1, defined by densecl"


def test_few_checkpoints_and_bad_values_are_refused():
    a, u, y = example(3)
    with pytest.raises(ValueError, match="fewer than 4"):
        au_spearman(a, u, y)
    a, u, y = example(5)
    a[2] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        au_spearman(a, u, y)


def test_tables_are_joined_by_name_in_any_order():
    a, u, y = example(6)
    names = "abcdef"
    tables = [dict(zip(names, values, strict=True)) for values in (a, u, y)]
    shuffled = [dict(sorted(t.items(), key=lambda item: item[1])) for t in tables]
    shuffled[0]["not transferred"] = 0.0
    found = relate(*shuffled, resamples=5)
    assert found.rho == pytest.approx(au_spearman(a, u, y, resamples=5).rho)
    assert sorted(found.names) == list(names)
    with pytest.raises(ValueError, match="fewer than 4"):
        relate(*(dict(itertools.islice(t.items(), 3)) for t in tables))
