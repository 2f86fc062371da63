"""Where a picture of a cloud is taken from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointcl.sensors.pose import inverse, move

NEAR = 0.05
"""Metres before the eye at which a perspective picture begins."""

REACH = 94.0
"""Per cent of the points that a picture is framed for; a LiDAR scan thins out far away."""

FILL = 0.94
"""Share of the picture that those points fill."""


@dataclass(frozen=True)
class Viewpoint:
    """A pinhole or a parallel projection, looking from one point at another.

    Attributes:
        eye: (3,) metres, where the picture is taken from.
        target: (3,) metres, the point in its middle.
        up: (3,) direction that points upwards in the picture.
        angle: degrees that the picture's height spans; 0 = parallel projection.
        span: metres that the picture's height spans in a parallel projection.
    """

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    angle: float = 40.0
    span: float = 0.0

    def __post_init__(self) -> None:
        forward = np.subtract(self.target, self.eye)
        length = float(np.linalg.norm(forward))
        if float(np.linalg.norm(np.cross(forward, self.up))) < 1e-9 * max(1.0, length):
            raise ValueError(f"{self.eye} to {self.target} leaves no direction across {self.up}")
        if self.parallel and not self.span > 0:
            raise ValueError(f"a parallel projection spans metres, got span={self.span}")
        if not 0 <= self.angle < 180:
            raise ValueError(f"a picture spans 0 < angle < 180 degrees, got {self.angle}")

    @property
    def parallel(self) -> bool:
        """Whether lengths look the same at every depth."""
        return self.angle == 0

    def pose(self) -> np.ndarray:
        """(4, 4) float64, points -> (right, down, forward) seen from the eye."""
        forward = np.subtract(self.target, self.eye).astype(np.float64)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        eye_to_points = np.eye(4)
        eye_to_points[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
        eye_to_points[:3, 3] = self.eye
        return inverse(eye_to_points)

    def focal(self, size: tuple[int, int]) -> float:
        """Pixels per metre of a parallel projection, else per unit of slope."""
        if self.parallel:
            return size[0] / self.span
        return float(size[0] / 2 / np.tan(np.radians(self.angle) / 2))

    def project(
        self, points: np.ndarray, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where points lie in the picture.

        Args:
            points: (N, 3) metres.
            size: (H, W) pixels.

        Returns:
            Pixels (N, 2) float64 as (x, y), the centre of (row r, column c) being
            (c + 0.5, r + 0.5), NaN behind the eye; depth (N,) metres along the view; and pixels
            a metre (N,) at that depth.
        """
        seen = move(self.pose(), points)
        depth = seen[:, 2]
        focal = self.focal(size)
        if self.parallel:
            scale = np.full(len(seen), focal)
        else:
            scale = np.full(len(seen), np.nan)
            ahead = depth > NEAR
            scale[ahead] = focal / depth[ahead]
        centre = np.array([size[1] / 2, size[0] / 2])
        with np.errstate(invalid="ignore"):
            return centre + seen[:, :2] * scale[:, None], depth, scale


def from_above(
    points: np.ndarray, size: tuple[int, int], *, reach: float = REACH, margin: float = 0.03
) -> Viewpoint:
    """Straight down, x to the right and y up, so that the middle ``reach`` per cent fit.

    Args:
        points: (N, 3) metres; rows that are not finite are left out.
        size: (H, W) of the picture.
        reach: per cent of the points along each axis.
        margin: share of the picture left free on every side.
    """
    low, high = bounds(points, reach)
    middle = (low + high) / 2
    extent = np.maximum(high - low, 1e-3)
    span = max(extent[1], extent[0] * size[0] / size[1]) / (1 - 2 * margin)
    ceiling = finite(points)[:, 2].max(initial=high[2])
    eye = _floats(np.array([middle[0], middle[1], ceiling + 1.0]))
    target = (eye[0], eye[1], float(low[2]))
    return Viewpoint(eye, target, up=(0.0, 1.0, 0.0), angle=0.0, span=float(span))


def perspective(
    points: np.ndarray,
    size: tuple[int, int],
    *,
    azimuth: float = 215.0,
    elevation: float | None = None,
    angle: float = 32.0,
    reach: float = REACH,
    zoom: float = 1.0,
) -> Viewpoint:
    """From outside and above, as near as ``reach`` per cent of the points allow.

    Args:
        points: (N, 3) metres; rows that are not finite are left out.
        size: (H, W) of the picture.
        azimuth: degrees about z of the eye seen from the middle, counter-clockwise from x.
        elevation: degrees of the eye above the horizon; None = 32 for a flat scene, up to 50 for
            one with walls around it, to look into it from above.
        angle: degrees that the picture's height spans.
        reach: per cent of the points that lie in the picture.
        zoom: > 1 goes nearer.
    """
    rows = finite(points)
    if not len(rows):
        rows = np.array([[-1.0, -1.0, 0.0], [1.0, 1.0, 0.0]])
    low, high = bounds(rows, reach)
    middle = (low + high) / 2
    if elevation is None:
        steep = float((high - low)[2] / max((high - low)[:2].max(), 1e-6))
        elevation = 32.0 + 18.0 * float(np.clip((steep - 0.15) / 0.15, 0, 1))
    around, above = np.radians(azimuth), np.radians(elevation)
    out = np.array([np.cos(above) * np.cos(around), np.cos(above) * np.sin(around), np.sin(above)])
    turn = Viewpoint(_floats(out), (0.0, 0.0, 0.0), angle=angle).pose()[:3, :3]
    slope = np.tan(np.radians(angle) / 2) * np.array([size[1] / size[0], 1.0]) * FILL
    distance = 0.0
    for _ in range(3):
        seen = (rows - middle) @ turn.T
        # a point (x, y, z) asks for a distance d with |x| <= (d + z) * slope[0], the same for y
        asked = (np.abs(seen[:, :2]) / slope).max(1) - seen[:, 2]
        distance = max(float(np.percentile(asked, reach)), 4 * NEAR)
        near = seen[:, 2] + distance > 0.1 * distance
        place = seen[near, :2] / (seen[near, 2:] + distance)
        ends = np.percentile(place, [50 - reach / 2, 50 + reach / 2], axis=0)
        middle = middle + (ends.mean(0) * distance) @ turn[:2]
    return Viewpoint(_floats(middle + out * distance / zoom), _floats(middle), angle=angle)


def _floats(point: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in point)
    return x, y, z


def bounds(points: np.ndarray, reach: float = REACH) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner (3,) of the middle ``reach`` per cent of the points, axis by axis."""
    rows = finite(points)
    if not len(rows):
        return np.full(3, -1.0), np.full(3, 1.0)
    low, high = np.percentile(rows, [50 - reach / 2, 50 + reach / 2], axis=0)
    return low, high


def finite(points: np.ndarray) -> np.ndarray:
    """The rows of (N, 3) that are finite, float64."""
    rows = np.asarray(points, np.float64)
    return rows[np.isfinite(rows).all(1)]
