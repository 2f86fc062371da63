"""``LidarStreets``: the embedded world as scans with pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from densecl.data.streets import cache as store
from densecl.data.streets.classes import CLASSES, PALETTE
from densecl.data.streets.splits import WORLD_VERSION, check_split
from densecl.data.streets.subset import choose
from densecl.errors import UsageError
from pointcl.data.base import ScanDataset
from pointcl.data.scan import Boxes, Scan
from pointcl.data.streets import pictures, record, shard
from pointcl.data.streets.firing import azimuths, delays, directions, drift
from pointcl.data.streets.recipe import Recipe
from pointcl.data.streets.rig import CAMERAS
from pointcl.data.streets.splits import CLIPS, LENGTHS, LIDAR_VERSION, TURNS
from pointcl.data.streets.sweep import GRAIN, Hits, Sweep
from pointcl.data.streets.truth import TruePixels, true_pixels
from pointcl.registry import DATASETS
from pointcl.sensors.camera import Camera


@DATASETS.register_module()
class LidarStreets(ScanDataset):
    """Scans of a spinning LiDAR in rendered streets, with cameras that fire at other times.

    The sensor turns ten times a second; the middle of its turn is the scan's timestamp, in
    seconds since the start of the drive. Points are in firing order, as the sensor gave them:
    each in the sensor's frame at its own ``time``. ``ring`` 0 is the top beam. Intensity is the
    root of the returned power, with the sensor's own gain. Objects of ``boxes`` are those with
    a return.

    Classes are those of ``densecl``'s ``Streets``; a LiDAR never sees "sky", and open ground
    behind the pavement is ignored (255).

    Args:
        split: "pretrain" | "train" | "val" | "test"; the last three are apart by town, and
            ``train`` lies in the towns of ``pretrain``, on other drives.
        length: scans before ``subset``; None = the split's default. A shorter set is the
            beginning of a longer one.
        beams, steps: of the sensor; firings of every beam in a turn. With 32 x 600 one scan shows
            so much that a network learns from 6 scans nearly what it learns from 120.
        clip: scans at each moment, of one drive and close in time; None = the split's default.
        gap: turns from one scan of a clip to the next.
        cameras: names out of "front", "left", "right", "back".
        camera_size: (H, W) pixels.
        compensate: move every point to where it would have been seen at the timestamp, by the
            motion of the vehicle; what moves by itself stays off.
        seed: of the whole world.
        cache: folder for scans and pictures; None = ``$DENSECL_CACHE`` or ``~/.cache/densecl``;
            False = render on the fly.
        subset: keep some scans: a fraction (subsets of growing fractions are nested), a list
            of names, or a file with one name a line.

    Raises:
        UsageError: unknown split or camera, bad length, clip, size or subset.
    """

    classes: tuple[str, ...] = CLASSES
    absent: tuple[str, ...] = ("sky",)
    palette = np.array(PALETTE, np.uint8)
    version = f"{WORLD_VERSION}.{LIDAR_VERSION}"

    def __init__(
        self,
        split: str = "pretrain",
        length: int | None = None,
        beams: int = 16,
        steps: int = 300,
        clip: int | None = None,
        gap: int = 5,
        cameras: Sequence[str] = ("front",),
        camera_size: tuple[int, int] = (120, 160),
        compensate: bool = False,
        seed: int = 0,
        cache: str | Path | bool | None = None,
        subset: float | str | Path | Sequence[str] | None = None,
    ) -> None:
        check_split(split)
        length = LENGTHS[split] if length is None else length
        clip = CLIPS[split] if clip is None else clip
        _check(length, beams, steps, clip, gap, cameras, camera_size)
        self.compensate = compensate
        common = (split, length, clip, gap, seed)
        self.recipe = Recipe(*common, (beams, steps))
        size = (int(camera_size[0]), int(camera_size[1]))
        self.pictures = Recipe(*common, size, tuple(cameras))
        instants = [self.recipe.instant(k) for k in range(length)]
        self.names = [i.name for i in instants]
        self.indices = choose(self.names, subset, "subset", seed, split)
        super().__init__([instants[k].sequence for k in self.indices])
        self.folder: Path | None = None
        self.picture_folder: Path | None = None
        if cache is not False:
            root = store.default_root() if cache is None or cache is True else Path(cache)
            self.folder = store.ensure(self.recipe, root, shard=shard)
            if cameras:
                self.picture_folder = store.ensure(self.pictures, root, shard=shard)

    def name(self, index: int) -> str:
        """Stable name, for instance ``val/town13/drive002/000022``; the end counts turns."""
        return self.names[self.indices[index]]

    def fingerprint(self) -> str:
        """Hash of what the scans are: recipes, subset and the versions of world and LiDAR."""
        versions = (WORLD_VERSION, LIDAR_VERSION)
        key = repr((self.recipe, self.pictures, self.compensate, versions, self.indices))
        return hashlib.sha256(key.encode()).hexdigest()[:16]

    def load(self, index: int) -> Scan:
        """Scan ``index``."""
        at = self.indices[index]
        sweep = self._sweep(at)
        step, ring = _where(sweep)
        points = directions(sweep.elevations, azimuths(sweep.distance.shape[1]))[ring, step]
        points = points * (sweep.distance[ring, step, None].astype(np.float64) * GRAIN)
        delay = delays(sweep.distance.shape[1])
        if self.compensate:
            pose = drift(sweep.motion, sweep.to_ego, sweep.time, delay)[step]
            points = np.einsum("nij,nj->ni", pose[:, :3, :3], points) + pose[:, :3, 3]
        objects = sweep.objects
        return Scan(
            points=points.astype(np.float32),
            source=at,
            name=self.names[at],
            intensity=sweep.intensity[ring, step].astype(np.float32) / 255,
            ring=ring.astype(np.int16),
            time=delay[step].astype(np.float32),
            label=sweep.label[ring, step].astype(np.int64),
            instance=sweep.instance[ring, step].astype(np.int64),
            sequence=self.sequences[index],
            timestamp=sweep.time,
            to_ego=sweep.to_ego,
            ego_to_world=sweep.motion.pose(sweep.time),
            cameras=tuple(self._camera(at, sweep, name) for name in self.pictures.cameras),
            boxes=Boxes(
                centre=objects.box[:, :3],
                extent=objects.box[:, 3:6],
                yaw=objects.box[:, 6],
                label=[CLASSES[c] for c in objects.label.tolist()],
                instance=objects.instance.astype(np.int64),
            ),
            compensated=self.compensate,
        )

    def camera_label(self, index: int, name: str) -> np.ndarray:
        """(H, W) int64 class ids of a camera's picture."""
        return self._source(self.indices[index], name).maps(name)["label"]

    def camera_instance(self, index: int, name: str) -> np.ndarray:
        """(H, W) int64 instance ids of a camera's picture, those of the points; -1 = none."""
        return self._source(self.indices[index], name).maps(name)["instance"]

    def true_pixels(self, index: int, name: str) -> TruePixels:
        """Where the surface points that a scan hit truly are in a camera's picture.

        Each point moves with what it lies on from its own firing to the moment the camera
        fires; range noise is left out. Rows are those of the scan.
        """
        at = self.indices[index]
        self._source(at, name)
        sweep, hits = _rendered(self.recipe, at)
        step, ring = _where(sweep)
        camera = pictures.camera_of(self.pictures, at, name)
        return true_pixels(hits, (ring, step), self.recipe.drive(at), camera)

    def _sweep(self, at: int) -> Sweep:
        if self.folder is None:
            return _rendered(self.recipe, at)[0]
        return record.unpack(pictures.read(self.folder, at).tobytes())

    def _source(self, at: int, name: str) -> pictures.Source:
        if name not in self.pictures.cameras:
            raise UsageError(
                f"this data set has no camera {name!r}",
                needed="one of " + ", ".join(self.pictures.cameras or ["none"]),
                fix=f"add it: cameras={(*self.pictures.cameras, name)}",
            )
        return pictures.Source(self.pictures, at, self.picture_folder)

    def _camera(self, at: int, sweep: Sweep, name: str) -> Camera:
        mount = sweep.mounts[name]
        sequence, _, turn = self.names[at].rpartition("/")
        return Camera(
            name=name,
            source=pictures.Image(self._source(at, name), name),
            size=self.pictures.shape,
            intrinsics=mount.intrinsics(self.pictures.shape),
            to_ego=mount.to_ego,
            ego_to_world=sweep.motion.pose(sweep.time + mount.lag),
            timestamp=sweep.time + mount.lag,
            key=f"{sequence}/{name}/{turn}",
        )


def _check(
    length: int,
    beams: int,
    steps: int,
    clip: int,
    gap: int,
    cameras: Sequence[str],
    size: tuple[int, int],
) -> None:
    if length < 1 or beams < 2 or steps < 8 or min(size) < 8:
        raise UsageError(
            f"LidarStreets(length={length}, beams={beams}, steps={steps}, "
            f"camera_size={tuple(size)})",
            needed="length >= 1, beams >= 2, steps >= 8 and sides of at least 8 pixels",
        )
    if clip < 1 or gap < 1 or (clip - 1) * gap >= TURNS:
        raise UsageError(
            f"LidarStreets(clip={clip}, gap={gap})",
            needed=f"both at least 1, and a clip of fewer than {TURNS} turns: (clip - 1) * gap",
        )
    if isinstance(cameras, str) or len(set(cameras)) < len(cameras) or set(cameras) - set(CAMERAS):
        raise UsageError(
            f"LidarStreets(cameras={cameras!r})",
            needed="different names out of " + ", ".join(CAMERAS),
        )


def _where(sweep: Sweep) -> tuple[np.ndarray, np.ndarray]:
    """(N,) step and beam of each return, in firing order."""
    step, beam = np.nonzero(sweep.distance.T)
    return step, beam


@lru_cache(maxsize=8)
def _rendered(recipe: Recipe, at: int) -> tuple[Sweep, Hits]:
    return shard.render_scan(recipe, at)
