"""Rendering chunks of scans, or of their pictures, into the files of a cache.

One of the shards of ``densecl.data.streets.cache``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from densecl.data.streets.path import FRAMES
from densecl.data.streets.splits import TOWNS
from pointcl.data.streets import pictures, record
from pointcl.data.streets.recipe import Recipe
from pointcl.data.streets.sensor import draw_sensor
from pointcl.data.streets.sweep import Hits, Sweep, sweep

NAME = "lidar-streets"
FILES: tuple[str, ...] = ("samples.bin", "offsets.npy")
BARE: tuple[str, ...] = (
    "densecl",
    "densecl.data",
    "densecl.data.streets",
    "pointcl",
    "pointcl.data",
    "pointcl.data.streets",
    "pointcl.sensors",
)


def render_scan(recipe: Recipe, index: int) -> tuple[Sweep, Hits]:
    """Scan ``index`` and the truth behind it."""
    drive = recipe.drive(index)
    return sweep(drive, draw_sensor(drive, *recipe.shape), recipe.instant(index).time)


def render_sample(recipe: Recipe, index: int) -> bytes:
    """A scan, or the pictures taken with it, as they are stored."""
    if recipe.cameras:
        return pictures.pack(recipe, index)
    return record.pack(render_scan(recipe, index)[0])


def chunks(recipe: Recipe) -> list[tuple[int, int]]:
    """Spans [start, stop) of scans that share no drive, in order."""
    step = recipe.clip * FRAMES * len(TOWNS[recipe.split][1])
    return [(k, min(k + step, recipe.length)) for k in range(0, recipe.length, step)]


def prepare(recipe: Recipe, folder: Path) -> None:
    """Nothing to lay out: samples differ in length."""


def write_chunk(
    recipe: Recipe, start: int, stop: int, folder: Path, tick: Callable[[], None]
) -> None:
    """Render samples [start, stop) into files of their own; ``tick`` hears of each one done."""
    sizes = []
    with open(folder / f"part{start}.bin", "wb") as file:
        for index in range(start, stop):
            sizes.append(file.write(render_sample(recipe, index)))
            tick()
    np.save(folder / f"part{start}.npy", np.array(sizes, np.int64))


def finish(recipe: Recipe, folder: Path) -> None:
    """Join the chunks in order."""
    sizes = [np.zeros(1, np.int64)]
    with open(folder / "samples.bin", "wb") as file:
        for start, _ in chunks(recipe):
            part, size = folder / f"part{start}.bin", folder / f"part{start}.npy"
            file.write(part.read_bytes())
            sizes.append(np.load(size))
            part.unlink()
            size.unlink()
    np.save(folder / "offsets.npy", np.cumsum(np.concatenate(sizes)))


def main(argument: str) -> None:
    """Render the chunks named on standard input: the program of a worker process."""
    fields, digest, folder = json.loads(argument)
    for name in ("shape", "cameras"):
        fields[name] = tuple(fields[name])
    recipe = Recipe(**fields)
    if recipe.digest != digest:
        sys.exit("the world's code changed while its cache was being built: start again")
    for line in sys.stdin:
        start, stop = map(int, line.split())
        write_chunk(recipe, start, stop, Path(folder), lambda: print("sample", flush=True))
        print("chunk", flush=True)
