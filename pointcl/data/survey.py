"""A look at some scans of a data set: are they readable, and do their cameras see them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data.scan import IGNORE, Scan
from pointcl.sensors.camera import Camera
from pointcl.sensors.pose import compose, inverse, move

if TYPE_CHECKING:
    from pointcl.data.base import ScanDataset


@dataclass
class ScanReport:
    """What a look at some scans of a data set found.

    Attributes:
        total: scans of the data set.
        points: of each scan that was read.
        labelled: class name -> points.
        ignored: points with the label 255.
        seen: camera name -> share of the points that fall into its picture.
        bad: unreadable files and why, with ``on_error="skip"``.
    """

    total: int
    points: list[int] = field(default_factory=list)
    labelled: dict[str, int] = field(default_factory=dict)
    ignored: int = 0
    seen: dict[str, float] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        low, high = min(self.points, default=0), max(self.points, default=0)
        lines = [f"{len(self.points)} of {self.total} scans read, {low} to {high} points"]
        if self.seen:
            shares = ", ".join(f"{name} {share:.1%}" for name, share in self.seen.items())
            lines.append(f"points in the picture: {shares}")
        if self.ignored or sum(self.labelled.values()):
            known = sum(1 for count in self.labelled.values() if count)
            share = self.ignored / sum(self.points)
            lines.append(f"{known} of {len(self.labelled)} classes occur, {share:.1%} ignored")
        return "\n".join(lines + [f"unreadable: {line}" for line in self.bad])


def survey(
    dataset: ScanDataset, rows: Sequence[int], skip: bool = False, images: bool = True
) -> ScanReport:
    """Read these scans and look whether each camera sees points of them.

    Raises:
        UsageError: an unreadable scan or picture unless ``skip``, none readable, or a camera that
            sees no point of any scan.
    """
    report = ScanReport(len(dataset), labelled=dict.fromkeys(dataset.classes, 0))
    seen: dict[str, _Seen] = {}
    for row in rows:
        try:
            scan = dataset.load(row)
            _require_points(scan)
            for camera in scan.cameras if images else ():
                _require_picture(camera)
        except UnreadableFileError as error:
            if not skip:
                raise
            report.bad.append(f"{error.path}: {error.reason}")
            continue
        report.points.append(len(scan))
        if scan.label is not None:
            known = scan.label[scan.label != IGNORE]
            counts = np.bincount(known, minlength=len(dataset.classes)).tolist()
            for name, many in zip(dataset.classes, counts, strict=True):
                report.labelled[name] += many
            report.ignored += len(scan) - len(known)
        for camera in scan.cameras:
            seen.setdefault(camera.name, _Seen(scan.name)).add(scan, camera)
    if not report.points:
        raise UsageError(f"none of the {len(rows)} scans looked at can be read: {report.bad[0]}")
    for name, found in seen.items():
        found.require(name)
        report.seen[name] = found.inside / found.points
    return report


def count_seen(scan: Scan, camera: Camera) -> tuple[int, int]:
    """How many points lie before the camera, and how many of them fall into its picture.

    A pinhole's answer: the lens's distortion is left out.
    """
    to_camera = inverse(camera.to_ego)
    if scan.ego_to_world is not None and camera.ego_to_world is not None:
        to_camera = compose(scan.ego_to_world, inverse(camera.ego_to_world), to_camera)
    finite = scan.points[np.isfinite(scan.points).all(1)]
    at = move(compose(scan.to_ego, to_camera), finite)
    at = at[at[:, 2] > 0]
    pixel = at @ camera.intrinsics.T
    pixel = pixel[:, :2] / pixel[:, 2:]
    height, width = camera.size
    return len(at), int(((pixel >= 0) & (pixel < [width, height])).all(1).sum())


@dataclass
class _Seen:
    """What one camera sees, over several scans."""

    example: str
    points: int = 0
    before: int = 0
    inside: int = 0

    def add(self, scan: Scan, camera: Camera) -> None:
        before, inside = count_seen(scan, camera)
        self.points += len(scan)
        self.before += before
        self.inside += inside

    def require(self, camera: str) -> None:
        if self.inside:
            return
        where = "no point falls into its picture" if self.before else "every point lies behind it"
        raise UsageError(
            f"camera {camera} of {self.example}: {where}",
            needed="a calibration that leads from points to camera (x right, y down, z forward)",
            fix="look for an inverted or swapped transform, or another camera's intrinsics",
        )


def _require_points(scan: Scan) -> None:
    if not np.isfinite(scan.points).all(1).any():
        raise UnreadableFileError(scan.name, "the scan has no finite point")


def _require_picture(camera: Camera) -> None:
    try:
        camera.image()
    except UnreadableFileError:
        raise
    except ValueError as error:
        raise UnreadableFileError(str(camera.source), str(error)) from error
