"""Rendered frames on disk: built once under a hash, checked when opened, rebuilt if damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from densecl.data.streets.shard import Recipe, write_shard

_FILES = ("images.npy", "maps.bin", "offsets.npy", "flow.npy")
_WORKER = "import sys; from densecl.data.streets.shard import main; main(sys.argv[1])"
PARALLEL_FROM = 96
"""Frames from which on building uses several processes."""


def default_root() -> Path:
    """``$DENSECL_CACHE`` or ``~/.cache/densecl``."""
    return Path(os.environ.get("DENSECL_CACHE") or Path.home() / ".cache" / "densecl")


def _merge(shards: list[Path], folder: Path) -> None:
    """Join the shards' files in order."""
    for name in ("images.npy", "flow.npy"):
        parts = [np.load(s / name, mmap_mode="r") for s in shards]
        shape = (sum(len(p) for p in parts), *parts[0].shape[1:])
        if 0 in shape:
            np.save(folder / name, np.zeros(shape, parts[0].dtype))
            continue
        whole = np.lib.format.open_memmap(folder / name, "w+", parts[0].dtype, shape)
        np.concatenate(parts, out=whole)
        whole.flush()
    offsets, base = [np.zeros(1, np.int64)], 0
    with open(folder / "maps.bin", "wb") as file:
        for shard in shards:
            file.write((shard / "maps.bin").read_bytes())
            part = np.load(shard / "offsets.npy")
            offsets.append(part[1:] + base)
            base += int(part[-1])
    np.save(folder / "offsets.npy", np.concatenate(offsets))


def _checksum(path: Path) -> int:
    value = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            value = zlib.crc32(block, value)
    return value


def _progress(recipe: Recipe, done: int, last: list[int]) -> None:
    share = 100 * done // recipe.length
    if share >= last[0] + 5 or done == recipe.length:
        last[0] = share
        end = "\n" if done == recipe.length else ""
        text = f"\rstreets: rendering {recipe.split} {done}/{recipe.length} ({share} %)"
        print(text, end=end, file=sys.stderr, flush=True)


def _build(recipe: Recipe, folder: Path, workers: int) -> None:
    last = [-5]
    if workers < 2 or recipe.length * recipe.clip_length < PARALLEL_FROM:
        write_shard(recipe, 0, recipe.length, folder, lambda k: _progress(recipe, k, last))
    else:
        cuts = [recipe.length * k // workers for k in range(workers + 1)]
        shards = [folder / f"shard{k}" for k in range(workers)]
        # Plain subprocesses: they need no main guard in the user's script and inherit no threads.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
        jobs = []
        for shard, start, stop in zip(shards, cuts[:-1], cuts[1:], strict=True):
            job = json.dumps([asdict(recipe), recipe.digest, start, stop, str(shard)])
            command = [sys.executable, "-c", _WORKER, job]
            jobs.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE))
        try:
            done = [0] * workers
            # Shards are equal in size: the first one's pace stands for all.
            for k, process in enumerate(jobs):
                assert process.stdout is not None
                for line in process.stdout:
                    done[k] = int(line)
                    others = [
                        done[j] if j <= k else min(done[k], cuts[j + 1] - cuts[j])
                        for j in range(workers)
                    ]
                    _progress(recipe, sum(others), last)
                if process.wait():
                    raise RuntimeError(f"rendering {shards[k].name} failed: see the output above")
        finally:
            for process in jobs:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        _merge(shards, folder)
        for shard in shards:
            shutil.rmtree(shard)
    files = {n: [(folder / n).stat().st_size, _checksum(folder / n)] for n in _FILES}
    text = json.dumps({"key": recipe.key, "files": files}, indent=1)
    (folder / "meta.json").write_text(text)


def damage(recipe: Recipe, folder: Path) -> str | None:
    """What is wrong with a cache folder; None where it is whole and this recipe's."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        key, files = meta["key"], meta["files"]
        listed = [tuple(files[name]) for name in _FILES]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"meta.json: {error}"
    if key != recipe.key:
        return "meta.json belongs to another data set"
    for name, (size, checksum) in zip(_FILES, listed, strict=True):
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            return f"{name} is missing or cut short"
        if _checksum(path) != checksum:
            return f"{name} has changed"
    return None


def ensure(recipe: Recipe, root: Path, workers: int | None = None) -> Path:
    """The folder of ``recipe`` under ``root``, built first where it is absent or damaged.

    Building happens in a private folder that is renamed into place, so that readers never see
    a half-written cache and two builders at once only waste work.
    """
    folder = root / f"streets-{recipe.digest}"
    if folder.exists():
        fault = damage(recipe, folder)
        if fault is None:
            return folder
        print(f"streets: rebuilding {folder}: {fault}", file=sys.stderr)
    root.mkdir(parents=True, exist_ok=True)
    if workers is None:
        workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2, 8)
    private = Path(tempfile.mkdtemp(prefix=".building-", dir=root))
    try:
        fresh = private / "new"
        fresh.mkdir()
        _build(recipe, fresh, workers)
        for _ in range(5):
            try:
                os.rename(fresh, folder)
                return folder
            except OSError:
                if damage(recipe, folder) is None:
                    return folder
                try:
                    os.rename(folder, private / f"bad{len(list(private.iterdir()))}")
                except FileNotFoundError:
                    continue
        raise OSError(f"cannot put the cache in place: {folder}")
    finally:
        shutil.rmtree(private, ignore_errors=True)
