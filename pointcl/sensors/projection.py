"""From the points of a scan to the pixels of a camera, with the reason for each point left out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from densecl.errors import UsageError
from pointcl.rows import every
from pointcl.sensors.camera import Camera
from pointcl.sensors.distortion import distort, undistort
from pointcl.sensors.occlusion import Occlusion
from pointcl.sensors.pose import compose, inverse, move

if TYPE_CHECKING:
    from pointcl.data.scan import Scan


class Reason(IntEnum):
    """Why a point has no pixel: the first of these that holds, in this order, else ``KEPT``.

    ``TIME_GAP``: the picture was taken too long before or after the point. ``OUT_OF_FRAME``
    includes directions for which the lens model does not hold. ``EGO_MASK``: the pixel shows the
    vehicle itself.
    """

    KEPT = 0
    NOT_FINITE = 1
    TIME_GAP = 2
    BEHIND = 3
    TOO_NEAR = 4
    OUT_OF_FRAME = 5
    EGO_MASK = 6
    OCCLUDED = 7


@dataclass(frozen=True)
class Projection:
    """A cloud in the picture of one camera; row n belongs to point n.

    Attributes:
        pixel: (N, 2) float64 continuous (x, y), the centre of (row r, column c) is
            (c + 0.5, r + 0.5); NaN where there is none: points that are not finite, behind the
            camera, or beyond the lens model.
        depth: (N,) float64 metres along the optical axis, negative behind, NaN if not finite.
        reason: (N,) int8 of ``Reason``.
        size: (H, W) of the picture.
        ego_motion: whether the vehicle's motion between sweep and picture is in the chain. False
            where it was not wanted or where a pose is unknown.
        compensated: as the scan's; False = points are where they were at their own firing time.
    """

    pixel: np.ndarray
    depth: np.ndarray
    reason: np.ndarray
    size: tuple[int, int]
    ego_motion: bool
    compensated: bool = True

    def __len__(self) -> int:
        return len(self.reason)

    @property
    def kept(self) -> np.ndarray:
        """(N,) bool."""
        return self.reason == Reason.KEPT

    def counts(self) -> dict[str, int]:
        """Points per reason, every reason, summing to N."""
        count = np.bincount(self.reason, minlength=len(Reason))
        return {reason.name.lower(): int(count[reason]) for reason in Reason}


def scan_to_camera(scan: Scan, camera: Camera, *, ego_motion: bool = True) -> np.ndarray:
    """(4, 4) points of the scan -> camera (right, down, forward) when it fired.

    scan -> ego at the sweep -> world -> ego at the picture -> camera. Without motion, or where a
    pose is unknown, the two ego frames are taken as one.
    """
    return _chain(scan.to_ego, scan.ego_to_world if ego_motion else None, camera)


def project(
    scan: Scan,
    camera: Camera,
    *,
    near: float = 1.0,
    border: float = 0.0,
    occlusion: Occlusion | None = None,
    max_gap: float | None = None,
    ego_motion: bool = True,
) -> Projection:
    """Project a scan into a picture.

    Args:
        scan: with the poses that are known.
        camera: of the scan, or of another one nearby.
        near: metres of depth below which a point is too near, > 0.
        border: pixels along the edges of the picture that do not count; 0.5 is SLidR's rule.
        occlusion: how to find points that the camera cannot see; None = keep them.
        max_gap: seconds between point and picture, None = any. With ``scan.time`` the firing time
            of each point counts, else the scan's timestamp.
        ego_motion: False leaves the vehicle's motion between sweep and picture out.

    Raises:
        ValueError: ``near`` or ``border`` is out of range.
        UsageError: ``max_gap`` without both timestamps.

    Source: Sautier et al. 2022 (SLidR), section 3.1, and the devkit of nuScenes, whose chain this
    is.
    """
    return project_points(
        scan.points,
        camera,
        to_ego=scan.to_ego,
        ego_to_world=scan.ego_to_world if ego_motion else None,
        near=near,
        border=border,
        occlusion=occlusion,
        late=None if max_gap is None else np.abs(_time_gap(scan, camera)) > max_gap,
        compensated=scan.compensated,
    )


def project_points(
    points: np.ndarray,
    camera: Camera,
    *,
    to_ego: np.ndarray,
    ego_to_world: np.ndarray | None = None,
    near: float = 1.0,
    border: float = 0.0,
    occlusion: Occlusion | None = None,
    late: np.ndarray | None = None,
    compensated: bool = True,
) -> Projection:
    """``project`` for a bare cloud.

    Args:
        points: (N, 3) float in the frame of the sensor; its origin is where the LiDAR stands.
        camera: the picture.
        to_ego: (4, 4) sensor -> ego.
        ego_to_world: (4, 4) at the sweep; None = no motion.
        near, border, occlusion: as ``project``.
        late: (N,) bool, True where the picture is too far away in time.
        compensated: passed on to the result.

    Raises:
        ValueError: ``near`` or ``border`` is out of range, or the intrinsics are no camera's.
    """
    if not (0 < near < np.inf and 0 <= border < min(camera.size) / 2):
        raise ValueError(f"near must be > 0 and border 0 to half a side, got {near}, {border}")
    chain = _chain(to_ego, ego_to_world, camera)
    xyz = np.asarray(points, np.float64)
    reason = np.full(len(xyz), Reason.KEPT, np.int8)
    # 0 x infinity is NaN: a coordinate that is not finite never leaves a finite depth
    with np.errstate(invalid="ignore"):
        local = move(chain, xyz)
        depth = np.where(np.isfinite(local[:, 2]), local[:, 2], np.nan)
        front = np.flatnonzero(depth > 0)
        reason[depth <= near] = Reason.TOO_NEAR
        reason[depth <= 0] = Reason.BEHIND
    if late is not None:
        reason[late] = Reason.TIME_GAP
    reason[np.isnan(depth)] = Reason.NOT_FINITE
    shown = _to_pixels(local[front], camera)
    pixel = np.full((len(xyz), 2), np.nan)
    pixel[front] = shown

    height, width = camera.size
    clear = reason[front] == Reason.KEPT
    with np.errstate(invalid="ignore"):
        inside = every((shown >= border) & (shown < (width - border, height - border)))
    reason[front[clear & ~inside]] = Reason.OUT_OF_FRAME
    if camera.ego_mask is not None:
        seen = np.flatnonzero(clear & inside)
        x, y = shown[seen].astype(np.int64).T
        reason[front[seen[camera.ego_mask[y, x]]]] = Reason.EGO_MASK
    if occlusion is not None:
        screen = front[clear]
        focal = (camera.intrinsics[0, 0], camera.intrinsics[1, 1])
        growth = np.linalg.norm(xyz[screen], axis=1) / depth[screen]
        hidden = occlusion.hidden(pixel[screen], depth[screen], camera.size, focal, growth)
        covered = screen[hidden]
        reason[covered[reason[covered] == Reason.KEPT]] = Reason.OCCLUDED
    moved = ego_to_world is not None and camera.ego_to_world is not None
    return Projection(pixel, depth, reason, camera.size, moved, compensated)


def unproject(pixel: np.ndarray, depth: np.ndarray, camera: Camera) -> np.ndarray:
    """Camera points (..., 3), right, down, forward, of pixels (..., 2) at depths (...).

    The inverse of the last step of ``project``; ``move(inverse(scan_to_camera(...)), ...)`` leads
    on to the scan. NaN where the lens shows nothing.
    """
    k = _pinhole(camera)
    shifted = np.asarray(pixel, np.float64) - k[:2, 2]
    y = shifted[..., 1] / k[1, 1]
    plane = np.stack([(shifted[..., 0] - k[0, 1] * y) / k[0, 0], y], -1)
    if camera.distortion is not None:
        plane = undistort(plane, camera.distortion)
    direction = np.concatenate([plane, np.ones_like(plane[..., :1])], -1)
    return direction * np.asarray(depth, np.float64)[..., None]


def _time_gap(scan: Scan, camera: Camera) -> np.ndarray:
    """(N,) seconds from the picture to each point."""
    if scan.timestamp is None or camera.timestamp is None:
        raise UsageError(
            f"max_gap for scan {scan.name} and camera {camera.name}",
            needed="timestamps of both",
            fix="set max_gap=None",
        )
    gap = np.full(len(scan), scan.timestamp - camera.timestamp)
    return gap if scan.time is None else gap + scan.time


def _to_pixels(local: np.ndarray, camera: Camera) -> np.ndarray:
    k = _pinhole(camera)
    plane = local[:, :2] / local[:, 2:]
    if camera.distortion is not None:
        plane = distort(plane, camera.distortion)
    return plane @ k[:2, :2].T + k[:2, 2]


def _pinhole(camera: Camera) -> np.ndarray:
    k = camera.intrinsics
    if k[1, 0] != 0 or not np.array_equal(k[2], (0, 0, 1)):
        raise ValueError(f"camera {camera.name}: intrinsics are not upper triangular with 1:\n{k}")
    return k


def _chain(to_ego: np.ndarray, ego_to_world: np.ndarray | None, camera: Camera) -> np.ndarray:
    steps = [to_ego]
    if ego_to_world is not None and camera.ego_to_world is not None:
        steps += [ego_to_world, inverse(camera.ego_to_world)]
    return compose(*steps, inverse(camera.to_ego))
