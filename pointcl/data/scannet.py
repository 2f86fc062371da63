"""ScanNet's reconstructed rooms: mesh vertices with labels, instances and mesh segments."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from densecl.data.base import fingerprint_files, require_file, require_folder
from densecl.data.decode import UnreadableFileError
from densecl.data.names import Names
from densecl.errors import UsageError
from pointcl.data.base import ScanDataset, read_names
from pointcl.data.checks import at_start, read_text, require_rigid
from pointcl.data.formats.ply import read_vertices
from pointcl.data.formats.read import read_cloud
from pointcl.data.scan import IGNORE, Scan
from pointcl.registry import DATASETS
from pointcl.sensors.pose import inverse, move

NYU40 = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)
"""NYU40 ids of the benchmark's 20 classes, in their order."""

CLASSES = (
    "wall",
    "floor",
    "cabinet",
    "bed",
    "chair",
    "sofa",
    "table",
    "door",
    "window",
    "bookshelf",
    "picture",
    "counter",
    "desk",
    "curtain",
    "refrigerator",
    "shower curtain",
    "toilet",
    "sink",
    "bathtub",
    "otherfurniture",
)
PALETTE = np.array(
    [
        (174, 199, 232),
        (152, 223, 138),
        (31, 119, 180),
        (255, 187, 120),
        (188, 189, 34),
        (140, 86, 75),
        (255, 152, 150),
        (214, 39, 40),
        (197, 176, 213),
        (148, 103, 189),
        (196, 156, 148),
        (23, 190, 207),
        (247, 182, 210),
        (219, 219, 141),
        (255, 127, 14),
        (158, 218, 229),
        (44, 160, 44),
        (112, 128, 144),
        (227, 119, 194),
        (82, 84, 163),
    ],
    np.uint8,
)

_MESH = "_vh_clean_2.ply"
_LABELS = "_vh_clean_2.labels.ply"
_SEGMENTS = "_vh_clean_2.0.010000.segs.json"
_GROUPS = ".aggregation.json"
_TSV = "scannetv2-labels.combined.tsv"


@DATASETS.register_module()
class ScanNet(ScanDataset):
    """One scan per reconstruction: the vertices of ``SCENE_vh_clean_2.ply`` with their colours.

    The labels come from ``SCENE_vh_clean_2.labels.ply`` (NYU40 ids) or, where that is missing, from
    the aggregation of segments and ``scannetv2-labels.combined.tsv``; instances always from the
    aggregation. ``regions["mesh"]`` are the segments of the mesh, renumbered from 0. Colours stay
    as they are, there is no intensity. The world is the one of the recording, which the camera
    poses of its frames lead to as well (``RGBDFrames``). A sequence is a place: ``scene0000`` for
    ``scene0000_00`` and ``scene0000_01``.

    Args:
        root: folder that holds the scenes' folders, at any depth of up to two (``scans/SCENE``).
        split: names of the scenes, or a text file with one a line (``scannetv2_train.txt``); None =
            all that are there.
        labels: whether to read labels and instances.
        segments: whether to read the segments of the mesh.
        tsv: the table of categories; None = it is looked for in the root and its parent.
        align: turn the points by the scene's axis alignment, so that walls are parallel to the
            axes; ``ego_to_world`` turns them back.
        on_error: "raise" or "skip", see ``ScanDataset``.

    Raises:
        UsageError: no such folder, no scene in it or not those of the split, or a damaged table.

    Source: Dai et al. 2017 (ScanNet), and its benchmark's 20 classes.
    """

    classes: tuple[str, ...] = CLASSES
    palette = PALETTE

    def __init__(
        self,
        root: str | Path,
        split: str | Path | Sequence[str] | None = None,
        labels: bool = True,
        segments: bool = True,
        tsv: str | Path | None = None,
        align: bool = False,
        on_error: str = "raise",
    ) -> None:
        self.root = require_folder(root, "data.root")
        found = {
            path.name.removesuffix(_MESH): path.parent.relative_to(self.root).as_posix()
            for depth in ("", "*/", "*/*/")
            for path in self.root.glob(f"{depth}*{_MESH}")
        }
        if not found:
            raise UsageError(
                f"no scenes in {self.root}",
                needed=f"folders like scene0000_00 with scene0000_00{_MESH}",
                fix="check data.root",
            )
        scenes = sorted(found) if split is None else read_names(split, "data.split")
        missing = [scene for scene in scenes if scene not in found]
        if missing:
            raise UsageError(
                f"{len(missing)} of the {len(scenes)} scenes of data.split are not in {self.root}, "
                f"e.g. {missing[0]}",
                fix="download them, or list only those that are there",
            )
        self._scenes = Names.of(scenes)
        self._folders = [self.root / found[scene] for scene in scenes]
        self.labels, self.segments, self.align = labels, segments, align
        if not labels:
            self.classes, self.palette = (), np.zeros((0, 3), np.uint8)
        self._to_nyu40 = self._read_tsv(tsv) if labels else None
        super().__init__([scene.rsplit("_", 1)[0] for scene in scenes], on_error)

    def name(self, index: int) -> str:
        """Name of the scene."""
        return self._scenes[index]

    def load(self, index: int) -> Scan:
        """Read one scene."""
        cloud = read_cloud(self._file(index, _MESH))
        scan = Scan(
            cloud.points,
            source=index,
            name=self.name(index),
            colour=cloud.colour,
            normal=cloud.normal,
            sequence=self.sequences[index],
            ego_to_world=np.eye(4),
        )
        segments = self._segments(index, len(scan))
        if self.segments:
            if segments is None:
                raise UnreadableFileError(self._file(index, _SEGMENTS), "No such file or directory")
            scan.regions["mesh"] = np.unique(segments, return_inverse=True)[1]
        if self.labels:
            scan.label, scan.instance = self._annotation(index, len(scan), segments)
        if self.align:
            pose = self.axis_alignment(index)
            scan.points = move(pose, scan.points).astype(np.float32)
            if scan.normal is not None:
                scan.normal = scan.normal @ pose[:3, :3].T.astype(np.float32)
            scan.ego_to_world = inverse(pose)
        return scan

    def axis_alignment(self, index: int) -> np.ndarray:
        """(4, 4) float64 world of the recording -> axes parallel to the walls.

        Raises:
            UnreadableFileError: the scene's text file is missing or has no such line (scenes of
                the test set have none).
        """
        path = self._file(index, ".txt")
        for line in read_text(path).splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "axisAlignment":
                try:
                    pose = np.array([float(word) for word in value.split()]).reshape(4, 4)
                except ValueError as error:
                    raise UnreadableFileError(path, f"axisAlignment: {error}") from error
                return require_rigid(pose, path, "axisAlignment")
        raise UnreadableFileError(path, "it has no axisAlignment; read the scene with align=False")

    def fingerprint(self) -> str:
        """Hash of the scenes, of some mesh sizes, and of the settings."""
        files = (self._file(row, _MESH).relative_to(self.root) for row in range(len(self)))
        settings = (self.labels, self.segments, self.align)
        return fingerprint_files(self.root, Names.of(file.as_posix() for file in files), settings)

    def _file(self, index: int, ending: str) -> Path:
        return self._folders[index] / f"{self.name(index)}{ending}"

    def _segments(self, index: int, count: int) -> np.ndarray | None:
        """(N,) int64 segment of each vertex as the file has it, None without a file."""
        path = self._file(index, _SEGMENTS)
        if not (self.segments or self.labels) or not path.exists():
            return None
        segments = np.asarray(_entry(path, "segIndices"))
        if segments.shape != (count,) or segments.dtype.kind != "i":
            reason = f"segIndices: {len(segments)} segment ids for {count} vertices"
            raise UnreadableFileError(path, reason)
        return segments.astype(np.int64)

    def _annotation(
        self, index: int, count: int, segments: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Class and instance of each vertex."""
        label_file, group_file = self._file(index, _LABELS), self._file(index, _GROUPS)
        nyu40 = instance = None
        if group_file.exists() and segments is not None:
            nyu40, instance = self._by_groups(group_file, segments, not label_file.exists())
        if label_file.exists():
            values = read_vertices(label_file)
            if "label" not in (values.dtype.names or ()):
                raise UnreadableFileError(label_file, "its vertices have no label")
            if len(values) != count:
                reason = f"{len(values)} labels for {count} vertices"
                raise UnreadableFileError(label_file, reason)
            nyu40 = values["label"].astype(np.int64)
        if nyu40 is None:
            raise UnreadableFileError(
                label_file,
                f"no labels: neither this file, nor {group_file.name} with {_SEGMENTS[1:]}; scenes "
                "of the test set are read with labels=False",
            )
        if nyu40.min() < 0 or nyu40.max() >= len(_CLASS_OF):
            bad = nyu40[(nyu40 < 0) | (nyu40 >= len(_CLASS_OF))][0]
            raise UnreadableFileError(label_file, f"label {bad}, NYU40 ids are 0 to 40")
        return _CLASS_OF[nyu40], instance

    def _by_groups(
        self, path: Path, segments: np.ndarray, with_label: bool
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """NYU40 id (if asked for) and instance of each vertex, from the groups of segments."""
        ids, segment = np.unique(segments, return_inverse=True)
        instance = np.full(len(ids), -1, np.int64)
        nyu40 = np.zeros(len(ids), np.int64)
        for number, group in enumerate(_entry(path, "segGroups")):
            try:
                members, category = group["segments"], group["label"]
                which = int(group.get("objectId", number))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise UnreadableFileError(path, f"segGroups[{number}]: no {error}") from error
            rows = np.isin(ids, members)
            instance[rows] = which
            if with_label:
                nyu40[rows] = self._nyu40_of(category, path)
        return (nyu40[segment] if with_label else None), instance[segment]

    def _nyu40_of(self, category: str, path: Path) -> int:
        if self._to_nyu40 is None:
            raise UnreadableFileError(
                path, f"its categories need {_TSV}; lay it into {self.root} or set data.tsv"
            )
        if category not in self._to_nyu40:
            raise UnreadableFileError(path, f"category {category!r} is not in {_TSV}")
        return self._to_nyu40[category]

    def _read_tsv(self, given: str | Path | None) -> dict[str, int] | None:
        """Raw category -> NYU40 id, None where there is no table."""
        places = [folder / _TSV for folder in (self.root, self.root.parent)]
        found = [place for place in places if place.is_file()]
        if given is None and not found:
            return None
        path = found[0] if given is None else require_file(given, "data.tsv")
        with at_start():
            rows = csv.DictReader(read_text(path).splitlines(), delimiter="\t")
            try:
                return {row["raw_category"]: int(row["nyu40id"]) for row in rows}
            except (KeyError, ValueError, TypeError) as error:
                reason = f"no table of raw_category and nyu40id ({error})"
                raise UnreadableFileError(path, reason) from error


_CLASS_OF = np.full(41, IGNORE, np.int64)
_CLASS_OF[list(NYU40)] = np.arange(len(NYU40))


def _entry(path: Path, key: str) -> list[Any]:
    """A list in a JSON file."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UnreadableFileError(path, f"no whole JSON file ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise UnreadableFileError(path, f"it has no list {key!r}")
    return content[key]
