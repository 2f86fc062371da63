import math

import pytest

from densecl.errors import UsageError
from densecl.memory import Schedule, build_schedule, constant, cosine, linear, step


def test_cosine_momentum_hits_its_three_published_points():
    m = cosine(0.99, 1.0, 200)
    assert m(0) == 0.99
    assert m(200) == 1.0
    assert m(100) == pytest.approx((1 + 0.99) / 2, rel=1e-12)


@pytest.mark.parametrize("t", [1, 17, 50, 199])
def test_cosine_equals_the_published_formula(t):
    expected = 1 - (1 - 0.99) * (math.cos(math.pi * t / 200) + 1) / 2
    assert cosine(0.99, 1.0, 200)(t) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("make", [linear, cosine])
@pytest.mark.parametrize(("start", "end"), [(0.9, 1.0), (1.0, 0.0)])
def test_schedules_are_monotone_and_held_at_both_ends(make, start, end):
    schedule = make(start, end, 50)
    values = [schedule(t) for t in range(-5, 61)]
    assert values == sorted(values, reverse=end < start)
    assert values[0] == start
    assert values[-1] == end


def test_linear_is_a_straight_line():
    assert [linear(0.0, 1.0, 4)(t) for t in range(6)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_step_switches_at_its_step():
    weight = step(0.0, 0.5, 3)
    assert [weight(t) for t in range(5)] == [0.0, 0.0, 0.0, 0.5, 0.5]
    assert step(0.0, 0.5, 0)(0) == 0.5


def test_a_config_value_becomes_a_schedule():
    assert build_schedule(0.999, 10) == constant(0.999)
    assert build_schedule({"kind": "cosine", "start": 0.9, "end": 1.0}, 10) == cosine(0.9, 1.0, 10)
    given = {"kind": "linear", "start": 0.0, "end": 1.0, "total": 3}
    assert build_schedule(given, 10) == linear(0.0, 1.0, 3)
    assert build_schedule(cosine(0, 1, 5), 10) == cosine(0, 1, 5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Schedule("sine", 0.0, 1.0, 5),
        lambda: Schedule("cosine", 0.0, 1.0, 0),
        lambda: build_schedule({"kind": "cosine", "from": 0.0}, 5),
    ],
)
def test_wrong_schedules_are_refused(make):
    with pytest.raises(UsageError):
        make()
