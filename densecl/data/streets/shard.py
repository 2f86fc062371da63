"""Rendering chunks of samples into files; also the program of the cache's worker processes."""

from __future__ import annotations

import hashlib
import json
import sys
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from densecl.data.streets.flow import flow
from densecl.data.streets.path import FRAMES
from densecl.data.streets.render import render
from densecl.data.streets.splits import CLIP_GAP, TOWNS, WORLD_VERSION, moment

NAME = "streets"
FILES: tuple[str, ...] = ("images.npy", "maps.bin", "offsets.npy", "flow.npy")
BARE: tuple[str, ...] = ("densecl", "densecl.data", "densecl.data.streets")
_SOURCES = (
    "actors assets camera casting classes draw drive flow path patterns primitives raycast render"
    " shading shadow site splits texture town"
)


def code_digest() -> str:
    """Digest of the code that draws the world."""
    digest = hashlib.sha256()
    for name in _SOURCES.split():
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Recipe:
    """All that decides the content of a cache."""

    split: str
    length: int
    size: tuple[int, int]
    clip_length: int
    seed: int

    @property
    def frames(self) -> int:
        """Number of pictures."""
        return self.length * self.clip_length

    @property
    def key(self) -> dict:
        """The recipe with the world's version and the digest of the code that draws it."""
        key = {**asdict(self), "version": WORLD_VERSION, "code": code_digest()}
        return json.loads(json.dumps(key))

    @property
    def digest(self) -> str:
        """Hex name of the cache folder."""
        return hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:20]


def render_sample(
    recipe: Recipe, index: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One sample's T frames.

    Returns:
        images (T, H, W, 3) uint8, labels (T, H, W) uint8, instances (T, H, W) int32 and flow
        (T - 1, H, W, 2) float32.
    """
    where = moment(recipe.split, index)
    drive = where.load(recipe.seed)
    times = [where.time + k * CLIP_GAP for k in range(recipe.clip_length)]
    pictures = [render(drive, t, recipe.size) for t in times]
    pairs = pairwise(pictures)
    fields = [flow(now, later.scene, later.camera) for now, later in pairs]
    return (
        np.stack([p.image for p in pictures]),
        np.stack([p.label for p in pictures]),
        np.stack([p.instance for p in pictures]),
        np.stack(fields) if fields else np.zeros((0, *recipe.size, 2), np.float32),
    )


def pack(labels: np.ndarray, instances: np.ndarray) -> bytes:
    """Compress the maps of one sample."""
    return zlib.compress(labels.tobytes() + instances.astype("<i4").tobytes(), 6)


def unpack(blob: bytes, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels uint8 and instances int32 of shape (T, H, W)."""
    raw = zlib.decompress(blob)
    count = int(np.prod(shape))
    labels = np.frombuffer(raw, np.uint8, count).reshape(shape)
    return labels, np.frombuffer(raw, "<i4", offset=count).reshape(shape)


def chunks(recipe: Recipe) -> list[tuple[int, int]]:
    """Spans [start, stop) of samples that share no drive, in order."""
    step = FRAMES * len(TOWNS[recipe.split][1])
    return [(k, min(k + step, recipe.length)) for k in range(0, recipe.length, step)]


def prepare(recipe: Recipe, folder: Path) -> None:
    """Lay out the arrays that the chunks are rendered into."""
    length, (height, width), clip = recipe.length, recipe.size, recipe.clip_length
    images = (length, clip, height, width, 3)
    np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, images)
    shape = (length, clip - 1, height, width, 2)
    if clip > 1:
        np.lib.format.open_memmap(folder / "flow.npy", "w+", np.float32, shape)
    else:
        # A memory map cannot be empty: stills keep an empty array in its place.
        np.save(folder / "flow.npy", np.zeros(shape, np.float32))


def write_chunk(
    recipe: Recipe, start: int, stop: int, folder: Path, tick: Callable[[], None]
) -> None:
    """Render samples [start, stop) into a prepared folder; ``tick`` hears of each one done."""
    images = np.load(folder / "images.npy", mmap_mode="r+")
    fields = np.load(folder / "flow.npy", mmap_mode="r+" if recipe.clip_length > 1 else None)
    blobs = []
    for k in range(start, stop):
        images[k], labels, instances, fields[k] = render_sample(recipe, k)
        blobs.append(pack(labels, instances))
        tick()
    for array in (images, fields):
        if isinstance(array, np.memmap):
            array.flush()
    np.save(folder / f"maps{start}.npy", np.array([len(blob) for blob in blobs], np.int64))
    (folder / f"maps{start}.bin").write_bytes(b"".join(blobs))


def finish(recipe: Recipe, folder: Path) -> None:
    """Join the chunks' maps, which differ in length, in order."""
    sizes = [np.zeros(1, np.int64)]
    with open(folder / "maps.bin", "wb") as file:
        for start, _ in chunks(recipe):
            part, size = folder / f"maps{start}.bin", folder / f"maps{start}.npy"
            file.write(part.read_bytes())
            sizes.append(np.load(size))
            part.unlink()
            size.unlink()
    np.save(folder / "offsets.npy", np.cumsum(np.concatenate(sizes)))


def main(argument: str) -> None:
    """Render the chunks named on standard input: the program of a worker process."""
    fields, digest, folder = json.loads(argument)
    recipe = Recipe(**{**fields, "size": tuple(fields["size"])})
    if recipe.digest != digest:
        sys.exit("the world's code changed while its cache was being built: start again")
    for line in sys.stdin:
        start, stop = map(int, line.split())
        write_chunk(recipe, start, stop, Path(folder), lambda: print("sample", flush=True))
        print("chunk", flush=True)
