"""Regions of images: superpixels, trees, foreground; and the store that keeps them.

A region is a group of pixels or points. ``Segments`` holds the regions of one input, a
``Segmentation`` computes them, a ``SegmentStore`` keeps them on disk, ``build`` fills it. Clouds
use the same store (``pointcl.regions``). Importing the package registers every segmentation of
images in ``densecl.registry.REGIONS``.
"""

from densecl.regions.build import BuildReport, Items, build
from densecl.regions.connected import (
    adjacency,
    boundaries,
    merge_small,
    region_means,
    split_regions,
)
from densecl.regions.felzenszwalb import Felzenszwalb, felzenszwalb
from densecl.regions.foreground import boundary_connectivity, foreground_mask, foreground_score
from densecl.regions.hierarchy import MergeTree, merge_tree
from densecl.regions.image import ImageSegmentation
from densecl.regions.method import Segmentation
from densecl.regions.pictures import Pictures, frame_name
from densecl.regions.quality import (
    Quality,
    achievable_segmentation_accuracy,
    boundary_recall,
    measure,
    under_segmentation_error,
)
from densecl.regions.segments import Segments, digest, region_sizes, relabel
from densecl.regions.slic import Slic, slic
from densecl.regions.store import EntryError, SegmentStore

__all__ = [
    "BuildReport",
    "EntryError",
    "Felzenszwalb",
    "ImageSegmentation",
    "Items",
    "MergeTree",
    "Pictures",
    "Quality",
    "SegmentStore",
    "Segmentation",
    "Segments",
    "Slic",
    "achievable_segmentation_accuracy",
    "adjacency",
    "boundaries",
    "boundary_connectivity",
    "boundary_recall",
    "build",
    "digest",
    "felzenszwalb",
    "foreground_mask",
    "foreground_score",
    "frame_name",
    "measure",
    "merge_small",
    "merge_tree",
    "region_means",
    "region_sizes",
    "relabel",
    "slic",
    "split_regions",
    "under_segmentation_error",
]
