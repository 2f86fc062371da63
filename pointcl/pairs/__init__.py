"""Pairs in 3D: which point of one cloud, or which pixel, is a positive of which point of another.

Names load on first use.
"""

from __future__ import annotations

from densecl.lazy import lazy_names

_HOMES = {
    "PairFolder": "folder",
    "Partition": "partitions",
    "ScanPair": "posed",
    "at_most": "selection",
    "at_most_per_row": "selection",
    "by_scan": "projection",
    "candidate_pairs": "posed",
    "match_by_projection": "projection",
    "match_rigid": "rigid",
    "match_same_voxel": "rigid",
    "match_shared_points": "single_scan",
    "match_single_scan": "single_scan",
    "measure_overlap": "posed",
    "number_regions": "projection",
    "one_per_row": "selection",
    "overlap_ratio": "overlap",
    "points_at_links": "projection",
    "pool_unit_pixels": "pixels",
    "read_pixels": "projection",
    "read_regions": "projection",
    "scan_overlap": "overlap",
}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
