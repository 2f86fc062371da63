from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from point_worlds import Rooms

from densecl.errors import UsageError
from pointcl.data.subset import ScanSubset, time_split, write_time_split


@pytest.fixture
def rooms():
    return Rooms(length=6, views=2, count=50)


def test_the_listed_scans_are_given_in_the_order_of_the_list(rooms):
    chosen = ScanSubset(rooms, ["room2/1", "room0/0"])
    assert len(chosen) == 2
    assert [chosen.name(k) for k in range(2)] == ["room2/1", "room0/0"]
    assert chosen.sequences == ["room2", "room0"]
    assert chosen[0].source == 5
    assert chosen.fingerprint() != ScanSubset(rooms, ["room0/0", "room2/1"]).fingerprint()


@pytest.mark.parametrize(
    ("names", "named"),
    [(["room9/0"], "room9/0"), (["room0/0", "room0/0"], "twice"), ([], "empty")],
)
def test_a_wrong_list_is_refused(rooms, names, named):
    with pytest.raises(UsageError, match=named):
        ScanSubset(rooms, names)


def test_a_drive_is_parted_by_time_with_gaps():
    drives = ["a"] * 10 + ["b"] * 10
    found = time_split(drives, {"train": 0.5, "val": 0.25, "test": 0.25}, gap=1)
    assert found["train"] == [0, 1, 2, 3, 10, 11, 12, 13]
    assert found["val"] == [5, 6, 15, 16]
    assert found["test"] == [8, 9, 18, 19]
    everything = time_split(drives, {"train": 0.5, "test": 0.5})
    assert sorted(row for rows in everything.values() for row in rows) == list(range(20))


@pytest.mark.parametrize(
    ("shares", "gap", "named"),
    [
        ({"a": 0.5, "b": 0.6}, 0, "sum to 1"),
        ({"a": 1.5, "b": -0.5}, 0, "> 0"),
        ({"a": 0.5, "b": 0.5}, 9, "no scan is left"),
    ],
)
def test_shares_that_leave_nothing_are_refused(shares, gap, named):
    with pytest.raises(UsageError, match=named):
        time_split(["a"] * 6, shares, gap)


def test_written_lists_are_read_back(rooms, tmp_path):
    paths = write_time_split(rooms, tmp_path, {"train": 0.5, "test": 0.5})
    train = ScanSubset({"type": "Rooms", "length": 6, "views": 2}, paths["train"])
    assert [train.name(k) for k in range(len(train))] == ["room0/0", "room1/0", "room2/0"]
