"""S3DIS: rooms of six areas, as published in text files or prepared as arrays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from densecl.data.base import fingerprint_files, require_folder
from densecl.data.decode import UnreadableFileError
from densecl.data.names import Names
from densecl.errors import UsageError
from pointcl.data.base import ScanDataset
from pointcl.data.checks import at_start, read_bytes, read_text
from pointcl.data.folder import natural
from pointcl.data.formats.arrays import load_array
from pointcl.data.formats.cloud import make_cloud
from pointcl.data.formats.fields import COLOUR, NORMAL, POSITION, Fields
from pointcl.data.scan import IGNORE, Scan
from pointcl.registry import DATASETS
from pointcl.sensors.pose import inverse, move

CLASSES = (
    "ceiling",
    "floor",
    "wall",
    "beam",
    "column",
    "window",
    "door",
    "table",
    "chair",
    "sofa",
    "bookcase",
    "board",
    "clutter",
)
PALETTE = np.array(
    [
        (0, 255, 0),
        (0, 0, 255),
        (0, 255, 255),
        (255, 255, 0),
        (255, 0, 255),
        (100, 100, 255),
        (200, 200, 100),
        (170, 120, 200),
        (255, 0, 0),
        (200, 100, 100),
        (10, 200, 100),
        (200, 200, 200),
        (50, 50, 50),
    ],
    np.uint8,
)

_OTHERS = {"stairs": "clutter"}
_NUMBER_BYTES = b"0123456789+-.eE \t\r\n"
_ARRAYS = ("coord", "color", "segment", "instance", "normal")


@DATASETS.register_module()
class S3DIS(ScanDataset):
    """One scan per room, in metres, with colours; there is no intensity.

    Two layouts are read, room by room. Published: ``Area_1/office_1/Annotations/chair_2.txt`` with
    rows x y z r g b; an object is a file and gives its points their class and instance; the points
    are those of all files by name. Prepared: ``Area_1/office_1/coord.npy`` with ``color``,
    ``segment``, ``instance`` and ``normal``. A sequence is an area: the usual test is on Area_5.

    The published files hold stray bytes (Area_5/office_19/Annotations/ceiling_1.txt, line 323474,
    for one). They are reported with their line; ``repair=True`` reads such a byte as a blank, or
    leaves it out where that gives the line its six numbers.

    Args:
        root: folder of the areas.
        areas: numbers of the areas to use; None = all that are there.
        labels: whether to give labels and instances.
        align: turn each room by its angle in ``Area_k_alignmentAngle.txt``, so that its walls are
            parallel to the axes; ``ego_to_world`` turns it back. Published layout only.
        repair: whether to mend stray bytes.
        on_error: "raise" or "skip", see ``ScanDataset``.

    Raises:
        UsageError: no such folder or area, no room, or no angle for a room that is to be aligned.

    Source: Armeni et al. 2016 (S3DIS).
    """

    classes: tuple[str, ...] = CLASSES
    palette = PALETTE

    def __init__(
        self,
        root: str | Path,
        areas: Sequence[int] | None = None,
        labels: bool = True,
        align: bool = False,
        repair: bool = False,
        on_error: str = "raise",
    ) -> None:
        self.root = require_folder(root, "data.root")
        there = [path for path in self.root.glob("Area_*") if path.is_dir()]
        wanted = there if areas is None else [self.root / f"Area_{area}" for area in areas]
        missing = [path.name for path in wanted if path not in there]
        if missing or not there:
            raise UsageError(
                f"{self.root} holds {', '.join(sorted(path.name for path in there)) or 'no area'}"
                + (f", not {', '.join(missing)}" if missing else ""),
                needed="folders Area_1 to Area_6",
                fix="check data.root and data.areas",
            )
        rooms = [
            f"{area.name}/{room.name}"
            for area in wanted
            for room in area.iterdir()
            if (room / "Annotations").is_dir() or (room / "coord.npy").is_file()
        ]
        if not rooms:
            raise UsageError(
                f"no rooms in {', '.join(path.name for path in wanted)} of {self.root}",
                needed="ROOM/Annotations/*.txt or ROOM/coord.npy in each area",
            )
        rooms.sort(key=natural)
        self._rooms = Names.of(rooms)
        self.labels, self.align, self.repair = labels, align, repair
        if not labels:
            self.classes, self.palette = (), np.zeros((0, 3), np.uint8)
        self._angles = self._read_angles(rooms) if align else {}
        super().__init__([room.split("/")[0] for room in rooms], on_error)

    def name(self, index: int) -> str:
        """Area and room."""
        return self._rooms[index]

    def load(self, index: int) -> Scan:
        """Read one room."""
        folder = self.root / self.name(index)
        prepared = (folder / "coord.npy").is_file()
        fields = _read_arrays(folder) if prepared else self._read_objects(folder)
        cloud = make_cloud(fields, folder)
        scan = Scan(
            cloud.points,
            source=index,
            name=self.name(index),
            colour=cloud.colour,
            normal=cloud.normal,
            sequence=self.sequences[index],
            ego_to_world=np.eye(4),
        )
        if self.labels:
            if cloud.label is None:
                raise UnreadableFileError(folder / "segment.npy", "No such file or directory")
            scan.label = np.where(cloud.label < 0, IGNORE, cloud.label)
            if not ((scan.label < len(CLASSES)) | (scan.label == IGNORE)).all():
                reason = f"class {cloud.label.max()} of {len(CLASSES)}"
                raise UnreadableFileError(folder / "segment.npy", reason)
            if cloud.instance is not None:
                scan.instance = np.maximum(cloud.instance, -1)
        if self.align:
            pose = about_centre(scan.points, self._angles[self.name(index)])
            scan.points = move(pose, scan.points).astype(np.float32)
            scan.ego_to_world = inverse(pose)
        return scan

    def fingerprint(self) -> str:
        """Hash of the rooms, of some file sizes, and of the settings."""
        files = []
        for room in (self.root / self.name(row) for row in range(len(self))):
            parts = [room / "coord.npy"] if (room / "coord.npy").is_file() else _objects(room)
            files += [part.relative_to(self.root).as_posix() for part in parts]
        settings = (self.labels, sorted(self._angles.items()), self.repair)
        return fingerprint_files(self.root, Names.of(files), settings)

    def _read_objects(self, room: Path) -> Fields:
        files = _objects(room)
        if not files:
            raise UnreadableFileError(room / "Annotations", "it holds no objects (*.txt)")
        parts, labels = [], []
        for path in files:
            kind = path.stem.rsplit("_", 1)[0]
            kind = _OTHERS.get(kind, kind)
            if kind not in CLASSES:
                reason = f"class {kind!r} is none of {', '.join(CLASSES)}"
                raise UnreadableFileError(path, reason)
            labels.append(CLASSES.index(kind))
            parts.append(read_points(path, self.repair))
            colours = parts[-1][:, 3:]
            if (colours % 1).any() or colours.min() < 0 or colours.max() > 255:
                reason = f"colours from {colours.min():g} to {colours.max():g}, expected 0 to 255"
                raise UnreadableFileError(path, reason)
        counts = [len(part) for part in parts]
        rows = np.concatenate(parts)
        fields = {role: rows[:, i] for i, role in enumerate((*POSITION, *COLOUR))}
        fields |= {role: fields[role].astype(np.uint8) for role in COLOUR}
        fields["label"] = np.repeat(labels, counts)
        fields["instance"] = np.repeat(np.arange(len(files)), counts)
        return fields

    def _read_angles(self, rooms: Sequence[str]) -> dict[str, float]:
        """Angle in degrees of each room."""
        angles = {}
        for area in dict.fromkeys(room.split("/")[0] for room in rooms):
            path = self.root / area / f"{area}_alignmentAngle.txt"
            with at_start(fix="add the file, or set data.align=False"):
                for number, line in enumerate(read_text(path).splitlines(), 1):
                    words = line.split()
                    if not words or words[0].startswith("#"):
                        continue
                    try:
                        room, angle = words
                        angles[f"{area}/{room}"] = float(angle)
                    except ValueError as error:
                        raise UnreadableFileError(path, f"line {number}: {error}") from error
        without = [room for room in rooms if room not in angles]
        if without:
            raise UsageError(f"no alignment angle for {without[0]}", fix="set data.align=False")
        prepared = [room for room in rooms if (self.root / room / "coord.npy").is_file()]
        if prepared:
            raise UsageError(
                f"data.align=True, but {prepared[0]} is prepared and may be turned already",
                fix="set data.align=False",
            )
        return angles


def read_points(path: Path, repair: bool = False) -> np.ndarray:
    """(N, 6) float64 x y z r g b of an object's text file.

    Args:
        path: the file.
        repair: whether to mend stray bytes.

    Raises:
        UnreadableFileError: missing, empty, a stray byte, or a line that is not six numbers.
    """
    data = read_bytes(path)
    if not data.strip():
        raise UnreadableFileError(path, "it has no points")
    if data.translate(None, _NUMBER_BYTES):
        data = _without_stray_bytes(data, path, repair)
    try:
        rows = np.loadtxt(BytesIO(data), ndmin=2, comments=None)
    except ValueError:
        rows = np.empty((0, 0))
    if rows.shape[1] == 6 and np.isfinite(rows).all():
        return rows
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip() and _numbers(line) is None:
            raise UnreadableFileError(path, f"line {number}: {line[:60]!r} is not six numbers")
    raise UnreadableFileError(path, "numpy cannot read it as six columns of numbers")


def about_centre(points: np.ndarray, angle: float) -> np.ndarray:
    """Pose that turns a room by its alignment angle, about the middle of its extent.

    Args:
        points: (N, 3).
        angle: degrees, as the data set lists it; the room is turned by 360 - angle.
    """
    turn = np.radians(360 - angle)
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    centre = (points.max(0).astype(np.float64) + points.min(0)) / 2
    pose[:3, 3] = centre - pose[:3, :3] @ centre
    return pose


def _without_stray_bytes(data: bytes, path: Path, repair: bool) -> bytes:
    lines = data.split(b"\n")
    stray = re.compile(b"[^" + re.escape(_NUMBER_BYTES) + b"]")
    for number, line in enumerate(lines, 1):
        bad = stray.search(line)
        if bad is None:
            continue
        what = f"line {number}: stray byte 0x{bad.group()[0]:02x} in {line[:60]!r}"
        if not repair:
            raise UnreadableFileError(path, what + "; repair=True mends it")
        mended = [stray.sub(by, line) for by in (b" ", b"")]
        fitting = [candidate for candidate in mended if _numbers(candidate) is not None]
        if not fitting:
            raise UnreadableFileError(path, what + "; without it the line is not six numbers")
        lines[number - 1] = fitting[0]
    return b"\n".join(lines)


def _numbers(line: bytes) -> list[float] | None:
    words = line.split()
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    return values if len(values) == 6 and np.isfinite(values).all() else None


def _objects(room: Path) -> list[Path]:
    return sorted((room / "Annotations").glob("*.txt"), key=lambda path: natural(path.name))


def _read_arrays(room: Path) -> Fields:
    """Arrays of a prepared room by role."""
    paths = {name: room / f"{name}.npy" for name in _ARRAYS}
    arrays = {name: load_array(path) for name, path in paths.items() if path.exists()}
    count = len(arrays["coord"])
    fields: Fields = {}
    for name, roles in (("coord", POSITION), ("color", COLOUR), ("normal", NORMAL)):
        if name in arrays:
            if arrays[name].shape != (count, 3):
                reason = f"{arrays[name].shape} for {count} points, expected ({count}, 3)"
                raise UnreadableFileError(room / f"{name}.npy", reason)
            fields |= {role: arrays[name][:, i] for i, role in enumerate(roles)}
    for name, role in (("segment", "label"), ("instance", "instance")):
        if name in arrays:
            if arrays[name].size != count:
                reason = f"{arrays[name].size} values for {count} points"
                raise UnreadableFileError(room / f"{name}.npy", reason)
            fields[role] = arrays[name].reshape(-1)
    return fields
