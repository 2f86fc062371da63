from __future__ import annotations

import io
from types import SimpleNamespace

from densecl.engine.hooks import progress
from densecl.engine.hooks.progress import ProgressHook, duration, progress_line


class Terminal(io.StringIO):
    def isatty(self):
        return True


def drive(hook, steps, monkeypatch, seconds=1.0, start=0):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    report = SimpleNamespace(scalars={"loss": 1.5, "lr": 0.1}, samples=8, sample="image")
    runner = SimpleNamespace(iter=start, max_iters=steps, train_loop=SimpleNamespace(report=report))
    hook.before_train(runner)
    for index in range(start, steps):
        clock.now += seconds
        hook.after_train_iter(runner, index)
    hook.close(runner)


def test_durations_read_as_clocks():
    assert [duration(s) for s in (0, 59.6, 3661, -4)] == [
        "0:00:00",
        "0:01:00",
        "1:01:01",
        "0:00:00",
    ]


def test_the_line_has_all_numbers():
    line = progress_line(12, 250, 3.4123, 0.0021, 812.4, 72)
    assert line == "step 12/250  loss 3.412  lr 0.0021  812 images/s  eta 0:01:12"


def test_elsewhere_a_line_comes_now_and_then_and_at_the_end(monkeypatch):
    stream = io.StringIO()
    drive(ProgressHook(stream), 40, monkeypatch)
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/40", "16/40", "31/40", "40/40"]
    assert "8 images/s  eta 0:00:24" in lines[1]


def test_on_a_terminal_one_line_is_rewritten(monkeypatch):
    stream = Terminal()
    drive(ProgressHook(stream), 5, monkeypatch)
    assert stream.getvalue().count("\r") == 5
    assert stream.getvalue().count("\n") == 1


def test_time_left_counts_only_the_steps_of_this_run(monkeypatch):
    stream = io.StringIO()
    drive(ProgressHook(stream, pause=0.0), 20, monkeypatch, seconds=2.0, start=10)
    assert "eta 0:00:18" in stream.getvalue().splitlines()[0]


def test_a_message_does_not_break_the_updating_line(monkeypatch):
    stream = Terminal()
    hook = ProgressHook(stream)
    hook._width = 5
    hook.say("hello")
    assert stream.getvalue() == "\nhello\n"
