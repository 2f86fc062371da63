from __future__ import annotations

import math

import pytest

from densecl.report.number import Grid, Heading, Interval, Number, Source, Text, Verdict

ONE, OTHER = Source("aaaa"), Source("bbbb")


def grid(*rows):
    return Grid("scores", [Heading("row"), Heading("mIoU", "number")], rows)


@pytest.mark.parametrize("hashed", ["", "  ", None])
def test_a_number_without_a_protocol_cannot_be_made(hashed):
    with pytest.raises(ValueError, match="hash of its protocol"):
        Number(0.5, Source(hashed))
    with pytest.raises(TypeError, match="Source"):
        Number(0.5, hashed)


@pytest.mark.parametrize("value", [0.5, 3, "0.5", None])
def test_a_cell_takes_no_bare_value(value):
    with pytest.raises(TypeError, match="no protocol"):
        grid([Text("a"), value])


def test_numbers_of_two_protocols_cannot_stand_in_one_column():
    with pytest.raises(ValueError, match=r"aaaa and bbbb .* one column .*mIoU"):
        grid([Text("a"), Number(0.5, ONE)], [Text("b"), Number(0.5, OTHER)])
    assert grid([Text("a"), Number(0.5, ONE)], [Text("b"), Number(0.4, ONE)])
    headings = [Heading("row"), Heading("mIoU"), Heading("AP")]
    assert Grid("scores", headings, [[Text("a"), Number(0.5, ONE), Number(0.5, OTHER)]])


def test_an_unknown_number_belongs_to_its_protocol_too():
    with pytest.raises(ValueError, match="one column"):
        grid([Text("a"), Number(None, ONE)], [Text("b"), Number(0.5, OTHER)])


def test_numbers_of_two_tables_of_a_protocol_cannot_stand_in_one_column():
    few, many = Source("aaaa", "5pct"), Source("aaaa", "10pct")
    with pytest.raises(ValueError, match="aaaa 10pct and aaaa 5pct"):
        grid([Text("a"), Number(0.5, few)], [Text("b"), Number(0.5, many)])


def test_an_interval_counts_as_a_number_of_its_protocol():
    ends = Interval(Number(0.1, ONE), Number(0.2, ONE))
    with pytest.raises(ValueError, match="one column"):
        grid([Text("a"), ends], [Text("b"), Number(0.5, OTHER)])
    with pytest.raises(ValueError, match="two tables"):
        Interval(Number(0.1, ONE), Number(0.2, OTHER))


def test_rows_have_a_cell_for_each_heading():
    with pytest.raises(ValueError, match="1 cells under 2"):
        grid([Text("a")])


@pytest.mark.parametrize(
    ("value", "options", "shown"),
    [
        (0.12345, {}, "0.123"),
        (0.12345, {"digits": 1}, "0.1"),
        (41.0, {"digits": 0}, "41"),
        (0.05, {"signed": True}, "+0.050"),
        (-0.05, {}, "−0.050"),
        (-0.05, {"signed": True}, "−0.050"),
        (-0.0001, {"signed": True}, "−0.000"),
        (0.0001, {"signed": True}, "+0.000"),
        (-0.0001, {}, "0.000"),
        (0.0, {"signed": True}, "0.000"),
        (None, {"signed": True}, "–"),
        (math.nan, {}, "–"),
        (math.inf, {}, "–"),
    ],
)
def test_numbers_are_written_with_a_true_minus_and_zero_without_a_sign(value, options, shown):
    assert str(Number(value, ONE, **options)) == shown


def test_words_are_written_with_their_note():
    assert str(Text("a", note="b")) == "a (b)"
    assert str(Verdict("inconclusive", "one pair")) == "inconclusive (one pair)"
    assert str(Interval(Number(-0.1, ONE, signed=True), Number(0.2, ONE, signed=True))) == (
        "−0.100 to +0.200"
    )
