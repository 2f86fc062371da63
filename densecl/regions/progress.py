"""One line that says how far a long job is and how long it will take."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TextIO


class Progress:
    """An updating line on a terminal, a line every quarter minute elsewhere.

    Args:
        what: begins the line.
        total: number of items.
        stream: where it goes.
        pause: least seconds between lines; None = 0.2 on a terminal, 15 elsewhere.
    """

    def __init__(self, what: str, total: int, stream: TextIO, pause: float | None = None) -> None:
        self.what, self.total, self.stream = what, total, stream
        self.terminal = stream.isatty()
        self.pause = (0.2 if self.terminal else 15.0) if pause is None else pause
        self.done = self.worked = 0
        self._began = self._printed = time.monotonic()
        self._width = 0

    def update(self, worked: bool = True) -> None:
        """One more item is done.

        Args:
            worked: False where nothing had to be computed: such items tell nothing about how
                long the others take.
        """
        self.done += 1
        if worked:
            self.worked += 1
        elif not self.worked:
            self._began = time.monotonic()
        if time.monotonic() - self._printed >= self.pause:
            self._print()

    def line(self) -> str:
        """``segments: 120/500 (24 %), 0:01:12 left``."""
        text = f"{self.what}: {self.done}/{self.total}"
        if self.total:
            text += f" ({100 * self.done // self.total} %)"
        if self.worked and self.done < self.total:
            pace = (time.monotonic() - self._began) / self.worked
            whole = round(pace * (self.total - self.done))
            text += f", {whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d} left"
        return text

    def _print(self) -> None:
        self._printed = time.monotonic()
        line = self.line()
        if self.terminal:
            # blanks wipe what a longer line has left behind
            self.stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Where it stopped, and a fresh line."""
        self._print()
        if self.terminal:
            self.stream.write("\n")
            self.stream.flush()
