"""What a frozen representation looks like from outside: no label and no training needed."""

from __future__ import annotations

from densecl.lazy import lazy_names

_HOMES = {"MeasuresSpec": "task", "build_matchings": "matching"}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
