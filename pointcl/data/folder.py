"""A folder of a user's own scans, read as it is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from densecl.data.base import fingerprint_files, require_folder
from densecl.data.decode import UnreadableFileError
from densecl.data.folder import scan as files_below
from densecl.data.names import Names
from densecl.errors import UsageError
from pointcl.data.base import ScanDataset
from pointcl.data.checks import read_records, read_rows
from pointcl.data.classes import ClassMap
from pointcl.data.formats.arrays import load_array
from pointcl.data.formats.binary import infer_columns
from pointcl.data.formats.cloud import Cloud, whole
from pointcl.data.formats.fields import Columns, column_names
from pointcl.data.formats.read import EXTENSIONS, read_cloud
from pointcl.data.scan import IGNORE, Scan
from pointcl.registry import DATASETS

UP = {
    "z": np.eye(4),
    "y": np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]),
    "-y": np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]]),
}
"""Axis of the files that points up -> pose from the files' frame to one with z up."""

_LABEL_FILES = (".label", ".npy", ".txt")


@DATASETS.register_module()
class ScanFolder(ScanDataset):
    """All point files of a folder in natural order (scan 2 before scan 10), of mixed formats.

    A sub-folder is a sequence. Points far from the origin (a survey in UTM) are brought near it by
    whole metres per file, which ``ego_to_world`` carries; where nothing was subtracted it is None,
    except for ``.las`` and ``.laz``, whose coordinates are the world's. Rows that are not finite
    stay in their place. Fields of a file that mean nothing here are left out; ``fields(i)`` lists
    them.

    Intensity is divided by ``intensity_scale``; without it, 8 and 16 unsigned bits by their largest
    value, and anything else must lie in [0, 1]. Colours become uint8, see
    ``pointcl.data.formats.cloud.scale_colour``.

    Args:
        root: the folder.
        recursive: also its sub-folders.
        columns: what unnamed columns are, e.g. "xyzi", "xyzrgb" or ["x", "y", "z", "intensity",
            "ring"], or {name in the file: meaning}; see ``read_cloud``. None = by the usual names;
            of ``.bin`` files the first one decides for all.
        intensity_scale: the intensity that becomes 1.
        classes: class names, to read labels; None = no labels.
        labels: folder of label files with the scans' names: ``.label`` (SemanticKITTI's 32 bits:
            the lower half the class, the upper the instance), ``.npy`` or ``.txt``. None = the
            labels are a field of the scans' own files.
        learning_map: raw id -> class id or 255 = ignore; None = the ids are the classes, and 255
            is ignored. Negative ids are ignored always.
        palette: RGB colour of each class.
        extensions: endings of the files to read.
        up: axis of the files that points up: "z"; "y" (z backward); or "-y", a camera's frame (x
            right, z forward). The points are turned to z up, and ``to_ego`` turns back.
        zero_is_missing: points at exactly (0, 0, 0) are no returns: they become NaN.
        on_error: "raise" or "skip", see ``ScanDataset``.

    Attributes:
        ignored: ending -> number of files that were not read.

    Raises:
        UsageError: no such folder, no scan in it, columns that are not clear, a scan without label
            file, or an unknown option.
    """

    def __init__(
        self,
        root: str | Path,
        recursive: bool = True,
        columns: Columns = None,
        intensity_scale: float | None = None,
        classes: Sequence[str] | None = None,
        labels: str | Path | None = None,
        learning_map: Mapping[int, int] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        extensions: Sequence[str] = EXTENSIONS,
        up: str = "z",
        zero_is_missing: bool = False,
        on_error: str = "raise",
    ) -> None:
        self.root = require_folder(root, "data.root")
        if up not in UP:
            raise UsageError(f"data.up={up!r}", needed=f"one of {', '.join(map(repr, UP))}")
        if intensity_scale is not None and not intensity_scale > 0:
            raise UsageError(f"data.intensity_scale={intensity_scale}", needed="a number above 0")
        if labels is not None and classes is None:
            raise UsageError("data.labels without data.classes", fix="name the classes")
        self.up, self.intensity_scale, self.zero_is_missing = up, intensity_scale, zero_is_missing
        label_root = None if labels is None else require_folder(labels, "data.labels")
        names, self.ignored = _find(self.root, recursive, extensions, label_root)
        self._names = Names.of(names)
        self._columns = columns
        self._bin_columns = column_names(columns) or _columns_of_bins(self.root, names)
        self._map = None if classes is None else _class_map(classes, learning_map, palette)
        if self._map is not None:
            self.classes, self.palette = self._map.classes, self._map.palette
        self._label_root, self._label_files = label_root, None
        if label_root is not None:
            self._label_files = Names.of(_pair(names, label_root))
        super().__init__([_parent(name) for name in names], on_error)

    def name(self, index: int) -> str:
        """Path of a scan relative to the folder."""
        return self._names[index]

    def load(self, index: int) -> Scan:
        """Read one scan."""
        path = self.root / self.name(index)
        cloud = self._read(path)
        points, normal, turn = cloud.points, cloud.normal, UP[self.up]
        if self.zero_is_missing:
            points[(points + cloud.offset == 0).all(1)] = np.nan
        if self.up != "z":
            points = np.ascontiguousarray(points @ turn[:3, :3].T.astype(np.float32))
            normal = None if normal is None else normal @ turn[:3, :3].T.astype(np.float32)
        world = None
        if cloud.offset.any() or path.suffix.lower() in (".las", ".laz"):
            world = np.eye(4)
            world[:3, 3] = cloud.offset
        label, instance = self._labels(index, cloud, path)
        return Scan(
            points,
            source=index,
            name=self.name(index),
            intensity=cloud.intensity,
            colour=cloud.colour,
            normal=normal,
            ring=cloud.ring,
            time=cloud.time,
            label=label,
            instance=None if instance is None else np.where(instance < 0, -1, instance),
            sequence=self.sequences[index],
            to_ego=turn.T,
            ego_to_world=world,
        )

    def fields(self, index: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Fields of a file that are read, and those that are left out."""
        cloud = self._read(self.root / self.name(index))
        return cloud.used, cloud.unused

    def fingerprint(self) -> str:
        """Hash of the names, of some file sizes, and of what changes the scans."""
        settings: list[object] = [
            self._columns,
            self.intensity_scale,
            self.up,
            self.zero_is_missing,
        ]
        if self._map is not None:
            settings += [self.classes, sorted(self._map.learning_map.items())]
        if self._label_files is not None and self._label_root is not None:
            settings.append(fingerprint_files(self._label_root, self._label_files))
        return fingerprint_files(self.root, self._names, settings)

    def _read(self, path: Path) -> Cloud:
        unnamed = path.suffix.lower() == ".bin"
        columns = self._bin_columns if unnamed else self._columns
        return read_cloud(path, columns, self.intensity_scale)

    def _labels(
        self, index: int, cloud: Cloud, path: Path
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        label, instance = cloud.label, cloud.instance
        if self._map is None:
            return None, instance
        if self._label_files is not None and self._label_root is not None:
            path = self._label_root / self._label_files[index]
            label, instance = read_label_file(path)
            if len(label) != len(cloud):
                reason = f"{len(label)} labels for the {len(cloud)} points of {self.name(index)}"
                raise UnreadableFileError(path, reason)
        if label is None:
            reason = f"no field of labels; it has {', '.join(cloud.used + cloud.unused)}"
            raise UnreadableFileError(path, reason)
        mapped = np.full(len(label), IGNORE, np.int64)
        known = label >= 0
        mapped[known] = self._map(label[known], path)
        return mapped, instance


def read_label_file(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """(N,) int64 raw ids of a ``.label``, ``.npy`` or ``.txt`` file; of the first also instances.

    Raises:
        UnreadableFileError: missing, empty, truncated, or not one whole number per point.
    """
    ending = path.suffix.lower()
    if ending == ".label":
        raw = read_records(path, 1, "<u4")[:, 0].astype(np.int64)
        return raw & 0xFFFF, raw >> 16
    if ending == ".txt":
        return whole(read_rows(path, 1)[:, 0], "label", path), None
    values = load_array(path)
    if values.size != max(values.shape, default=0):
        raise UnreadableFileError(path, "not one label per point: (N,) or (N, 1)")
    return whole(values.reshape(-1), "label", path), None


def natural(name: str) -> list[tuple[int, str, int]]:
    """Sort key: numbers in a name by their value, the rest by its letters."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, "", int(part)) if part.isdecimal() else (1, part, 0) for part in parts]


def _find(
    root: Path, recursive: bool, extensions: Sequence[str], without: Path | None
) -> tuple[list[str], dict[str, int]]:
    """Scans in natural order, and a count of all other files by their ending."""
    unknown = [ending for ending in extensions if ending.lower() not in EXTENSIONS]
    if unknown:
        raise UsageError(
            f"data.extensions: no format of points ends in {unknown[0]!r}",
            needed="of " + ", ".join(EXTENSIONS),
        )
    wanted = tuple(ending.lower() for ending in extensions)
    names = files_below(root, ("",), recursive)
    if without is not None and root.resolve() in without.resolve().parents:
        inside = without.resolve().relative_to(root.resolve()).as_posix() + "/"
        names = [name for name in names if not name.startswith(inside)]
    scans = [name for name in names if name.lower().endswith(wanted)]
    others = Counter(
        PurePosixPath(name).suffix.lower() for name in names if not name.lower().endswith(wanted)
    )
    if not scans:
        found = ", ".join(f"{many} of {ending or 'no ending'!r}" for ending, many in others.items())
        raise UsageError(
            f"no scans in {root}" + (f"; it holds {found}" if found else ""),
            needed="files ending in " + ", ".join(wanted),
            fix="check data.root" + ("" if recursive else ", or set data.recursive=True"),
        )
    return sorted(scans, key=natural), dict(others)


def _columns_of_bins(root: Path, names: Sequence[str]) -> tuple[str, ...] | None:
    """Columns of the first readable ``.bin`` file."""
    for name in names:
        if name.lower().endswith(".bin"):
            try:
                return infer_columns(root / name)
            except UnreadableFileError:
                continue  # reading that scan will say so
    return None


def _class_map(
    classes: Sequence[str],
    learning_map: Mapping[int, int] | None,
    palette: Sequence[Sequence[int]] | None,
) -> ClassMap:
    if learning_map is None:
        learning_map = {index: index for index in range(len(classes))} | {IGNORE: IGNORE}
    return ClassMap(classes, learning_map, palette)


def _pair(names: Sequence[str], label_root: Path) -> list[str]:
    """Label file of each scan: the same path but for the ending."""
    files = files_below(label_root, _LABEL_FILES)
    by_stem = {_stem(file): file for file in files}
    missing = [name for name in names if _stem(name) not in by_stem]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(names)} scans have no label file, e.g. {missing[0]}",
            needed=f"{_stem(missing[0])} with one of {', '.join(_LABEL_FILES)} in {label_root}",
            fix="add the files, or leave data.labels out",
        )
    return [by_stem[_stem(name)] for name in names]


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _parent(name: str) -> str:
    parent = PurePosixPath(name).parent.as_posix()
    return "" if parent == "." else parent
