"""Pictures of a finished table of detectors: truth and detections side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from densecl.transfer.detection.finetuning import predict
from densecl.transfer.detection.images import BoxedImages
from densecl.viz.boxes import class_legend, draw_boxes
from densecl.viz.tile import grid

if TYPE_CHECKING:
    from densecl.transfer.detection.task import DetectionSpec

SHOWN = 4


def detection_sheet(
    spec: DetectionSpec,
    detectors: Mapping[str, nn.Module],
    images: BoxedImages,
    device: torch.device,
    *,
    height: int = 240,
) -> np.ndarray:
    """One image a line: the truth, ignored boxes grey, and the best boxes of each row's detector.

    As many are drawn as are to be found, whatever their scores: detectors of short runs are right
    long before they are sure, and not equally so.

    Returns:
        (H', W', 3) uint8.
    """
    positions = chosen_positions(images)
    found = {
        name: predict(detector, spec, images, device, positions)
        for name, detector in detectors.items()
    }
    lines = []
    for number, position in enumerate(positions):
        item = images[position]
        ignore = item.ignore | item.crowd
        line = [draw_boxes(item.image, item.boxes, item.labels, height=height, ignore=ignore)]
        for detections in found.values():
            one = detections[number]
            best = np.argsort(-one.scores, kind="stable")[: int((~ignore).sum())]
            line.append(draw_boxes(item.image, one.boxes[best], one.labels[best], height=height))
        lines.append(line)
    sheet = grid(lines, ["truth", *(f"{name}, its best boxes" for name in detectors)])
    classes = getattr(images.dataset, "classes", [str(k) for k in range(spec.num_classes)])
    return np.concatenate([sheet, class_legend(classes, sheet.shape[1])])


def chosen_positions(images: BoxedImages, most: int = SHOWN) -> list[int]:
    """Evenly spread images in which there is something to find, or the first where none has."""
    holds = [
        position
        for position in range(len(images))
        if (~(images[position].ignore | images[position].crowd)).any()
    ]
    holds = holds or [0]
    spread = np.linspace(0, len(holds) - 1, min(most, len(holds))).round().astype(int)
    return [holds[at] for at in spread.tolist()]
