"""Segments of clouds: ground, clusters, supervoxels, smooth patches; which may be objects.

The store, the building loop and ``Segments`` are those of ``densecl.regions``. Importing the
package registers every segmentation in ``pointcl.registry.REGIONS``.
"""

from pointcl.regions.build import (
    PRESETS,
    CloudSegmentation,
    Dbscan,
    NormalGraph,
    Supervoxels,
    build_segmentation,
    segment_cloud,
    with_segments,
)
from pointcl.regions.clustering import dbscan
from pointcl.regions.foreground import foreground_ids, foreground_score
from pointcl.regions.ground import ground
from pointcl.regions.majority import voxel_regions
from pointcl.regions.normal_graph import graph_segments, normal_graph
from pointcl.regions.normals import estimate_normals
from pointcl.regions.quality import CloudQuality, measure_cloud, measure_scan, objects_of
from pointcl.regions.supervoxels import supervoxels

__all__ = [
    "PRESETS",
    "CloudQuality",
    "CloudSegmentation",
    "Dbscan",
    "NormalGraph",
    "Supervoxels",
    "build_segmentation",
    "dbscan",
    "estimate_normals",
    "foreground_ids",
    "foreground_score",
    "graph_segments",
    "ground",
    "measure_cloud",
    "measure_scan",
    "normal_graph",
    "objects_of",
    "segment_cloud",
    "supervoxels",
    "voxel_regions",
    "with_segments",
]
