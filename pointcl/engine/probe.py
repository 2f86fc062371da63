"""What the online probe reads: features of labelled points, as the frozen probe reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def labelled_points(
    backbone: nn.Module,
    dataset: Any,
    count: int,
    points: int,
    config: Mapping[str, Any],
    device: str | torch.device,
) -> tuple[Tensor, Tensor]:
    """Features (N, D) and labels (N,) of labelled points of evenly spaced scans, on the CPU.

    The maps of the backbone are read at the points, levels side by side; always the same points.

    Args:
        backbone: sparse, on ``device``; modes and statistics stay.
        dataset: yields labelled scans.
        count: of scans.
        points: of a scan, drawn at random.
        config: says the voxels; all of a scan are seen, whatever ``max_voxels`` is in training.
        device: of the backbone.

    Raises:
        UsageError: a scan without labels, or none with a labelled point.
    """
    # transfer reads what the engine makes: known here only when a probe is asked for
    from pointcl.transfer.clouds import LabelledScans, input_fields
    from pointcl.transfer.probe import FrozenSpec, training_rows

    chosen = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int)).tolist()
    spec = FrozenSpec({}, input_fields(config["voxels"]), 0, points=points)
    return training_rows(backbone, LabelledScans(dataset, chosen), spec, 0, device)
