"""The pictures taken with a scan: rendered, packed, and read again one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from densecl.data.streets import shard as flat
from densecl.data.streets.camera import Camera
from densecl.data.streets.render import Picture, render
from pointcl.data.streets.motion import Motion
from pointcl.data.streets.recipe import Recipe
from pointcl.data.streets.rig import draw_mounts


def camera_of(recipe: Recipe, index: int, name: str) -> Camera:
    """Camera ``name`` as it fires for scan ``index``."""
    drive = recipe.drive(index)
    mount = draw_mounts(drive)[name]
    return mount.camera(Motion.of(drive), recipe.instant(index).time, recipe.shape)


def take(recipe: Recipe, index: int, name: str, *, colour: bool = True) -> Picture:
    """The picture of one camera of scan ``index``."""
    camera = camera_of(recipe, index, name)
    return render(recipe.drive(index), camera.time, camera.size, colour=colour, camera=camera)


def pack(recipe: Recipe, index: int) -> bytes:
    """All pictures of a scan: their pixels as they are, then their maps, compressed."""
    taken = [take(recipe, index, name) for name in recipe.cameras]
    maps = flat.pack(np.stack([p.label for p in taken]), np.stack([p.instance for p in taken]))
    return np.stack([p.image for p in taken]).tobytes() + maps


@dataclass(frozen=True)
class Source:
    """Reads the pictures of one scan.

    Attributes:
        recipe: of the pictures; index: of the scan.
        folder: their cache, or None = render when asked.
    """

    recipe: Recipe
    index: int
    folder: Path | None

    def image(self, name: str) -> np.ndarray:
        """(H, W, 3) uint8."""
        if self.folder is None:
            return take(self.recipe, self.index, name).image
        blob = read(self.folder, self.index)
        shape = (len(self.recipe.cameras), *self.recipe.shape, 3)
        pixels = blob[: int(np.prod(shape))].reshape(shape)
        return np.array(pixels[self.recipe.cameras.index(name)])

    def maps(self, name: str) -> dict[str, np.ndarray]:
        """label and instance, (H, W) int64 each."""
        if self.folder is None:
            picture = take(self.recipe, self.index, name, colour=False)
            label, instance = picture.label, picture.instance
        else:
            blob = read(self.folder, self.index)
            shape = (len(self.recipe.cameras), *self.recipe.shape)
            packed = blob[int(np.prod(shape)) * 3 :].tobytes()
            row = self.recipe.cameras.index(name)
            label, instance = (maps[row] for maps in flat.unpack(packed, shape))
        return {"label": label.astype(np.int64), "instance": instance.astype(np.int64)}


@dataclass(frozen=True)
class Image:
    """The picture of one camera, read when called: the source of a ``Camera``."""

    source: Source
    name: str

    def __call__(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return self.source.image(self.name)


def read(folder: Path, index: int) -> np.ndarray:
    """The bytes of one sample of a cache, as a view of the file."""
    data, offsets = _opened(folder)
    return data[offsets[index] : offsets[index + 1]]


@lru_cache(maxsize=16)
def _opened(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.memmap(folder / "samples.bin", np.uint8, "r"), np.load(folder / "offsets.npy")
