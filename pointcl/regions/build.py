"""The segmentations of clouds that a store is built with, and one call for a single scan."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from densecl.errors import UsageError
from densecl.regions.method import Segmentation, release
from densecl.regions.segments import Segments, digest, relabel
from pointcl.data.scan import Scan
from pointcl.regions.clustering import dbscan
from pointcl.regions.foreground import SHARE, SMALLEST, foreground_ids, foreground_score
from pointcl.regions.ground import METHODS as GROUNDS
from pointcl.regions.ground import ground
from pointcl.regions.normal_graph import normal_graph
from pointcl.regions.supervoxels import supervoxels
from pointcl.registry import REGIONS

PRESETS = {"outdoors": {"type": "Dbscan"}, "indoors": {"type": "NormalGraph"}}
"""What suits where: sweeps of a LiDAR in the street, and rooms."""


@dataclass(frozen=True, kw_only=True)
class CloudSegmentation(Segmentation[Scan]):
    """Segments of a scan, with the score ``foreground`` of each (``foreground_score``).

    Args:
        max_extent: metres of the longest foreground segment.
        smallest: points of the smallest.
        share: of the scan's points that the largest may have.
    """

    kind: ClassVar[str] = "cloud"

    max_extent: float = 10.0
    smallest: int = SMALLEST
    share: float = SHARE

    def __post_init__(self) -> None:
        self._need("max_extent", 0, above=True)
        self._need("smallest", 1)
        self._need("share", 0, above=True)

    @abstractmethod
    def ids(self, scan: Scan) -> np.ndarray:
        """(N,) int64 segments in the order of the points, -1 = none."""

    def __call__(self, item: Scan) -> Segments:
        """The segments of a scan.

        Raises:
            UsageError: a package is missing, or the scan lacks what a setting asks for.
        """
        ids = relabel(self.ids(item))
        score = foreground_score(
            item.points,
            ids,
            max_extent=self.max_extent,
            smallest=self.smallest,
            share=self.share,
        )
        return Segments(ids, {"foreground": score.astype(np.float32)})

    def identify(self, item: Scan) -> str:
        """Hash of what is read of a scan: its points, colours, normals and intensity."""
        return digest(item.points, item.colour, item.normal, item.intensity)


@REGIONS.register_module()
@dataclass(frozen=True, kw_only=True)
class Dbscan(CloudSegmentation):
    """Clusters of what stands on the ground (``ground``, ``dbscan``).

    The defaults are those that overlap best with the objects of the embedded world's validation
    scans. FAC's ``threshold=0.25, eps=0.25, min_points=10, eps_per_metre=0`` loses what is far.

    Args:
        ground: "ransac", "patchwork++" or "none".
        threshold: metres that a point of the ground may be off its plane.
        sensor_height: metres above the ground, for "patchwork++"; 0 = found.
        eps: reach in metres.
        min_points: that make a core.
        eps_per_metre: growth of the reach with range.
    """

    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("scipy",)

    ground: str = "ransac"
    threshold: float = 0.15
    sensor_height: float = 0.0
    eps: float = 0.5
    min_points: int = 5
    eps_per_metre: float = 0.03

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ground not in GROUNDS:
            raise UsageError(
                f"Dbscan: ground = {self.ground!r}", needed="one of " + ", ".join(GROUNDS)
            )
        self._need("threshold", 0, above=True)
        self._need("sensor_height", 0)
        self._need("eps", 0, above=True)
        self._need("min_points", 1)
        self._need("eps_per_metre", 0)

    def ids(self, scan: Scan) -> np.ndarray:
        """(N,) clusters; -1 = ground or noise."""
        below = ground(
            scan.points,
            self.ground,
            threshold=self.threshold,
            sensor_height=self.sensor_height or None,
            intensity=scan.intensity,
        )
        rows = np.flatnonzero(~below)
        ids = np.full(len(scan), -1, np.int64)
        ids[rows] = dbscan(
            scan.points[rows], self.eps, self.min_points, eps_per_metre=self.eps_per_metre
        )
        return ids

    def describe(self) -> dict[str, Any]:
        """The settings, with the release of pypatchworkpp where it decides the result."""
        if self.ground != "patchwork++":
            return super().describe()
        return {**super().describe(), "pypatchworkpp": release("pypatchworkpp")}


@REGIONS.register_module()
@dataclass(frozen=True, kw_only=True)
class Supervoxels(CloudSegmentation):
    """Small patches that keep to borders of colour and shape; see ``supervoxels``.

    Args:
        voxel: edge of a voxel in metres.
        seed: distance of the seeds in metres.
        space_weight, colour_weight, normal_weight: of the distance to a seed.
    """

    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("scipy",)

    max_extent: float = 3.0
    voxel: float = 0.05
    seed: float = 0.25
    space_weight: float = 0.4
    colour_weight: float = 0.2
    normal_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need("voxel", 0, above=True)
        self._need("seed", 2 * self.voxel)
        for name in ("space_weight", "colour_weight", "normal_weight"):
            self._need(name, 0)

    def ids(self, scan: Scan) -> np.ndarray:
        """(N,) supervoxels."""
        return supervoxels(
            scan.points,
            scan.colour,
            voxel=self.voxel,
            seed=self.seed,
            space_weight=self.space_weight,
            colour_weight=self.colour_weight,
            normal_weight=self.normal_weight,
        )


@REGIONS.register_module()
@dataclass(frozen=True, kw_only=True)
class NormalGraph(CloudSegmentation):
    """Smooth patches, as ScanNet cuts its meshes; see ``normal_graph``.

    The scan's own normals are used where it has some.

    Args:
        neighbours: edges from each point.
        scale: higher gives larger patches.
        min_size: smallest patch in points.
        max_gap: longest edge in metres.
    """

    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("scipy",)

    max_extent: float = 3.0
    neighbours: int = 8
    scale: float = 0.05
    min_size: int = 20
    max_gap: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need("neighbours", 1)
        self._need("scale", 0)
        self._need("min_size", 1)
        self._need("max_gap", 0, above=True)

    def ids(self, scan: Scan) -> np.ndarray:
        """(N,) patches."""
        return normal_graph(
            scan.points,
            scan.normal,
            neighbours=self.neighbours,
            scale=self.scale,
            min_size=self.min_size,
            max_gap=self.max_gap,
        )


def build_segmentation(method: str | Mapping[str, Any]) -> CloudSegmentation:
    """A segmentation from a preset's name or its config ``dict(type=..., ...)``.

    Raises:
        UsageError: no such preset, type or setting.
    """
    from densecl.engine.names import check_arguments, registered

    if isinstance(method, str):
        if method not in PRESETS:
            raise UsageError(f"segmentation {method!r}", needed="one of " + ", ".join(PRESETS))
        method = PRESETS[method]
    cls = registered(REGIONS, method.get("type"), "method.type")
    check_arguments("method", method, cls)
    return cls(**{key: value for key, value in method.items() if key != "type"})


def segment_cloud(scan: Scan, method: str | Mapping[str, Any] = "outdoors") -> Segments:
    """The segments of one scan.

    Args:
        scan: the cloud, z up.
        method: "outdoors", "indoors", or ``dict(type="Dbscan", eps=0.3)``.

    Raises:
        UsageError: see ``build_segmentation``; or a package is missing.
    """
    return build_segmentation(method)(scan)


def with_segments(scan: Scan, segments: Segments, threshold: float | None = 0.5) -> Scan:
    """The scan with ``regions["segment"]``, and ``regions["foreground"]``: -1 elsewhere.

    Args:
        scan: the cloud.
        segments: of it.
        threshold: least foreground score; None = no such regions.

    Raises:
        ValueError: they are of another number of points.
    """
    if segments.ids.shape != (len(scan),):
        raise ValueError(f"{scan.name}: segments {segments.ids.shape}, {len(scan)} points")
    ids = segments.ids.astype(np.int64)
    regions = {**scan.regions, "segment": ids}
    if threshold is not None:
        regions["foreground"] = foreground_ids(ids, segments.scores["foreground"], threshold)
    return replace(scan, regions=regions)
