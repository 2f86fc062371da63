"""``Streets``: the embedded world as a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from densecl.data.sample import Frame, Sample
from densecl.data.streets import cache as store
from densecl.data.streets.camera import Camera
from densecl.data.streets.classes import CLASSES, PALETTE
from densecl.data.streets.render import Picture, render
from densecl.data.streets.shard import Recipe, render_sample, unpack
from densecl.data.streets.splits import CLIP_GAP, LENGTHS, WORLD_VERSION, check_split, moment
from densecl.data.streets.subset import choose
from densecl.errors import UsageError
from densecl.registry import DATASETS


@dataclass(frozen=True)
class Box:
    """One visible object of a frame.

    Attributes:
        instance: constant over the frames of a drive; label: class id.
        box: (x0, y0, x1, y1) pixels, edges of the visible pixels (tight).
        centre, extent, yaw: the 3D box in the world, metres (length, width, height) and
            radians; for cars, people and cyclists only, else None.
    """

    instance: int
    label: int
    box: tuple[int, int, int, int]
    centre: tuple[float, float, float] | None = None
    extent: tuple[float, float, float] | None = None
    yaw: float | None = None


@DATASETS.register_module()
class Streets:
    """Rendered street scenes with labels, instances, boxes, depth and flow.

    Args:
        split: "pretrain" | "train" | "val" | "test"; the last three are apart by town, and
            ``train`` lies in the towns of ``pretrain``, on other drives.
        length: samples before ``subset``; None = the split's default. A shorter set is the
            beginning of a longer one.
        size: (H, W) pixels.
        clip_length: frames a sample; above 1 each but the last carries the flow to the next.
        seed: of the whole world.
        cache: folder for rendered frames; None = ``$DENSECL_CACHE`` or ``~/.cache/densecl``;
            False = render on the fly.
        subset: keep some samples: a fraction (subsets of growing fractions are nested), a list
            of names, or a file with one name a line.

    Raises:
        UsageError: unknown split, bad length, size or subset.
    """

    classes, palette, version = CLASSES, PALETTE, WORLD_VERSION

    def __init__(
        self,
        split: str = "pretrain",
        length: int | None = None,
        size: tuple[int, int] = (120, 160),
        clip_length: int = 1,
        seed: int = 0,
        cache: str | Path | bool | None = None,
        subset: float | str | Path | Sequence[str] | None = None,
    ) -> None:
        check_split(split)
        length = LENGTHS[split] if length is None else length
        if length < 1 or clip_length < 1 or min(size) < 8:
            raise UsageError(
                f"Streets(length={length}, clip_length={clip_length}, size={tuple(size)})",
                needed="length >= 1, clip_length >= 1 and sides of at least 8 pixels",
            )
        self.recipe = Recipe(split, length, (int(size[0]), int(size[1])), clip_length, seed)
        self.names = [moment(split, k).name for k in range(length)]
        self.indices = choose(self.names, subset, "subset", seed, split)
        self.folder: Path | None = None
        if cache is not False:
            root = store.default_root() if cache is None or cache is True else Path(cache)
            self.folder = store.ensure(self.recipe, root)
        self._open: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __getstate__(self) -> dict:
        # Memory maps are opened again in each worker instead of being copied there.
        return {**self.__dict__, "_open": None}

    def name(self, index: int) -> str:
        """Stable name, for instance ``val/town13/drive002/000001``."""
        return self.names[self.indices[index]]

    def fingerprint(self) -> str:
        """Hash of what the samples are: recipe, subset and the world's version."""
        key = repr((self.recipe, WORLD_VERSION, self.indices))
        return hashlib.sha256(key.encode()).hexdigest()[:16]

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        at = self.indices[index]
        images, labels, instances, flows = self._read(at)
        frames = tuple(
            Frame(
                image=images[t],
                maps={
                    "label": labels[t].astype(np.int64),
                    "instance": instances[t].astype(np.int64),
                },
                flow=flows[t] if t < len(flows) else None,
            )
            for t in range(self.recipe.clip_length)
        )
        return Sample(frames=frames, source=at, name=self.names[at])

    def depth(self, index: int, frame: int = 0) -> np.ndarray:
        """(H, W) float32 metres along the optical axis, inf for sky."""
        return self._picture(index, frame).depth

    def camera(self, index: int, frame: int = 0) -> Camera:
        """Intrinsics, pose and time of a frame."""
        return self._picture(index, frame).camera

    def boxes(self, index: int, frame: int = 0) -> list[Box]:
        """All visible objects of a frame, by instance id."""
        picture = self._picture(index, frame)
        drive = moment(self.recipe.split, self.indices[index]).load(self.recipe.seed)
        actors = {a.instance: a for a in drive.troupe.actors}
        found = []
        for instance in np.unique(picture.instance[picture.instance >= 0]).tolist():
            row, column = np.nonzero(picture.instance == instance)
            label = int(picture.label[row[0], column[0]])
            box = (int(column.min()), int(row.min()), int(column.max()) + 1, int(row.max()) + 1)
            actor = actors.get(instance)
            if actor is None:
                found.append(Box(instance, label, box))
                continue
            x, y, z = actor.at(picture.camera.time).tolist()
            middle = (x, y, z + actor.extent[2] / 2)
            found.append(Box(instance, label, box, middle, actor.extent, actor.yaw))
        return found

    def _read(self, at: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        if self.folder is None:
            return render_sample(self.recipe, at)
        if self._open is None:
            images = np.load(self.folder / "images.npy", mmap_mode="r")
            flows = np.load(
                self.folder / "flow.npy", mmap_mode="r" if self.recipe.clip_length > 1 else None
            )
            maps: np.ndarray = np.memmap(self.folder / "maps.bin", np.uint8, "r")
            self._open = (images, flows, maps, np.load(self.folder / "offsets.npy"))
        images, flows, maps, offsets = self._open
        blob = maps[offsets[at] : offsets[at + 1]].tobytes()
        shape = (self.recipe.clip_length, *self.recipe.size)
        labels, instances = unpack(blob, shape)
        return np.array(images[at]), labels, instances, np.array(flows[at])

    def _picture(self, index: int, frame: int) -> Picture:
        if not 0 <= frame < self.recipe.clip_length:
            raise IndexError(frame)
        return _plain_picture(self.recipe, self.indices[index], frame)


@lru_cache(maxsize=8)
def _plain_picture(recipe: Recipe, at: int, frame: int) -> Picture:
    where = moment(recipe.split, at)
    time = where.time + frame * CLIP_GAP
    return render(where.load(recipe.seed), time, recipe.size, colour=False)


__all__ = ["WORLD_VERSION", "Box", "Streets"]
