"""The loader's iterator: workers that outlive a Ctrl-C, and are gone when the run is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader


class _Quiet:
    """A worker's start-up: ignore the signals that a terminal or a job manager sends to all.

    Only the main process reacts to them, finishes its step and then ends the workers.
    """

    def __init__(self, inner: Callable[[int], None] | None) -> None:
        self.inner = inner

    def __call__(self, worker: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.inner is not None:
            self.inner(worker)


def start(loader: DataLoader) -> Iterator[Any]:
    """Start the workers of a loader and return its iterator."""
    if loader.num_workers == 0:
        return iter(loader)
    if not isinstance(loader.worker_init_fn, _Quiet):
        loader.worker_init_fn = _Quiet(loader.worker_init_fn)
    if threading.current_thread() is not threading.main_thread():
        return iter(loader)
    # Children inherit an ignored signal, so there is no moment at which a worker dies of one.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return iter(loader)
    finally:
        signal.signal(signal.SIGINT, before)


def end(iterator: Iterator[Any] | None) -> None:
    """End the workers now rather than when the garbage collector gets to them."""
    shut_down = getattr(iterator, "_shutdown_workers", None)
    if shut_down is not None:
        shut_down()
