"""What a data set of scans needs of nuScenes' tables, as arrays."""

from __future__ import annotations

from array import array
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densecl.data.names import Names
from densecl.errors import UsageError
from pointcl.data.nuscenes_json import read_table
from pointcl.sensors.pose import UNIT, pose_from_quaternion

LIDAR = "LIDAR_TOP"

_RECORDING: tuple[str, ...] = ("token", "sample_token", "ego_pose_token", "filename", "prev")
_RECORDING += ("calibrated_sensor_token", "timestamp", "is_key_frame")


@dataclass(frozen=True)
class Sensors:
    """The calibrated sensors in use.

    Attributes:
        row: token -> row of the following.
        channel: of each, e.g. "CAM_FRONT".
        to_ego: (S, 4, 4) float64 sensor -> ego.
        intrinsics: (S, 3, 3) float64 as in the table, zeros for a LiDAR.
    """

    row: dict[str, int]
    channel: list[str]
    to_ego: np.ndarray
    intrinsics: np.ndarray


@dataclass(frozen=True)
class Recordings:
    """Files of sensors, each with its time, sensor and the vehicle's place.

    Attributes:
        files: (R) names below the data set's root.
        token: (R) of the table sample_data.
        stamp: (R,) int64 microseconds.
        sensor: (R,) int32 row of ``Sensors``.
        size: (R, 2) int32 height and width in pixels, 0 for a LiDAR.
        ego: (R, 7) float64 translation and quaternion (w, x, y, z), ego -> world.
    """

    files: Names
    token: Names
    stamp: np.ndarray
    sensor: np.ndarray
    size: np.ndarray
    ego: np.ndarray

    def ego_to_world(self, row: int) -> np.ndarray:
        """(4, 4) pose of the vehicle at a recording."""
        *place, w, x, y, z = self.ego[row].tolist()
        return pose_from_quaternion((w, x, y, z), place)


@dataclass(frozen=True)
class Objects:
    """Annotated boxes of all key frames, in the world.

    Attributes:
        start: (F + 1,) int64: frame i owns rows start[i] to start[i + 1].
        place: (A, 7) float64 translation and quaternion (w, x, y, z).
        size: (A, 3) float64 width, length, height.
        category: (A,) int32 row of ``names``.
        instance: (A,) int32 row of the table instance.
        names: of the categories.
    """

    start: np.ndarray
    place: np.ndarray
    size: np.ndarray
    category: np.ndarray
    instance: np.ndarray
    names: list[str]


def read_frames(folder: Path, scenes: Collection[str] | None) -> tuple[list[str], list[str]]:
    """Tokens of the key frames along each scene, and the scene that each is of.

    Args:
        folder: of the tables.
        scenes: names of the scenes to use; None = all.

    Raises:
        UsageError: a scene is not in the table, or its chain of samples is broken.
    """
    fields = ("token", "name", "first_sample_token")
    chosen = [
        (row["token"], row["name"], row["first_sample_token"])
        for row in read_table(folder, "scene", *fields)
        if scenes is None or row["name"] in scenes
    ]
    missing = sorted(set(scenes or ()) - {name for _, name, _ in chosen})
    if missing:
        raise UsageError(
            f"{len(missing)} scenes, e.g. {missing[0]!r}, are not in {folder / 'scene.json'}",
            fix="correct data.scenes or data.version",
        )
    tokens = {token for token, _, _ in chosen}
    following = {
        row["token"]: row["next"]
        for row in read_table(folder, "sample", "token", "next", "scene_token")
        if row["scene_token"] in tokens
    }
    frames: list[str] = []
    names: list[str] = []
    for _, name, sample in chosen:
        while sample:
            if sample not in following:
                raise UsageError(
                    f"{folder / 'sample.json'} has no sample {sample} that {name} leads to, "
                    "or leads to twice",
                    fix="unpack the metadata again",
                )
            frames.append(sample)
            names.append(name)
            sample = following.pop(sample)
    return frames, names


def read_sensors(folder: Path, channels: Collection[str]) -> Sensors:
    """The calibrated sensors of these channels.

    Raises:
        UsageError: a channel is not in the table, or a calibration is none.
    """
    channel_of = {
        row["token"]: row["channel"]
        for row in read_table(folder, "sensor", "token", "channel")
        if row["channel"] in channels
    }
    unknown = sorted(set(channels) - set(channel_of.values()))
    if unknown:
        raise UsageError(
            f"{folder / 'sensor.json'} has no {unknown[0]}", fix="correct data.cameras"
        )
    rows: dict[str, int] = {}
    channel: list[str] = []
    poses: list[np.ndarray] = []
    lenses: list[np.ndarray] = []
    fields = ("token", "sensor_token", "translation", "rotation", "camera_intrinsic")
    for row in read_table(folder, "calibrated_sensor", *fields):
        if row["sensor_token"] not in channel_of:
            continue
        name = channel_of[row["sensor_token"]]
        lens = np.zeros((3, 3))
        try:
            pose = pose_from_quaternion(row["rotation"], row["translation"])
            if name != LIDAR:
                lens[:] = row["camera_intrinsic"]
                if not np.isfinite(lens).all() or lens[0, 0] <= 0 or lens[1, 1] <= 0:
                    raise ValueError(f"camera_intrinsic {row['camera_intrinsic']}")
        except ValueError as error:
            path = folder / "calibrated_sensor.json"
            raise UsageError(f"{path}, {name} {row['token']}: {error}") from error
        rows[row["token"]] = len(channel)
        channel.append(name)
        poses.append(pose)
        lenses.append(lens)
    return Sensors(
        rows, channel, np.array(poses).reshape(-1, 4, 4), np.array(lenses).reshape(-1, 3, 3)
    )


def read_recordings(
    folder: Path, frames: list[str], sensors: Sensors, channels: tuple[str, ...], sweeps: int
) -> tuple[Recordings, np.ndarray, np.ndarray]:
    """What the sensors recorded for the key frames, and the sweeps before them.

    Returns:
        recordings: all that is used.
        frame_rows: (F, 1 + C) int64 rows of the LiDAR's and the cameras' key recordings.
        sweep_rows: (F, sweeps) int64 rows of the sweeps before, latest first; -1 = the scene
            had not begun.

    Raises:
        UsageError: a key frame lacks a channel, or a row points to nothing.
    """
    frame_of = {token: row for row, token in enumerate(frames)}
    column_of = {name: column for column, name in enumerate(channels)}
    table = np.full((len(frames), len(channels)), -1, np.int64)
    kept: list[tuple[str, str, int, int, int, int, str]] = []
    before: list[str] = []
    lidar: dict[str, int] = {}
    for row in read_table(folder, "sample_data", *_RECORDING):
        sensor = sensors.row.get(row["calibrated_sensor_token"])
        frame = frame_of.get(row["sample_token"])
        if sensor is None or frame is None:
            continue
        channel = sensors.channel[sensor]
        sweep = bool(sweeps) and channel == LIDAR
        if row["is_key_frame"]:
            table[frame, column_of[channel]] = len(kept)
        elif not sweep:
            continue
        if sweep:
            lidar[row["token"]] = len(kept)
        size = (int(row.get("height") or 0), int(row.get("width") or 0))
        if channel != LIDAR and min(size) <= 0:
            raise UsageError(
                f"{folder / 'sample_data.json'}: {row['filename']} has no height and width",
                fix="unpack the metadata again",
            )
        place = (row["filename"], row["token"], row["timestamp"], sensor)
        kept.append((*place, *size, row["ego_pose_token"]))
        before.append(row["prev"] if sweep else "")
    if (table < 0).any():
        frame, column = np.argwhere(table < 0)[0]
        raise UsageError(
            f"{folder / 'sample_data.json'} has no key frame of {channels[column]} for the "
            f"sample {frames[frame]}",
            fix="unpack the metadata again, or leave that camera out of data.cameras",
        )
    chain = np.full((len(frames), sweeps), -1, np.int64)
    for frame, key in enumerate(table[:, 0]):
        at = int(key)
        for step in range(sweeps):
            at = lidar.get(before[at], -1)
            if at < 0:
                break
            chain[frame, step] = at
    used = np.unique(np.concatenate([table.ravel(), chain[chain >= 0]]))
    moved = np.full(len(kept), -1, np.int64)
    moved[used] = np.arange(len(used))
    rows = [kept[row] for row in used]
    recordings = Recordings(
        files=Names.of(row[0] for row in rows),
        token=Names.of(row[1] for row in rows),
        stamp=np.array([row[2] for row in rows], np.int64),
        sensor=np.array([row[3] for row in rows], np.int32),
        size=np.array([row[4:6] for row in rows], np.int32).reshape(-1, 2),
        ego=_read_places(folder, [row[6] for row in rows]),
    )
    return recordings, moved[table], np.where(chain < 0, -1, moved[chain])


def _read_places(folder: Path, tokens: list[str]) -> np.ndarray:
    """(R, 7) of the table ego_pose; several recordings may share a row."""
    row_of = {token: row for row, token in enumerate(dict.fromkeys(tokens))}
    places = np.full((len(row_of), 7), np.nan)
    for row in read_table(folder, "ego_pose", "token", "translation", "rotation"):
        if row["token"] in row_of:
            places[row_of[row["token"]]] = [*row["translation"], *row["rotation"]]
    length = np.linalg.norm(places[:, 3:], axis=1)
    bad = ~(np.isfinite(places).all(1) & (np.abs(length - 1) < UNIT))
    if bad.any():
        token = list(row_of)[int(np.argmax(bad))]
        raise UsageError(
            f"{folder / 'ego_pose.json'}: {int(bad.sum())} poses are missing or none, e.g. of "
            f"token {token}",
            needed="translation (x, y, z) and rotation (w, x, y, z) of length 1",
            fix="unpack the metadata again",
        )
    return places[[row_of[token] for token in tokens]]


def read_objects(folder: Path, frames: list[str]) -> Objects | None:
    """The boxes of the key frames; None where the version is not annotated.

    Raises:
        UsageError: a table is missing, or a row points to nothing.
    """
    frame_of = {token: row for row, token in enumerate(frames)}
    categories = {
        row["token"]: row["name"] for row in read_table(folder, "category", "token", "name")
    }
    names = list(dict.fromkeys(categories.values()))
    category_row = {name: row for row, name in enumerate(names)}
    instances: dict[str, tuple[int, int]] = {}
    for number, row in enumerate(read_table(folder, "instance", "token", "category_token")):
        if row["category_token"] in categories:
            name = categories[row["category_token"]]
            instances[row["token"]] = (number, category_row[name])
    frame: list[int] = []
    values = array("d")  # a million rows: an eighth of what lists of floats take
    kind: list[tuple[int, int]] = []
    annotated = False
    fields = ("sample_token", "instance_token", "translation", "size", "rotation")
    for row in read_table(folder, "sample_annotation", *fields):
        annotated = True
        if row["sample_token"] not in frame_of:
            continue
        if row["instance_token"] not in instances:
            raise UsageError(
                f"{folder / 'sample_annotation.json'}: instance {row['instance_token']} is not in "
                "instance.json, or its category not in category.json",
                fix="unpack the metadata again, or set data.boxes=False",
            )
        frame.append(frame_of[row["sample_token"]])
        numbers = (*row["translation"], *row["rotation"], *row["size"])
        if len(numbers) != 10:
            raise UsageError(
                f"{folder / 'sample_annotation.json'}: {len(numbers)} numbers for a box of "
                f"{row['sample_token']}",
                needed="3 of translation, 4 of rotation, 3 of size",
            )
        values.extend(numbers)
        kind.append(instances[row["instance_token"]])
    if not annotated:
        return None
    order = np.argsort(np.array(frame, np.int64), kind="stable")
    boxes = np.array(values, np.float64).reshape(len(frame), 10)[order]
    kinds = np.array(kind, np.int32).reshape(len(frame), 2)[order]
    counts = np.bincount(np.array(frame, np.int64), minlength=len(frames))
    return Objects(
        start=np.concatenate([[0], np.cumsum(counts)]),
        place=boxes[:, :7],
        size=boxes[:, 7:],
        category=kinds[:, 1],
        instance=kinds[:, 0],
        names=names,
    )
