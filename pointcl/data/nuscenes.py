"""nuScenes: key frames of one LiDAR and six cameras, in a moving vehicle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densecl.data.base import fingerprint_files, require_folder
from densecl.data.names import Names
from densecl.errors import UsageError
from pointcl.data.base import ScanDataset, read_names
from pointcl.data.checks import (
    read_labels,
    read_records,
    require_finite,
    require_part,
    scale_intensity,
)
from pointcl.data.nuscenes_classes import choose_scenes, lidarseg_map
from pointcl.data.nuscenes_json import read_table
from pointcl.data.nuscenes_tables import (
    LIDAR,
    Objects,
    read_frames,
    read_objects,
    read_recordings,
    read_sensors,
)
from pointcl.data.scan import IGNORE, Boxes, Scan
from pointcl.registry import DATASETS
from pointcl.sensors.camera import Camera
from pointcl.sensors.pose import compose, inverse, move, rotate

CAMERAS = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK_RIGHT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_FRONT_LEFT",
)


@DATASETS.register_module()
class NuScenes(ScanDataset):
    """Key frames of nuScenes, read from its tables as they are.

    Points lie in the LiDAR's frame (x right, y forward, z up) at the key frame's time, and are
    compensated for the vehicle's motion within a sweep. Intensity is the file's value divided by
    255. Each camera fires at its own time and has the vehicle's pose of that time; half a pixel
    is added to its principal point, as nuScenes counts from pixel centres. Boxes are brought from
    the world to the LiDAR's frame.

    Args:
        root: folder that holds ``samples``, ``sweeps`` and the tables' folder.
        version: the tables' folder, e.g. "v1.0-trainval", "v1.0-mini", "v1.0-test".
        split: "train", "val", "test", "mini_train" or "mini_val"; None = all scenes.
        scenes: names of scenes instead of a split: a list, or a text file with one a line.
        sweeps: how many sweeps before the key frame to add. Their points are moved to the key
            frame's LiDAR through the vehicle's poses, follow the key frame's own, are ignored by
            labels, and ``time`` says how long before they were taken.
        cameras: channels to use, in that order; () = none.
        labels: "lidarseg16" = the 16 classes of nuScenes-lidarseg; None = no labels.
        boxes: whether to read the annotations; False spares their table.
        on_error: "raise" or "skip", see ``FileDataset``.

    Raises:
        UsageError: missing folders, tables, fields, scenes, labels or recordings, or options that
            do not fit.
    """

    def __init__(
        self,
        root: str | Path,
        version: str = "v1.0-trainval",
        split: str | None = None,
        scenes: str | Path | Sequence[str] | None = None,
        sweeps: int = 0,
        cameras: Sequence[str] = CAMERAS,
        labels: str | None = None,
        boxes: bool = True,
        on_error: str = "raise",
    ) -> None:
        self.root = require_folder(root, "data.root")
        tables = require_part(self.root / version, "correct data.root or data.version")
        if labels not in (None, "lidarseg16"):
            raise UsageError(f"data.labels={labels!r}", needed='"lidarseg16" or None')
        if split is not None and scenes is not None:
            raise UsageError("data.split and data.scenes", needed="one of them")
        if sweeps < 0:
            raise UsageError(f"data.sweeps={sweeps}", needed="0 or more")
        if isinstance(cameras, str) or set(cameras) - set(CAMERAS):
            raise UsageError(f"data.cameras={cameras!r}", needed=f"a list, any of {CAMERAS}")
        chosen = None if scenes is None else set(read_names(scenes, "data.scenes"))
        if split is not None:
            chosen = choose_scenes(split, version, tables)
        frames, names = read_frames(tables, chosen)
        if not frames:
            raise UsageError(
                f"{tables} has no scene of data.split={split!r}", fix="correct data.version"
            )
        self.cameras, self.sweeps = tuple(cameras), int(sweeps)
        channels = (LIDAR, *self.cameras)
        self._sensors = read_sensors(tables, channels)
        self._recordings, self._rows, self._sweeps = read_recordings(
            tables, frames, self._sensors, channels, self.sweeps
        )
        self._map = None if labels is None else lidarseg_map(tables)
        self._labels: Names | None = None
        if self._map is not None:
            self.classes, self.palette = self._map.classes, self._map.palette
            self._labels = self._find_labels(tables)
        self._objects = read_objects(tables, frames) if boxes else None
        self.version = version
        super().__init__(names, on_error)

    def name(self, index: int) -> str:
        """The LiDAR's file, below the root."""
        return self._recordings.files[int(self._rows[index, 0])]

    def load(self, index: int) -> Scan:
        """Read one key frame.

        Raises:
            UnreadableFileError: one of its files is missing or damaged.
        """
        key = int(self._rows[index, 0])
        points, intensity, ring = read_sweep(self.root / self._recordings.files[key])
        count = len(points)
        time = None
        if self.sweeps:
            points, intensity, ring, time = self._accumulate(index, points, intensity, ring)
        scan = Scan(
            points=points,
            source=index,
            name=self.name(index),
            intensity=intensity,
            ring=ring,
            time=time,
            sequence=self.sequences[index],
            timestamp=self._seconds(key),
            to_ego=self._sensors.to_ego[self._recordings.sensor[key]],
            ego_to_world=self._recordings.ego_to_world(key),
        )
        if self._map is not None and self._labels is not None:
            path = self.root / self._labels[index]
            scan.label = np.full(len(scan), IGNORE, np.int64)
            scan.label[:count] = self._map(read_labels(path, "u1", count), path)
        scan.cameras = tuple(
            self._camera(name, int(row))
            for name, row in zip(self.cameras, self._rows[index, 1:], strict=True)
        )
        if self._objects is not None and scan.to_world is not None:
            scan.boxes = boxes_at(self._objects, index, inverse(scan.to_world))
        return scan

    def fingerprint(self) -> str:
        """Hash of the files used, of some of their sizes, and of the settings."""
        settings = (
            self.version,
            self.cameras,
            self.sweeps,
            self._labels and self._labels.digest(),
            None if self._objects is None else len(self._objects.place),
            self._recordings.ego.sum(),
            self._sensors.to_ego.sum(),
        )
        return fingerprint_files(self.root, self._recordings.files, settings)

    def _seconds(self, row: int) -> float:
        return float(self._recordings.stamp[row]) * 1e-6

    def _camera(self, name: str, row: int) -> Camera:
        recordings, sensor = self._recordings, self._recordings.sensor[row]
        intrinsics = self._sensors.intrinsics[sensor].copy()
        intrinsics[:2, 2] += 0.5
        file = recordings.files[row]
        return Camera(
            name=name,
            source=self.root / file,
            size=(int(recordings.size[row, 0]), int(recordings.size[row, 1])),
            intrinsics=intrinsics,
            to_ego=self._sensors.to_ego[sensor],
            ego_to_world=recordings.ego_to_world(row),
            timestamp=self._seconds(row),
            key=str(Path(file).with_suffix("")),
        )

    def _accumulate(
        self, index: int, points: np.ndarray, intensity: np.ndarray, ring: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """The key frame's points, then those of each sweep before it, in the key frame's LiDAR."""
        key = int(self._rows[index, 0])
        to_lidar = inverse(self._lidar_to_world(key))
        parts = [(points, intensity, ring, np.zeros(len(points), np.float32))]
        for row in self._sweeps[index]:
            if row < 0:
                break
            at, strength, beam = read_sweep(self.root / self._recordings.files[int(row)])
            moved = move(compose(self._lidar_to_world(int(row)), to_lidar), at)
            before = (self._recordings.stamp[row] - self._recordings.stamp[key]) * 1e-6
            when = np.full(len(at), before, np.float32)
            parts.append((moved.astype(np.float32), strength, beam, when))
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _lidar_to_world(self, row: int) -> np.ndarray:
        sensor = self._recordings.sensor[row]
        return compose(self._sensors.to_ego[sensor], self._recordings.ego_to_world(row))

    def _find_labels(self, tables: Path) -> Names:
        """The label file of each key frame."""
        file_of = {
            row["sample_data_token"]: row["filename"]
            for row in read_table(tables, "lidarseg", "sample_data_token", "filename")
        }
        tokens = [self._recordings.token[int(row)] for row in self._rows[:, 0]]
        missing = [token for token in tokens if token not in file_of]
        if missing:
            raise UsageError(
                f"{tables / 'lidarseg.json'} has no labels of {len(missing)} key frames, e.g. "
                f"{missing[0]}",
                fix="unpack nuScenes-lidarseg of this version, or set data.labels=None",
            )
        return Names.of(file_of[token] for token in tokens)


def read_sweep(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (N, 3) float32, intensity (N,) float32 in [0, 1], ring (N,) int16 of a sweep.

    Raises:
        UnreadableFileError: missing, truncated, or with values that are not finite or not in
            range.
    """
    values = require_finite(read_records(path, 5), path, "points")
    intensity = scale_intensity(values[:, 3], 255, path)
    return values[:, :3].astype(np.float32), intensity, values[:, 4].astype(np.int16)


def boxes_at(objects: Objects, frame: int, world_to_lidar: np.ndarray) -> Boxes:
    """The boxes of a key frame in its LiDAR's frame."""
    rows = slice(objects.start[frame], objects.start[frame + 1])
    w, x, y, z = objects.place[rows, 3:].T
    ahead = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)], 1)
    heading = rotate(world_to_lidar, ahead)
    return Boxes(
        centre=move(world_to_lidar, objects.place[rows, :3]),
        extent=objects.size[rows][:, [1, 0, 2]],
        yaw=np.arctan2(heading[:, 1], heading[:, 0]),
        label=[objects.names[row] for row in objects.category[rows]],
        instance=objects.instance[rows].astype(np.int64),
    )
