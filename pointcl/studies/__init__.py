"""Studies of pretraining on scans: what ``densecl.studies`` has to be told, and nothing twice."""

from __future__ import annotations

from densecl.lazy import lazy_names

_HOMES = {"SCANS": "of_scans"}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
