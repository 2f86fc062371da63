"""What is measured after pretraining: fine-tuning, probes, correspondence, tables.

Names are loaded on first use: reading a metric does not import mmsegmentation.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "FinetuneResult": "finetuning",
    "FinetuneSpec": "finetuning",
    "finetune": "finetuning",
    "LabelledImages": "images",
    "ProbeResult": "probe",
    "ProbeSpec": "probe",
    "Protocol": "study",
    "RowSpec": "study",
    "Subset": "subsets",
    "Table": "table",
    "build_segmentor": "segmentation",
    "confusion_matrix": "metrics",
    "correspondence_recall": "correspondence",
    "draw_for": "subsets",
    "iou_per_class": "metrics",
    "linear_probe": "probe",
    "mean_iou": "metrics",
    "paired_difference": "statistics",
    "read_subset": "subsets",
    "run_table": "run",
    "write_subset": "subsets",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
