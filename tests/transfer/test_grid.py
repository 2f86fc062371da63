from __future__ import annotations

import math

import pytest

from densecl.transfer.grid import choose_learning_rate

A, B = (0, "a"), (1, "a")


def test_best_mean_wins_and_means_are_kept():
    choice = choose_learning_rate(
        {0.1: {A: 0.5, B: 0.1}, 0.03: {A: 0.3, B: 0.4}, 0.3: {A: 0.2, B: 0.2}}
    )
    assert choice.lr == 0.03
    assert choice.means == pytest.approx({0.03: 0.35, 0.1: 0.3, 0.3: 0.2})
    assert choice.edge


def test_middle_of_the_grid_is_no_edge():
    choice = choose_learning_rate({1.0: {A: 0.1}, 2.0: {A: 0.2}, 3.0: {A: 0.1}})
    assert (choice.lr, choice.edge) == (2.0, False)
    assert not choose_learning_rate({1.0: {A: 0.1}}).edge


def test_ties_go_to_the_smaller_rate_whatever_the_order():
    for order in ((0.1, 0.3), (0.3, 0.1)):
        assert choose_learning_rate({lr: {A: 0.5} for lr in order}).lr == 0.1


def test_only_pairs_of_every_rate_are_compared():
    # B is an easy subset that only one rate has seen
    choice = choose_learning_rate({0.1: {A: 0.4}, 0.3: {A: 0.3, B: 0.9}})
    assert choice.lr == 0.1
    assert choice.means == {0.1: 0.4, 0.3: 0.3}


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(ValueError, match="empty"):
        choose_learning_rate({})
    with pytest.raises(ValueError, match="no pair"):
        choose_learning_rate({0.1: {A: 0.4}, 0.3: {B: 0.3}})
    with pytest.raises(ValueError, match="not finite"):
        choose_learning_rate({0.1: {A: math.nan}})
