"""Segmentation from one prompted point, and how far features tell objects apart."""

from __future__ import annotations

from densecl.lazy import lazy_names

_HOMES = {
    "PromptSpec": "task",
    "auroc": "curves",
    "cell_coverage": "coverage",
    "centre_point": "points",
    "iou_curve": "curves",
    "separation": "separation",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
