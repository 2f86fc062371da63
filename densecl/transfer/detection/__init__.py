"""Detection transfer: mmdetection's detectors fine-tuned on few labels, scored by COCO's AP."""

from densecl.transfer.detection.average_precision import (
    Detections,
    Precision,
    Truth,
    average_precision,
)
from densecl.transfer.detection.images import BoxedImages
from densecl.transfer.detection.operators import nms, roi_align
from densecl.transfer.detection.task import DetectionSpec

__all__ = [
    "BoxedImages",
    "DetectionSpec",
    "Detections",
    "Precision",
    "Truth",
    "average_precision",
    "nms",
    "roi_align",
]
