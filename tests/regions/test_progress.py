from __future__ import annotations

import io

import pytest

from densecl.regions import progress as module
from densecl.regions.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_time_left_is_that_of_the_items_that_were_computed(clock):
    progress = Progress("segments", 100, io.StringIO(), pause=0.0)
    for _ in range(50):
        clock.now += 0.5
        progress.update(worked=False)
    assert progress.line() == "segments: 50/100 (50 %)"
    for _ in range(10):
        clock.now += 3.0
        progress.update()
    assert progress.line() == "segments: 60/100 (60 %), 0:02:00 left"


def test_a_terminal_has_one_line_that_is_wiped(clock):
    stream = Terminal()
    with Progress("segments", 2, stream, pause=0.0) as progress:
        clock.now += 4000
        progress.update()
        progress.update()
    lines = stream.getvalue().split("\r")
    assert lines[1] == "segments: 1/2 (50 %), 1:06:40 left"
    assert lines[2] == "segments: 2/2 (100 %)".ljust(len(lines[1]))
    assert stream.getvalue().count("\n") == 1


def test_a_file_gets_a_line_now_and_then(clock):
    stream = io.StringIO()
    with Progress("segments", 40, stream) as progress:
        for _ in range(40):
            clock.now += 1.0
            progress.update()
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == [
        "segments: 15/40 (37 %)",
        "segments: 30/40 (75 %)",
        "segments: 40/40 (100 %)",
    ]


def test_nothing_to_do_is_said():
    stream = io.StringIO()
    with Progress("segments", 0, stream):
        pass
    assert stream.getvalue() == "segments: 0/0\n"
