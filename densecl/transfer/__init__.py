"""What is measured after pretraining: fine-tuning, probes, correspondence, tables.

Names are loaded on first use: reading a metric does not import mmsegmentation.
"""

from __future__ import annotations

from densecl.lazy import lazy_names

_HOMES = {
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
    "confusion_matrix": ".diagnostics.segmentation_metrics",
    "correspondence_recall": "correspondence",
    "draw_for": "subsets",
    "iou_per_class": ".diagnostics.segmentation_metrics",
    "linear_probe": "probe",
    "mean_iou": ".diagnostics.segmentation_metrics",
    "paired_difference": "statistics",
    "read_subset": "subsets",
    "run_table": "run",
    "write_subset": "subsets",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
