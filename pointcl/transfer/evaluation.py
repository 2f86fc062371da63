"""Scores per point on whole scans, whatever the voxels are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densecl.diagnostics.segmentation_metrics import (
    confusion_matrix,
    mean_iou,
    pixel_accuracy,
)
from densecl.errors import UsageError
from densecl.transfer.scores import scores_of
from pointcl.transfer.clouds import LabelledScans, whole_scans
from pointcl.views.batch import VoxelBatch

Predict = Callable[[VoxelBatch], Tensor]
"""Batch -> (N,) int64 class of each of its points."""


def predict_scans(
    predict: Predict,
    scans: LabelledScans,
    *,
    voxels: Mapping[str, Any],
    fallback: int,
    device: str | torch.device = "cpu",
    batch: int = 1,
) -> list[np.ndarray]:
    """(N,) int64 class of every raw point of each scan.

    Args:
        predict: of the points of a batch.
        scans: to look at.
        voxels: see ``clouds.VOXELS``.
        fallback: class of points that are in no cloud, as they are not finite.
        device: where ``predict`` computes.
        batch: scans at a time.
    """
    found = []
    for positions, seen in whole_scans(scans, voxels, batch):
        classes = predict(seen.to(device)).cpu()
        counts, index = seen.cloud.counts, seen.cloud.index
        for position, answer, rows in zip(
            positions, classes.split(counts), index.split(counts), strict=True
        ):
            full = np.full(len(scans[position]), fallback, np.int64)
            full[rows.numpy()] = answer.numpy()
            found.append(full)
    return found


def evaluate(
    predict: Predict,
    scans: LabelledScans,
    *,
    num_classes: int,
    ignore: int = 255,
    **options: Any,
) -> dict[str, Any]:
    """Scores over all labelled points of the scans, and of each scan.

    Args:
        predict, scans, options: see ``predict_scans``.
        num_classes: L.
        ignore: label of points that do not count.

    Returns:
        ``scores_of`` the sum of all counts, and ``items``: name of a scan -> its ``miou`` over the
        classes that it shows and its ``accuracy``, None without a labelled point.

    Raises:
        UsageError: no point carries a label.
    """
    total = np.zeros((num_classes, num_classes), np.int64)
    items = {}
    for position, classes in enumerate(predict_scans(predict, scans, **options)):
        label = np.asarray(scans[position].label)
        counts = confusion_matrix(classes, label, num_classes, ignore)
        labelled = bool(counts.any())
        items[scans.name(position)] = {
            "miou": mean_iou(counts) if labelled else None,
            "accuracy": pixel_accuracy(counts) if labelled else None,
        }
        total += counts
    if not total.any():
        raise UsageError("the evaluation scans hold no labelled point", fix="check the labels")
    return {**scores_of(total), "items": items}
