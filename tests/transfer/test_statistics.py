from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from densecl.transfer.statistics import paired_difference, t_interval, verdict


def as_pairs(values, seeds=None):
    return {(0 if seeds is None else seeds[i], f"s{i}"): v for i, v in enumerate(values)}


@pytest.mark.parametrize("count", [2, 3, 7, 30])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_interval_equals_scipys_paired_test(count, level):
    generator = np.random.default_rng(count)
    row, scratch = generator.normal(0.4, 0.1, count), generator.normal(0.3, 0.1, count)
    expected = stats.ttest_rel(row, scratch).confidence_interval(level)
    found = paired_difference(as_pairs(row), as_pairs(scratch), level=level)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx((row - scratch).mean())
    assert found.count == count


def test_two_values_closed_form():
    # n = 2: half width = t(0.975, 1) * |a - b| / 2, and t(0.975, 1) = tan(0.475 pi)
    half = math.tan(0.475 * math.pi) * 0.1
    assert t_interval([0.1, 0.3]) == pytest.approx((0.2 - half, 0.2 + half))


def test_pairing_removes_the_spread_between_pairs():
    base = np.linspace(0.1, 0.9, 6)
    gain = 0.02 + np.array([1, -1, 1, -1, 1, -1]) * 0.001
    found = paired_difference(as_pairs(base + gain), as_pairs(base))
    assert found.verdict == "better"
    assert stats.ttest_ind(base + gain, base).pvalue > 0.9


def test_one_pair_has_no_interval_and_no_verdict():
    found = paired_difference(as_pairs([0.9]), as_pairs([0.1]))
    assert (found.interval, found.verdict, found.count) == (None, "inconclusive", 1)
    assert found.mean == pytest.approx(0.8)


def test_only_common_pairs_count():
    row = {(0, "a"): 0.5, (1, "a"): 0.9}
    scratch = {(0, "a"): 0.4, (2, "a"): 0.0}
    found = paired_difference(row, scratch)
    assert found.count == 1
    assert found.mean == pytest.approx(0.1)


def test_no_common_pair_is_inconclusive():
    found = paired_difference({(0, "a"): 1.0}, {(1, "a"): 0.0})
    assert math.isnan(found.mean)
    assert (found.interval, found.verdict, found.count) == (None, "inconclusive", 0)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((0.1, 0.2), "better"),
        ((-0.2, -0.1), "worse"),
        ((-0.1, 0.2), "inconclusive"),
        ((0.0, 0.2), "inconclusive"),
        ((-0.2, 0.0), "inconclusive"),
        ((1e-5, 4e-4), "inconclusive"),
        ((-4e-4, -1e-5), "inconclusive"),
        ((1e-5, 6e-4), "better"),
        (None, "inconclusive"),
    ],
)
def test_verdict_needs_the_whole_interval_on_one_side(interval, expected):
    assert verdict(interval) == expected


def test_equal_rows_are_inconclusive():
    scores = as_pairs([0.2, 0.5, 0.4])
    assert paired_difference(scores, scores).verdict == "inconclusive"


def test_sign_is_row_minus_scratch():
    low, high = as_pairs([0.1, 0.11, 0.1]), as_pairs([0.3, 0.3, 0.31])
    assert paired_difference(low, high).verdict == "worse"
    assert paired_difference(high, low).verdict == "better"


def test_units_average_within_a_seed_first():
    differences = [0.1, 0.3, 0.5, 0.5]
    row = as_pairs(differences, seeds=[0, 0, 1, 1])
    scratch = as_pairs([0.0] * 4, seeds=[0, 0, 1, 1])
    found = paired_difference(row, scratch, unit="seed")
    assert found.count == 2
    assert found.interval == pytest.approx(t_interval([0.2, 0.5]))


def test_units_average_within_a_subset_first():
    row = {(s, f"{k}"): 0.1 * k + 0.01 * s for s in range(3) for k in range(2)}
    found = paired_difference(row, dict.fromkeys(row, 0.0), unit="subset")
    assert found.interval == pytest.approx(t_interval([0.01, 0.11]))


def test_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    draws = generator.normal(0.3, 1, (2000, 5))
    hits = sum(low <= 0.3 <= high for low, high in map(t_interval, draws.tolist()))
    # 2000 draws: three standard deviations of the share are 0.015
    assert abs(hits / 2000 - 0.95) < 0.015


def test_scores_must_be_finite():
    with pytest.raises(ValueError, match="not finite"):
        paired_difference({(0, "a"): math.nan}, {(0, "a"): 0.5})
