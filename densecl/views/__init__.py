"""Views: augmented pixels with the exact map back to the image they were cut from.

Names load on first use: ``densecl.views.geometry`` needs torch alone, and must stay importable
without the image libraries that ``ViewGenerator`` needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
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

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
