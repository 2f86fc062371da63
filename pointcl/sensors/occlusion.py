"""Points that the LiDAR sees and the camera does not, because something nearer covers them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pointcl.rows import every

_GROWTH = (1.1, 1.4, 1.8, 2.4, 3.2)
"""Steps in which the gap between samples grows from the LiDAR's view to the picture's."""


@dataclass(frozen=True)
class Occlusion:
    """Depth test of a cloud against itself, seen from a camera beside the LiDAR.

    A sweep is dense along a ring and sparse across: a near surface leaves gaps through which the
    points behind it project. Its points are therefore drawn into a coarse map of inverse depth, as
    wide as the step along a ring, and gaps no longer than the step between two rings are closed
    downwards (grey closing). A point is hidden if the map is clearly nearer at its place:
    ``depth > nearest * (1 + relative) + absolute``.

    Closing, unlike a splat as long as the gap, does not reach beyond the first and last point of
    a surface, and it leaves a slope as it is: inverse depth is linear in the pixels of a plane,
    and a point of the plane always has its nearer neighbours on one side only. So the ground does
    not hide itself, although neighbouring rings on it differ by metres.

    The gaps are angles of the LiDAR. They look larger to a camera that is nearer to the surface
    than the LiDAR is, and towards the corners of its picture; the closing grows with the ratio of
    the LiDAR's distance to the camera's depth, in steps, up to threefold.

    Limits: a point is kept where only a thin or single-ring object covers it, or a surface without
    returns (glass, dark paint, the vehicle itself); up to about one step along the ring is lost
    beside a silhouette, and what shows through holes smaller than the gaps; points nearer than
    the projection's ``near`` hide nothing; nothing makes up for objects that moved between sweep
    and picture. The rings should run across the picture, as they do for an upright camera. In the
    embedded world, whose cameras stand far from its 32 beams, 14 % of the points in the picture
    are hidden; the test leaves 2 % and drops 5 % that are not.

    Attributes:
        along: degrees between two points of a ring; 64 beams at 10 Hz 0.17, 32 at 20 Hz 0.33.
        across: degrees between two rings: KITTI 0.43, nuScenes 1.33.
        relative: share of the depth by which the nearer surface must be nearer.
        absolute: metres added to that.

    Source: our own; closing to fill sparse depth maps as Ku et al. 2018 (In Defense of Classical
    Image Processing), the depth test of neighbours in the image as Pintus et al. 2011 (Real-time
    Rendering of Massive Unstructured Raw Point Clouds).
    """

    along: float = 0.35
    across: float = 1.4
    relative: float = 0.1
    absolute: float = 0.3

    def __post_init__(self) -> None:
        if not (0 < self.along <= self.across < 45):
            raise ValueError(
                f"degrees between points: 0 < along <= across < 45, got {self.along}, {self.across}"
            )
        if not (self.relative >= 0 and self.absolute >= 0):
            raise ValueError(f"margins must be >= 0, got {self.relative}, {self.absolute}")

    def hidden(
        self,
        pixel: np.ndarray,
        depth: np.ndarray,
        size: tuple[int, int],
        focal: tuple[float, float],
        growth: np.ndarray | None = None,
    ) -> np.ndarray:
        """Which points are hidden by others of the list.

        Args:
            pixel: (N, 2) float64 (x, y). Points outside the picture are given too: those near its
                edge hide what is inside.
            depth: (N,) float64 metres, > 0.
            size: (H, W) pixels.
            focal: (x, y) in pixels.
            growth: (N,) distance of each point from the LiDAR over its depth; None = 1.

        Returns:
            (N,) bool; False for points more than a gap outside the picture.
        """
        hidden = np.zeros(len(pixel), bool)
        cell = np.maximum(1.0, np.asarray(focal) * np.radians(self.along) / 2)
        gap = focal[1] * np.radians(self.across) / cell[1]
        pad = int(np.ceil(gap * _GROWTH[-1])) + 1
        shape = tuple(np.ceil(np.array(size) / cell[::-1]).astype(int) + 2 * pad)
        with np.errstate(invalid="ignore"):
            place = np.floor(pixel / cell) + pad
            drawn = np.flatnonzero(every((place >= 0) & (place < shape[::-1])))
        column, row = place[drawn].astype(np.int64).T
        flat = row * shape[1] + column
        inverse = (1 / depth[drawn]).astype(np.float32)
        step = np.ones(len(drawn)) if growth is None else growth[drawn]
        surface = np.zeros(shape, np.float32)
        for low, factor in zip((0.0, *_GROWTH), _GROWTH, strict=False):
            # with the nearer ones: a surface may cross from one step to the next
            chosen = step > low
            if not chosen.any():
                break
            layer = np.zeros(shape, np.float32)
            np.maximum.at(layer.reshape(-1), flat[chosen], inverse[chosen])
            # a step along the ring is two cells; odd lengths, because cv2 shifts even closings
            wide = np.ones((1, 1 + 2 * round(factor)), np.uint8)
            tall = np.ones((1 + 2 * int(np.ceil(gap * factor / 2)), 1), np.uint8)
            layer = cv2.morphologyEx(cv2.dilate(layer, wide), cv2.MORPH_CLOSE, tall)
            np.maximum(surface, layer, out=surface)
        with np.errstate(divide="ignore"):
            nearest = 1 / surface.reshape(-1)[flat]
        hidden[drawn] = depth[drawn] > nearest * (1 + self.relative) + self.absolute
        return hidden
