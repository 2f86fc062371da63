"""Reasons to stop early, always at a step boundary."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Watches the clock, a step limit and signals; the loop asks it after every step.

    Attributes:
        reason: None while there is none, else ``interrupted``, ``max_minutes`` or ``max_steps``.

    Args:
        max_minutes: wall-clock limit from now on, or None.
        max_steps: stop after this step of the schedule, or None.
    """

    def __init__(self, max_minutes: float | None = None, max_steps: int | None = None) -> None:
        self.reason: str | None = None
        self._max_steps = max_steps
        self._deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes

    def after(self, step: int) -> bool:
        """Whether to stop, ``step`` steps of the schedule being finished."""
        if self.reason is None and self._max_steps is not None and step >= self._max_steps:
            self.reason = "max_steps"
        if self.reason is None and self._deadline is not None:
            self.reason = "max_minutes" if time.monotonic() >= self._deadline else None
        return self.reason is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """SIGINT and SIGTERM ask for a stop while inside; a second one interrupts at once.

        Outside the main thread signals cannot be caught, and nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._on_signal) for number in signals]
        try:
            yield
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.reason == "interrupted":
            raise KeyboardInterrupt
        self.reason = "interrupted"
        # print() may be interrupted inside itself and is not safe in a handler.
        os.write(2, b"\nstopping after this step; once more to stop at once\n")
