"""What is measured after pretraining on scans: fine-tuning and probes with few labels.

The tables, their statistics, label subsets and controls are those of ``densecl.transfer``.
"""

from __future__ import annotations

from densecl.lazy import lazy_names

_HOMES = {
    "FinetuneSpec": "finetuning",
    "FrozenSpec": "probe",
    "LabelledScans": "clouds",
    "RetrievalSpec": "retrieval",
    "SCANS": "of_scans",
    "Segmentor": "segmentation",
    "evaluate": "evaluation",
    "finetune": "finetuning",
    "lovasz_softmax": "segmentation",
    "prediction_sheet": "showcase",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
