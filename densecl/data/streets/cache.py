"""Rendered samples on disk: built once under a hash, checked when opened, rebuilt if damaged.

What a sample is and how it is rendered says a shard: a module like ``shard``, whose recipes name
the content of a cache.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from densecl.data.streets import shard as pictures

_WORKER = """
import importlib, json, sys, types
for name, path in json.loads(sys.argv[2]).items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [path]
importlib.import_module(sys.argv[3]).main(sys.argv[1])
"""
"""A worker's program. It stands in for the packages above the renderer, whose ``__init__`` would
import torch: that takes as long as rendering a hundred frames."""

PARALLEL_FROM = 96
"""Frames from which on building uses several processes."""


class Recipe(Protocol):
    """What decides the content of a cache: a dataclass of plain values."""

    @property
    def split(self) -> str:
        """For messages."""
        ...

    @property
    def length(self) -> int:
        """Number of samples."""
        ...

    @property
    def frames(self) -> int:
        """How many pictures of the usual size would take as long."""
        ...

    @property
    def key(self) -> dict:
        """All that the content depends on, the code's digest included."""
        ...

    @property
    def digest(self) -> str:
        """Hex hash of the key."""
        ...


class Shard(Protocol):
    """A module that renders spans of samples into the files of a cache.

    Attributes:
        NAME: of its folders, and in messages; FILES: of a finished cache.
        BARE: packages that a worker process does not import, but their modules only.
    """

    __name__: str
    NAME: str
    FILES: tuple[str, ...]
    BARE: tuple[str, ...]

    def chunks(self, recipe: Any) -> list[tuple[int, int]]:
        """Spans of samples, in order; each is rendered by one process."""
        ...

    def prepare(self, recipe: Any, folder: Path) -> None:
        """Lay out files before the first chunk."""
        ...

    def write_chunk(
        self, recipe: Any, start: int, stop: int, folder: Path, tick: Callable[[], None]
    ) -> None:
        """Render samples [start, stop); ``tick`` hears of each one."""
        ...

    def finish(self, recipe: Any, folder: Path) -> None:
        """Leave the finished ``FILES`` behind."""
        ...

    def main(self, argument: str) -> None:
        """The program of a worker process."""
        ...


def default_root() -> Path:
    """``$DENSECL_CACHE`` or ``~/.cache/densecl``."""
    return Path(os.environ.get("DENSECL_CACHE") or Path.home() / ".cache" / "densecl")


def _checksum(path: Path) -> int:
    value = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            value = zlib.crc32(block, value)
    return value


class Progress:
    """One line on standard error: how far the rendering is, and how long it will take."""

    def __init__(self, recipe: Recipe, title: str) -> None:
        self.recipe, self.title, self.done, self.shown = recipe, title, 0, -5
        self.lock, self.start = threading.Lock(), time.monotonic()

    def tick(self) -> None:
        """One more sample is done; called from several threads."""
        with self.lock:
            self.done += 1
            length = self.recipe.length
            share = 100 * self.done // length
            if share < self.shown + 5 and self.done < length:
                return
            self.shown = share
            spent = time.monotonic() - self.start
            left = f", {spent / self.done * (length - self.done):.0f} s left"
            text = f"{self.title}: rendering {self.recipe.split} {self.done}/{length} ({share} %)"
            # Blanks wipe what a longer line has left behind.
            print(
                f"\r{text}{left if self.done < length else f', {spent:.0f} s':12}",
                end="\n" if self.done == length else "",
                file=sys.stderr,
                flush=True,
            )


def _build(recipe: Recipe, folder: Path, workers: int, shard: Shard) -> None:
    shard.prepare(recipe, folder)
    progress = Progress(recipe, shard.NAME)
    chunks = shard.chunks(recipe)
    workers = min(workers, len(chunks))
    if workers < 2 or recipe.frames < PARALLEL_FROM:
        for start, stop in chunks:
            shard.write_chunk(recipe, start, stop, folder, progress.tick)
    else:
        _render_apart(recipe, folder, workers, progress, shard)
    shard.finish(recipe, folder)
    files = {n: [(folder / n).stat().st_size, _checksum(folder / n)] for n in shard.FILES}
    text = json.dumps({"key": recipe.key, "files": files}, indent=1)
    (folder / "meta.json").write_text(text)


def _render_apart(
    recipe: Recipe, folder: Path, workers: int, progress: Progress, shard: Shard
) -> None:
    """Render in ``workers`` processes, each of which asks for a chunk when it has none."""
    # Plain subprocesses: they need no main guard in the user's script and inherit no threads.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    packages = {name: str(Path(str(sys.modules[name].__file__)).parent) for name in shard.BARE}
    job = json.dumps([asdict(recipe), recipe.digest, str(folder)])  # type: ignore[call-overload]
    command = [sys.executable, "-c", _WORKER, job, json.dumps(packages), shard.__name__]
    waiting = deque(shard.chunks(recipe))
    processes = [
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(workers)
    ]
    with ThreadPoolExecutor(workers) as pool:
        try:
            feeds = [pool.submit(_feed, process, waiting, progress) for process in processes]
            for feed in as_completed(feeds):
                feed.result()
        finally:
            # Also ends the threads that wait for a process.
            for process in processes:
                process.kill()
                process.wait()


def _feed(process: subprocess.Popen, waiting: deque[tuple[int, int]], progress: Progress) -> None:
    """Hand one process a chunk after another until none is left."""
    assert process.stdin is not None
    assert process.stdout is not None
    while waiting:
        try:
            start, stop = waiting.popleft()
        except IndexError:
            return
        # A process that has ended is noticed below: it says nothing.
        with suppress(BrokenPipeError):
            process.stdin.write(f"{start} {stop}\n")
            process.stdin.flush()
        while (line := process.stdout.readline().strip()) != "chunk":
            if line != "sample":
                raise RuntimeError(
                    f"rendering samples {start} to {stop - 1} failed: see the output above"
                )
            progress.tick()


def damage(recipe: Recipe, folder: Path, shard: Shard = pictures) -> str | None:
    """What is wrong with a cache folder; None where it is whole and this recipe's."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        key, files = meta["key"], meta["files"]
        listed = [tuple(files[name]) for name in shard.FILES]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"meta.json: {error}"
    if key != recipe.key:
        return "meta.json belongs to another data set"
    for name, (size, checksum) in zip(shard.FILES, listed, strict=True):
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            return f"{name} is missing or cut short"
        if _checksum(path) != checksum:
            return f"{name} has changed"
    return None


def ensure(recipe: Recipe, root: Path, workers: int | None = None, shard: Shard = pictures) -> Path:
    """The folder of ``recipe`` under ``root``, built first where it is absent or damaged.

    Building happens in a private folder that is renamed into place, so that readers never see
    a half-written cache and two builders at once only waste work.
    """
    folder = root / f"{shard.NAME}-{recipe.digest}"
    if folder.exists():
        fault = damage(recipe, folder, shard)
        if fault is None:
            return folder
        print(f"{shard.NAME}: rebuilding {folder}: {fault}", file=sys.stderr)
    root.mkdir(parents=True, exist_ok=True)
    if workers is None:
        workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2, 8)
    private = Path(tempfile.mkdtemp(prefix=".building-", dir=root))
    try:
        fresh = private / "new"
        fresh.mkdir()
        _build(recipe, fresh, workers, shard)
        for _ in range(5):
            try:
                os.rename(fresh, folder)
                return folder
            except OSError:
                if damage(recipe, folder, shard) is None:
                    return folder
                try:
                    os.rename(folder, private / f"bad{len(list(private.iterdir()))}")
                except FileNotFoundError:
                    continue
        raise OSError(f"cannot put the cache in place: {folder}")
    finally:
        shutil.rmtree(private, ignore_errors=True)
