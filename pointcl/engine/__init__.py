"""Training on points: what ``densecl.engine`` has to be told, and nothing twice."""

from __future__ import annotations

from densecl.lazy import lazy_names

_HOMES = {"POINTS": "domain", "PointModel": "model"}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
