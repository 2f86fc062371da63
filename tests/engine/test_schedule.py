from __future__ import annotations

import itertools
import math

import pytest

from densecl.engine.schedule import LearningRate, build_schedule


def test_warm_up_is_linear_never_zero_and_meets_the_peak():
    rate = LearningRate(peak=2.0, max_steps=100, warmup_steps=4)
    assert [rate(s) for s in range(5)] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])


def test_cosine_has_its_closed_form_at_the_quarter_points():
    rate = LearningRate(peak=1.0, max_steps=80, min_lr=0.2)
    half = 0.5 * (1 + math.cos(math.pi / 4))
    assert rate(0) == 1.0
    assert rate(20) == pytest.approx(0.2 + 0.8 * half)
    assert rate(40) == pytest.approx(0.6)
    assert rate(80) == pytest.approx(0.2)


def test_cosine_falls_from_the_end_of_the_warm_up_and_stays_at_the_end():
    rate = LearningRate(peak=1.0, max_steps=50, warmup_steps=10, min_lr=0.05)
    values = [rate(s) for s in range(10, 51)]
    assert all(a > b for a, b in itertools.pairwise(values))
    assert rate(60) == rate(50) == pytest.approx(0.05)


def test_constant_stays():
    rate = LearningRate(peak=3.0, max_steps=10, warmup_steps=1, kind="constant")
    assert [rate(s) for s in (0, 1, 5, 9)] == [1.5, 3.0, 3.0, 3.0]


def test_exponential_falls_by_a_factor_after_every_so_many_steps():
    rate = LearningRate(8.0, 100, 2, "exponential", min_lr=1.5, decay=0.5, decay_every=3)
    assert [rate(s) for s in range(2, 14)] == [8.0] * 3 + [4.0] * 3 + [2.0] * 3 + [1.5] * 3


def test_the_section_of_a_config_becomes_the_schedule():
    section = {"type": "exponential", "warmup_steps": 0, "min_lr": 0.0, "decay": 0.9}
    rate = build_schedule(section, 2.0, 50)
    assert [rate(s) for s in range(3)] == pytest.approx([2.0, 1.8, 1.62])
    plain = build_schedule({"type": "cosine", "warmup_steps": 3, "min_lr": 0.1}, 2.0, 50)
    assert plain == LearningRate(2.0, 50, 3, "cosine", 0.1)
