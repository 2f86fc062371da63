"""Worker processes that end with their parent and say when one of them is killed."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import cv2
import torch

from densecl.errors import UsageError

Result = TypeVar("Result")


def each(
    task: Callable[[int], Result], indices: Iterable[int], workers: int = 1
) -> Iterator[Result]:
    """``task(index)`` of every index, in any order.

    A process is given an index when it has none, so ``indices`` may be a generator that ends when
    enough is done.

    Args:
        task: picklable.
        indices: what to call it with.
        workers: processes; 1 = this one. They start as the platform starts processes: where that
            is not by forking, a script needs its main guard.

    Raises:
        UsageError: raised by the task.
        RuntimeError: the task raised anything else, or a worker was killed.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers", needed="1 or more")
    if workers == 1:
        yield from map(task, indices)
        return
    queue = iter(indices)
    running: dict[Connection, BaseProcess] = {}
    idle = object()
    try:
        for _ in range(workers):
            index: Any = next(queue, idle)
            if index is idle:
                break
            connection, process = _start(task)
            running[connection] = process
            connection.send(index)
        while running:
            ready = wait(list(running))
            for connection in [one for one in running if one in ready]:
                yield _receive(connection, running[connection])
                index = next(queue, idle)
                if index is idle:
                    connection.send(None)
                    running.pop(connection).join()
                else:
                    connection.send(index)
    finally:
        for process in running.values():
            process.kill()
            process.join()


def _start(task: Callable[[int], Any]) -> tuple[Connection, BaseProcess]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_work, args=(there, task), daemon=True)
    process.start()
    # this end closed, the other reads an end of file when the process dies
    there.close()
    return here, process


def _receive(connection: Connection, process: BaseProcess) -> Any:
    try:
        value, error = connection.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        raise RuntimeError(
            f"a worker process was ended (exit code {process.exitcode}): was memory short? "
            "What is done is stored; go on with fewer workers"
        ) from None
    if error is not None:
        raise error
    return value


def _work(connection: Connection, task: Callable[[int], Any]) -> None:
    """Answer until told to stop, or until the parent has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # one core's work each
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    parent = multiprocessing.parent_process()
    assert parent is not None
    while True:
        if connection not in wait([connection, parent.sentinel]):
            return
        index = connection.recv()
        if index is None:
            return
        try:
            answer: tuple[Any, Exception | None] = (task(index), None)
        except UsageError as error:
            # rebuilt from one message, which a subclass may not allow
            answer = None, UsageError(error.given, needed=error.needed, fix=error.fix)
        except Exception as error:
            trace = traceback.format_exc()
            answer = None, RuntimeError(f"item {index}: {error}\n{trace}")
        connection.send(answer)
