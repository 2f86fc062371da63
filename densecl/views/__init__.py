"""Views: augmented pixels with the exact map back to the image they were cut from.

Names load on first use: ``densecl.views.geometry`` needs torch alone, and must stay importable
without the image libraries that ``ViewGenerator`` needs.
"""

from __future__ import annotations

from densecl.lazy import lazy_names

_HOMES = {
    "RECIPES": "recipe",
    "Affine": "geometry",
    "Chain": "geometry",
    "Cylinder": "geometry",
    "DenseMap": "geometry",
    "Geometry": "geometry",
    "View": "view",
    "ViewBatch": "view",
    "ViewGenerator": "generator",
    "ViewRecipe": "recipe",
}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
