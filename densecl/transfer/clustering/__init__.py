"""Clusters of dense features against classes: over-clustering, unsupervised segmentation."""

from __future__ import annotations

from densecl.lazy import lazy_names

_HOMES = {
    "Clustering": "lloyd",
    "Moments": "reduction",
    "OverclusteringSpec": "task",
    "Reduction": "reduction",
    "greedy": "matching",
    "hungarian": "matching",
    "join_clusters": "matching",
    "kmeans": "lloyd",
    "purity": "matching",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
